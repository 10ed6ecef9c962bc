"""What runs are expected to take, by the best that is known: runs like them, their step time, or published figures."""

import itertools
import json
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from workspace.detectors import detector
from workspace.detectors.throughput import THROUGHPUT
from workspace.errors import UserError
from workspace.journal import JournalReader
from workspace.orchestrator.conditions import Conditions
from workspace.orchestrator.runs import RunRecord
from workspace.spec import AUDIT, RESULT, SPEC, RunSpec

_HALF_COST = 1.15
"""FP16 step over FP32 step on a CPU, for estimates only; ``benchmarks/half_arithmetic.py`` measures it."""

_STEPS_TO_MEASURE = 20
"""Steps of a run from which on its step time is believed."""

_TIMED_RUNS = 3
"""Journals that are read for a step time: one of full scale has some ten thousand lines."""


@dataclass(frozen=True)
class Estimate:
    """What a run is expected to take.

    Attributes:
        seconds: from its start to its end; it holds each of its devices for as long.
        source: where the figure comes from, in words.
        page: where it was published, if it was.
    """

    seconds: float
    source: str
    page: str | None = None


@dataclass(frozen=True)
class _Run:
    """A run that was started under the work folder; ``seconds`` is ``None`` where it has not finished."""

    spec: RunSpec
    folder: Path
    device: str
    seconds: float | None


class Costs:
    """Estimates under the conditions of one start, from what the work folder knows.

    Args:
        work_dir: its runs are looked at once, here.
    """

    def __init__(self, conditions: Conditions, work_dir: Path) -> None:
        self._conditions = conditions
        self._runs = list(_started_runs(work_dir))
        self._timings: dict[Path, _Timing | None] = {}
        self._estimates: dict[tuple[object, ...], Estimate | None] = {}

    def devices(self, specs: Iterable[RunSpec]) -> list[str | None]:
        """The hardware that something is known of, by name: where such runs were started, else where others trained.

        ``None`` stands for an unnamed device of the kind that is asked for.
        """
        specs = list(specs)
        wanted = {_step_kind(spec) for spec in specs}
        known = Counter(run.device for run in self._runs if _step_kind(run.spec) in wanted)
        if known:
            return [name for name, _ in known.most_common()]
        published = (t.device for t in THROUGHPUT if any(_is_published(spec, t.detector, t.kind) for spec in specs))
        return list(dict.fromkeys(published)) or [None]

    def estimate(self, spec: RunSpec, device: str | None) -> Estimate | None:
        """The expected cost of a run on that hardware; ``None`` where nothing is known of such runs."""
        kind = (*_run_kind(spec), spec.data.evaluate, device)  # of 10,000 runs there are few kinds
        if kind not in self._estimates:
            self._estimates[kind] = (
                self._from_finished(spec, device)
                or self._from_steps(spec, device)
                or self._from_cpu(spec)
                or self._from_published(spec, device)
            )
        return self._estimates[kind]

    def _from_finished(self, spec: RunSpec, device: str | None) -> Estimate | None:
        alike = (run.seconds for run in self._runs if run.device == device and _run_kind(run.spec) == _run_kind(spec))
        seconds = [taken for taken in alike if taken is not None]
        if not seconds:
            return None
        return Estimate(statistics.fmean(seconds), f"{len(seconds)} finished run{'s' if len(seconds) > 1 else ''}")

    def _from_steps(self, spec: RunSpec, device: str | None) -> Estimate | None:
        alike = [run for run in self._runs if run.device == device and _step_kind(run.spec) == _step_kind(spec)]
        measured = ((run, timing) for run in alike if (timing := self._timing(run.folder)) is not None)
        timed = list(itertools.islice(measured, _TIMED_RUNS))
        if not timed:
            return None
        step = statistics.median(timing.step for _, timing in timed)
        evaluations = [
            timing.evaluation / self._evaluated_on(run.spec)
            for run, timing in timed
            if timing.evaluation is not None and run.spec.data.digest == spec.data.digest
        ]
        seconds = self._conditions.steps(spec) * step
        source = f"measured: {step:.3g} s a step"
        if evaluations:
            seconds += spec.evaluations * statistics.median(evaluations) * self._evaluated_on(spec)
        else:
            source += ", evaluation not counted"
        return Estimate(seconds, source)

    def _timing(self, folder: Path) -> "_Timing | None":
        if folder not in self._timings:
            self._timings[folder] = _timing(folder)
        return self._timings[folder]

    def _evaluated_on(self, spec: RunSpec) -> int:
        return self._conditions.dataset.splits[spec.data.evaluate].pictures

    def _from_cpu(self, spec: RunSpec) -> Estimate | None:
        variant = detector(spec.detector).variant(spec.scale)
        if spec.device != "cpu" or spec.image_size is None or variant.cpu_step_seconds is None:
            return None
        assert variant.image_size is not None
        pixels = (spec.image_size[0] * spec.image_size[1]) / (variant.image_size[0] * variant.image_size[1])
        step = variant.cpu_step_seconds * pixels * (_HALF_COST if spec.precision.is_mixed else 1.0)
        return Estimate(self._conditions.steps(spec) * step, "known CPU step time")

    def _from_published(self, spec: RunSpec, device: str | None) -> Estimate | None:
        figures = {t.precision: t for t in THROUGHPUT if t.device == device and _is_published(spec, t.detector, t.kind)}
        wanted = "fp16" if spec.precision.is_mixed else "fp32"
        figure = figures.get(wanted) or next(iter(figures.values()), None)
        if figure is None:
            return None
        pictures = self._conditions.steps(spec) * spec.recipe.batch_size
        source = f"published, {figure.precision}" + ("" if figure.precision == wanted else " only")
        return Estimate(pictures / figure.pictures / spec.devices, source, figure.source)


@dataclass(frozen=True)
class _Timing:
    """Seconds of a step, and of an evaluation if there was one; medians."""

    step: float
    evaluation: float | None


def _timing(folder: Path) -> _Timing | None:
    """What a run's journal says of its speed; ``None`` when it has taken too few steps."""
    steps: list[float] = []
    evaluations: list[float] = []
    before: tuple[str, float] | None = None
    for event in JournalReader(folder).read():
        kind, time = event["kind"], event["time"]
        if kind == "system":
            continue
        if before is not None and before[0] == "step":
            if kind == "step":
                steps.append(time - before[1])
            elif kind == "eval":
                evaluations.append(time - before[1])
        before = kind, time
    if len(steps) < _STEPS_TO_MEASURE:
        return None
    return _Timing(statistics.median(steps), statistics.median(evaluations) if evaluations else None)


def _started_runs(work_dir: Path) -> Iterator[_Run]:
    """All runs of a work folder that have taken a step, the latest first."""
    folders = [path.parent for path in (work_dir / "runs").glob("*/spec.json")]
    for folder in sorted(folders, key=lambda folder: folder.stat().st_mtime, reverse=True):
        try:
            spec = RunSpec.from_json(json.loads((folder / SPEC).read_text()))
            if (folder / RESULT).exists():
                record = RunRecord.load(folder)
                yield _Run(spec, folder, record.circumstances["device"], record.seconds)
            elif (folder / AUDIT).exists():
                yield _Run(spec, folder, json.loads((folder / AUDIT).read_text())["device"]["name"], None)
        except (UserError, OSError, ValueError, LookupError, TypeError):  # of another version or user, or damaged
            continue


def _is_published(spec: RunSpec, name: str, kind: str) -> bool:
    return spec.scale == "full" and (spec.detector, spec.device) == (name, kind)


def _step_kind(spec: RunSpec) -> tuple[object, ...]:
    """Steps of one kind take about the same time on the same machine."""
    made_of = spec.detector, spec.scale, spec.device, spec.devices, spec.image_size
    return (*made_of, spec.precision.name, spec.recipe.batch_size)


def _run_kind(spec: RunSpec) -> tuple[object, ...]:
    """Runs of one kind take about the same time on the same machine."""
    return (*_step_kind(spec), spec.data.digest, spec.epochs, spec.evaluations)

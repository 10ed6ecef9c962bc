"""What is known of finished runs: those in a work folder, and those that a table has from another one."""

import csv
import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.planted.causes import Cause
from benchmarks.planted.diagnosed import diagnosis_of
from benchmarks.planted.runs import Job, spec_of
from workspace.detectors import detector
from workspace.journal import JournalReader, latest
from workspace.orchestrator.conditions import Conditions
from workspace.orchestrator.runs import RunRecord, run_state
from workspace.spec import RESULT, RunSpec, run_folder

DIAGNOSIS = "diagnosis"
"""In place of a recipe, in the row that tells what a cause's diagnosis took."""


@dataclass(frozen=True)
class KnownRun:
    """A finished run.

    Attributes:
        ap: in points.
        curve: AP in points by epoch.
        seconds: that it held a device.
        steps: of the optimizer.
        diverged: what became of it, or nothing.
    """

    ap: float
    curve: Mapping[int, float]
    seconds: float
    steps: int
    diverged: str


class Known:
    """Finished runs by what they are, wherever they were trained: a run is a pure function of its spec.

    Args:
        table: file of `benchmarks.planted.table`; its rows count where their signature is that of the job, so that
            runs of another recipe or another version of the training do not.
    """

    def __init__(self, given: Conditions, work_dir: Path, table: Path) -> None:
        self._given = given
        self._work_dir = work_dir
        self._rows: dict[str, KnownRun] = {}
        self._diagnosed: dict[str, float] = {}
        self._shares: dict[tuple[object, ...], float] = {}
        self._specs: dict[tuple[object, ...], RunSpec] = {}
        if table.exists():
            with table.open(newline="") as file:
                rows = list(csv.DictReader(file))
            self._rows = {row["signature"]: _of_row(row) for row in rows if row["signature"]}
            self._diagnosed = {row["cause"]: float(row["device_seconds"]) for row in rows if row["recipe"] == DIAGNOSIS}

    def missing(self, jobs: Iterable[Job]) -> list[Job]:
        """Those that are not finished."""
        return [job for job in jobs if self.run(job) is None]

    def ap(self, jobs: Iterable[Job]) -> dict[int, float]:
        """AP in points by seed, of the first jobs up to one that is not finished."""
        runs = itertools.takewhile(lambda known: known[1] is not None, ((job, self.run(job)) for job in jobs))
        return {job.seed: run.ap for job, run in runs if run}

    def diagnosis_seconds(self, cause: Cause) -> float | None:
        """What the diagnosis took, both questions where it was asked twice: when it was first recorded, else now."""
        if cause.name in self._diagnosed:
            return self._diagnosed[cause.name]
        said = [diagnosis_of(cause, self._work_dir, of_run=of_run) for of_run in (False, True)]
        seconds = [content["seconds"] for content in said if content]
        return round(sum(seconds), 2) if seconds else None

    def spec(self, job: Job) -> RunSpec:
        """The job's run, whether it is finished or not."""
        if job.key not in self._specs:
            self._specs[job.key] = spec_of(job, self._given)
        return self._specs[job.key]

    def in_half(self, job: Job) -> float:
        """Share of the operations that the job's recipe keeps in half."""
        from workspace.training.flops import flops_in_half

        precision = self.spec(job).precision
        key = job.cause.name, precision.is_mixed, precision.fp32_islands
        if key not in self._shares:
            (self._shares[key],) = flops_in_half([self.spec(job)], len(self._given.dataset.classes))
        return self._shares[key]

    def run(self, job: Job) -> KnownRun | None:
        """The job's run, if it is finished."""
        spec = self.spec(job)
        folder = run_folder(self._work_dir, spec)
        if run_state(folder) != "finished":
            return self._rows.get(spec.signature)
        record = RunRecord.load(folder)
        return KnownRun(
            ap=round(record.ap, 3),
            curve=_curve(folder, detector(spec.detector).metric),
            seconds=round(record.seconds, 2),
            steps=json.loads((folder / RESULT).read_text())["steps"],
            diverged=record.diverged or "",
        )


def _of_row(row: Mapping[str, str]) -> KnownRun:
    return KnownRun(
        ap=float(row["ap"]),
        curve={int(epoch): ap for epoch, ap in json.loads(row["curve"]).items()},
        seconds=float(row["device_seconds"]),
        steps=int(row["steps"]),
        diverged=row["diverged"],
    )


def _curve(folder: Path, metric: str) -> dict[int, float]:
    evaluations = [event for event in latest(JournalReader(folder).read()) if event["kind"] == "eval"]
    return {event["epoch"]: round(100 * event["metrics"][metric], 2) for event in evaluations}

"""What is still to be paid for a plan: device-hours by phase and arm, before anything is started."""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from workspace.detectors import detector
from workspace.orchestrator.cost import Costs, Estimate
from workspace.orchestrator.listing import ListedRun
from workspace.spec import RunSpec


@dataclass(frozen=True)
class BillLine:
    """What the runs of a phase, arm and precision cost that are not finished.

    Attributes:
        steps: of all of them together.
        device_seconds: that they hold devices, all devices together; ``None`` where it is unknown for one of them.
        wall_seconds: from the first one's start to the last one's end, with nothing else running.
        source: of the figures.
    """

    phase: str
    arm: str
    precision: str
    runs: int
    steps: int
    device_seconds: float | None
    wall_seconds: float | None
    source: str


@dataclass(frozen=True)
class Bill:
    """The lines for one named device, and their sum.

    Attributes:
        device: its name, or only its kind where no name is known.
        slots: runs at the same time.
        total: of what is known; its arm, precision and source are empty.
        pages: where figures were published.
        probes: commands that measure what is unknown on this device.
    """

    device: str
    slots: int
    lines: Sequence[BillLine]
    total: BillLine
    pages: Sequence[str]
    probes: Sequence[str]


def bills(runs: Iterable[ListedRun], costs: Costs, slots: int) -> list[Bill]:
    """One bill for each device that something is known of; none where nothing is left to train.

    Args:
        runs: of a plan; what is finished, pruned or failed for good costs nothing more.
        slots: runs at the same time.
    """
    due = [run for run in runs if run.is_due]
    if not due:
        return []
    return [_bill(due, costs, slots, device) for device in costs.devices(run.job.spec for run in due)]


def _bill(due: Sequence[ListedRun], costs: Costs, slots: int, device: str | None) -> Bill:
    estimates = [costs.estimate(run.job.spec, device) for run in due]
    groups: dict[tuple[str, str, str], list[int]] = {}
    for index, run in enumerate(due):
        key = run.job.phase, run.job.arm, run.job.spec.precision.name
        groups.setdefault(key, []).append(index)
    lines = [
        _line(key, [due[index] for index in members], [estimates[index] for index in members], slots)
        for key, members in groups.items()
    ]
    known = [(run, estimate) for run, estimate in zip(due, estimates, strict=True) if estimate is not None]
    last = [estimate.seconds for run, estimate in known if run.job.phase == "confirm"]  # it waits for the search
    first = [estimate.seconds for run, estimate in known if run.job.phase != "confirm"]
    total = BillLine(
        "total",
        "",
        "",
        runs=len(due),
        steps=sum(run.steps for run in due),
        device_seconds=_device_seconds(known) if known else None,
        wall_seconds=_makespan(first, slots) + _makespan(last, slots) if known else None,
        source="",
    )
    pages = dict.fromkeys(estimate.page for _, estimate in known if estimate.page is not None)
    unmeasured = (run.job.spec for run, estimate in zip(due, estimates, strict=True) if estimate is None)
    probes = dict.fromkeys(_probe(spec) for spec in unmeasured)
    return Bill(device or due[0].job.spec.device, slots, lines, total, list(pages), list(probes))


def _probe(spec: RunSpec) -> str:
    """A run of one epoch whose steps take as long as this one's."""
    words = [f"python -m workspace train {spec.detector} --precision {spec.precision.name} --device {spec.device}"]
    if spec.scale == "full":
        words.append("--scale full --data DIR")
    if spec.devices > 1:
        words.append(f"--devices {spec.devices}")
    if spec.recipe.batch_size != detector(spec.detector).variant(spec.scale).recipe.batch_size:
        words.append(f"--set batch_size={spec.recipe.batch_size}")
    return " ".join([*words, "--epochs 1"])


def _line(
    key: tuple[str, str, str], runs: Sequence[ListedRun], estimates: Sequence[Estimate | None], slots: int
) -> BillLine:
    known = [(run, estimate) for run, estimate in zip(runs, estimates, strict=True) if estimate is not None]
    is_known = len(known) == len(runs)
    sources = dict.fromkeys(estimate.source for _, estimate in known)
    return BillLine(
        *key,
        runs=len(runs),
        steps=sum(run.steps for run in runs),
        device_seconds=_device_seconds(known) if is_known else None,
        wall_seconds=_makespan([estimate.seconds for _, estimate in known], slots) if is_known else None,
        source="; ".join(sources) if is_known else "unknown",
    )


def _device_seconds(known: Iterable[tuple[ListedRun, Estimate]]) -> float:
    return sum(estimate.seconds * run.job.spec.devices for run, estimate in known)


def _makespan(seconds: Iterable[float], slots: int) -> float:
    """Seconds until all are done, each started when a slot comes free."""
    free = [0.0] * slots
    for taken in seconds:
        heapq.heapreplace(free, free[0] + taken)
    return max(free)

"""From causes to changes of recipe and precision that a search may try, each with what it measurably mends."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from workspace.detectors import detector
from workspace.diagnosis.bench import Way
from workspace.diagnosis.findings import Cause, Proposal
from workspace.diagnosis.gauge import Gauge
from workspace.precision import LossScale
from workspace.training.flops import flops_in_half

_SMALLEST = 0.2
"""Of the error; what mends less is not worth a trial."""

_MOST = 4  # islands that are proposed together


@dataclasses.dataclass(frozen=True, kw_only=True)
class Remedies:
    """What is known of mending a run's error.

    Attributes:
        way: of the step, at the loss scale that serves it best.
        error: of the run's update as it is, but for what its optimizer rounds.
        rounding: share of the whole error that its optimizer makes.
        loss_scale: that would serve better than the run's; ``None`` where that serves well.
        optimizer: that does not round; ``None`` where the run's does not.
    """

    way: Way
    error: float
    rounding: float
    loss_scale: LossScale | None
    optimizer: str | None

    def share(self, gauge: Gauge, islands: Sequence[str]) -> float:
        """Of the error that goes away with these islands and what else there is to change."""
        left = gauge.measure(dataclasses.replace(self.way, islands=(*self.way.islands, *islands))).update
        mended = max(0.0, 1 - left / self.error) if self.error > 0 else 0.0
        return (self.rounding if self.optimizer else 0.0) + (1 - self.rounding) * mended


def propose(gauge: Gauge, remedies: Remedies, causes: Sequence[Cause]) -> list[Proposal]:
    """The settings' changes, with the causes' islands one by one and together, and with the groups they lie in."""
    islands = [cause.where for cause in causes if cause.kind == "module" and cause.share >= _SMALLEST][:_MOST]
    sets: list[tuple[str, ...]] = [(), *((name,) for name in islands)]
    sets += [tuple(islands[:count]) for count in range(2, len(islands) + 1)]
    sets += [(group,) for group in _groups_of(gauge, islands)]
    proposals = []
    for names in dict.fromkeys(sets):
        proposal = _proposal(gauge, remedies, names)
        if proposal.changes and proposal.share >= _SMALLEST:
            proposals.append(proposal)
    return sorted(proposals, key=lambda p: (-round(p.share, 1), -round(p.flops_in_half, 3), len(p.changes)))


def _proposal(gauge: Gauge, remedies: Remedies, names: tuple[str, ...]) -> Proposal:
    spec = gauge.bench.spec
    islands = tuple(sorted({*spec.precision.fp32_islands, *names}))
    changes: dict[str, Any] = {}
    if remedies.loss_scale is not None:
        changes["loss_scale"] = dataclasses.asdict(remedies.loss_scale)
    if remedies.optimizer is not None:
        changes["optimizer"] = remedies.optimizer
    if names:
        changes["fp32_islands"] = list(islands)
    mended = dataclasses.replace(spec, precision=dataclasses.replace(spec.precision, fp32_islands=islands))
    (in_half,) = flops_in_half([mended], len(gauge.bench.task.classes))
    share = remedies.share(gauge, detector(spec.detector).island_members(names))
    return Proposal(
        changes=changes,
        why=f"mends {share:.0%} of the update's error",
        flops_in_half=in_half,
        share=share,
    )


def _groups_of(gauge: Gauge, islands: Sequence[str]) -> list[str]:
    """Names of the detector's groups that one of the islands is a part of."""
    members = gauge.bench.members
    inside = {
        group: {part for name in names for part in _below(members, name)}
        for group, names in detector(gauge.bench.spec.detector).islands.items()
    }
    return [group for group, parts in inside.items() if parts & set(islands)]


def _below(members: Any, name: str) -> set[str]:
    if name not in members:
        return {name}
    return {name} | {below for part in members[name].parts for below in _below(members, part)}

"""What a diagnosis says: causes of lost precision, what would mend them, and what each member of the model showed."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from workspace.diagnosis.gauge import Errors
from workspace.diagnosis.observation import Deviation
from workspace.files import write_json
from workspace.precision import Precision

Kind = Literal["module", "loss_scale", "overflow", "optimizer"]


@dataclass(frozen=True, kw_only=True)
class Cause:
    """One cause of lost precision.

    Attributes:
        where: a member, as `make_islands` takes it, for a module; ``too small`` or ``too large`` for the loss scale;
            ``forward`` for overflow; ``weights`` or ``state`` for the optimizer.
        share: of the update's error that goes away when this alone is mended, 0 to 1.
        alone: the update's error with this member alone in half, as a share of that of the whole in half; ``None``
            where it was not tried or is no member.
        evidence: one line.
    """

    kind: Kind
    where: str
    share: float
    evidence: str
    alone: float | None = None


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A change of precision or recipe that mends something.

    Attributes:
        changes: fields of `Recipe` and `Precision` with their new values, only those that differ.
        why: one line.
        flops_in_half: share of the operations that stay in half; see `workspace.training.flops`.
        share: of the update's error that goes away with all the changes, as measured.
    """

    changes: Mapping[str, Any]
    why: str
    flops_in_half: float
    share: float


@dataclass(frozen=True, kw_only=True)
class MemberFinding:
    """What one member of the model showed on one batch.

    Attributes:
        depth: of nested calls.
        order: of its first call.
        output, gradient: deviations from FP32 of what it gives, and of the gradient with respect to that.
        parameters: of the gradient with respect to its own parameters; ``None`` where it has none.
        made_here: relative error of its output when it is given FP32's own input: what it adds itself, without the echo
            of what came before; ``None`` where it is no layer.
        clamped: elements that were clamped in it, in the forward pass.
        share, alone: as of `Cause`; ``None`` where it was not tried.
    """

    name: str
    depth: int
    order: int
    output: Deviation | None
    gradient: Deviation | None
    parameters: Deviation | None
    made_here: float | None
    clamped: int
    share: float | None
    alone: float | None


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One diagnosed step of a training.

    Attributes:
        step: of the training, 0 before its first.
        underflow: by member, share of the entries of the gradient with respect to its output that are zero and in FP32
            are not.
        error: by member, relative error of that gradient.
        metrics: of the step, as in a run's journal.
    """

    step: int
    underflow: Mapping[str, float]
    error: Mapping[str, float]
    metrics: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """Where a run loses precision, and what would mend it.

    Attributes:
        weights: which they are, in words.
        pictures: that each step was computed on, and how many batches.
        errors: of a step in the run's own precision, against FP32.
        unit: of an FP32 step on another batch, against the first.
        noise: whether the update's error is too small against ``unit`` to matter; there are no causes then.
        causes: by share.
        proposals: the one that mends most first; of those that mend as much, the one that leaves most in half.
        members: in the order of their first calls.
        moments: along the training; empty where none was asked for.
        loss_scale: that the run's policy comes to; ``None`` where there is none.
        seconds: that the diagnosis took.
    """

    detector: str
    scale: str
    precision: Precision
    weights: str
    pictures: str
    errors: Errors
    unit: Errors
    noise: bool
    causes: Sequence[Cause]
    proposals: Sequence[Proposal]
    members: Sequence[MemberFinding] = field(default_factory=tuple)
    moments: Sequence[Moment] = field(default_factory=tuple)
    loss_scale: float | None
    passes: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def write(self, path: Path) -> None:
        """Writes the diagnosis file, which a search reads its space from."""
        write_json(path, json.loads(json.dumps(self.to_json()), parse_constant=lambda _: None))

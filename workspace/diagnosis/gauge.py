"""How far a step in one precision is from the same step in FP32: of its loss, its gradient, and the update it makes.

The error of a gradient or an update is the mean, over parameter tensors, of ``||found - reference||^2 /
||reference||^2``, each at most 1; a step that was skipped, or is not finite, has the error 1. Squares, because errors
of independent sources add in them: what a source adds is its share. A mean over tensors, because a small gradient that
vanishes matters to its layer as much as a large one does.

Its unit is the error of an FP32 step on *another batch* of the same size. That is what every step's gradient differs by
in any case, so an error far below it, if it is random, is no more than a slightly smaller batch (McCandlish et al., *An
empirical model of large-batch training*, 2018, describe that noise).
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

import torch

from workspace.diagnosis.bench import Bench, Step, Tensors, Way
from workspace.errors import UserError
from workspace.precision import FP32

_DITHER = 2.0**-22
"""Relative change of the weights, a few ulps of FP32, that tells which gradients FP32 itself cannot reproduce."""

_REPRODUCIBLE = 1e-3
"""Largest error of a tensor's gradient under it. A bias before a BatchNorm has none but rounding errors."""

NOISE = 0.02
"""Of the error that another batch has: as if the batch had 2 % fewer pictures."""

LOST = 0.5
"""Error of one tensor's gradient that is no noise, however small that tensor."""


@dataclass(frozen=True, kw_only=True)
class Errors:
    """Of a step: ``loss`` relative to FP32's and at most 1, the others as in `workspace.diagnosis.gauge`.

    Attributes:
        worst: of the gradient of a single parameter tensor; see `worst_of`.
    """

    loss: float
    gradient: float
    worst: float
    update: float
    skipped: bool = False


class Gauge:
    """Compares ways to compute the step of some batches with FP32.

    Args:
        batches: of the bench that are measured on; one more gives the unit.
        optimizer: of the references; see `Way.optimizer`.

    Attributes:
        unit: errors of FP32 on another batch.
        references: the FP32 steps.
        compared: names of the parameters whose gradients FP32 itself reproduces.

    Raises:
        UserError: there is no such parameter; the weights are broken.
    """

    def __init__(self, bench: Bench, *, batches: int, optimizer: str | None = None) -> None:
        self.bench = bench
        reference = Way(precision=FP32, optimizer=optimizer)
        self.references = [bench.step(batch, reference) for batch in range(batches)]
        dithered = bench.step(0, dataclasses.replace(reference, dither=_DITHER))
        self.compared = [
            name
            for name, gradient in self.references[0].gradients.items()
            if squared_error(dithered.gradients[name], gradient) < _REPRODUCIBLE
        ]
        if not self.compared:
            raise UserError("FP32 itself gives no gradient that can be reproduced: these weights cannot be diagnosed")
        self._statistics = [
            name
            for name, value in self.references[0].update.items()
            if name not in bench.parameters and not torch.equal(value, bench.weights[name])
        ]
        self.unit = self._errors(bench.step(batches, reference), self.references[0])
        self._known: dict[Way, Errors] = {}

    def measure(self, way: Way) -> Errors:
        """Errors of that way, the mean over the batches."""
        if way not in self._known:
            found = [
                self._errors(self.bench.step(batch, way), reference) for batch, reference in enumerate(self.references)
            ]
            self._known[way] = Errors(
                loss=fmean(errors.loss for errors in found),
                gradient=fmean(errors.gradient for errors in found),
                worst=max(errors.worst for errors in found),
                update=fmean(errors.update for errors in found),
                skipped=any(errors.skipped for errors in found),
            )
        return self._known[way]

    def is_noise(self, errors: Errors) -> bool:
        """Whether they are far below what another batch of pictures changes, and no single gradient is lost."""
        return errors.update < NOISE * self.unit.update and errors.worst < LOST

    def _errors(self, found: Step, reference: Step) -> Errors:
        of_gradients = {
            name: squared_error(found.gradients.get(name), reference.gradients[name]) for name in self.compared
        }
        changed = (*self.compared, *self._statistics)
        of_update = [squared_error(found.update[name], reference.update[name]) for name in changed]
        difference = abs(found.loss - reference.loss) / max(abs(reference.loss), 1e-12)
        return Errors(
            loss=min(1.0, difference) if math.isfinite(difference) else 1.0,
            gradient=fmean(of_gradients.values()),
            worst=worst_of(of_gradients, reference.gradients),
            update=1.0 if found.skipped else fmean(of_update),
            skipped=found.skipped,
        )


def worst_of(errors: Mapping[str, float], gradients: Tensors) -> float:
    """The largest error of a gradient that has more than one entry.

    That of a single number, such as the scale of a level, is one sum over all places, in which terms of both signs
    cancel: by chance it is off by half, and another batch turns it round.
    """
    return max((error for name, error in errors.items() if gradients[name].numel() > 1), default=0.0)


def squared_error(found: torch.Tensor | None, reference: torch.Tensor) -> float:
    """``||found - reference||^2 / ||reference||^2``, at most 1; 1 where there is nothing, or nothing finite."""
    if found is None:
        return 1.0
    difference, norm = float((found - reference).norm()), float(reference.norm())
    if not math.isfinite(difference):
        return 1.0
    return min(1.0, (difference / norm) ** 2) if norm > 0 else float(difference > 0)

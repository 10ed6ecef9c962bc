"""The loss scale that a run would settle on, and the one that its gradients would be best served by."""

import dataclasses
import math
from dataclasses import dataclass

from workspace.detectors import detector
from workspace.diagnosis.bench import Way
from workspace.diagnosis.gauge import NOISE, Errors, Gauge

_FALLS = 64
"""Halvings that are tried, from the initial scale on, in strides that double."""

_RISE = 4  # doublings from one scale that is tried to the next
_NO_BETTER = 0.95  # of the error at the scale before
_LARGEST = 2.0**24
_USUAL = 2.0**12  # below it, that four doublings do not help may be because all underflows at either scale


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """What the loss scale does to the update.

    Attributes:
        settled: scale that the run's own policy comes to on this batch; its initial one where it is static, or where
            no scale lets the step pass.
        errors: of the update in the run's precision at that scale.
        best: scale at which the error is smallest, of those tried; ``None`` where every one was skipped.
        best_errors: at that scale.
        stuck: share of the run's steps that are spent at a scale from which the policy only then comes to a better one.
        skipped: share of the run's steps that the policy loses to overflow; 0 where too few to matter.
        is_dynamic: whether the policy follows the gradients.
        overflows_at: smallest scale that was skipped, of those tried; inf where none was.
    """

    settled: float
    errors: Errors
    best: float | None
    best_errors: Errors
    stuck: float
    skipped: float
    is_dynamic: bool
    overflows_at: float

    @property
    def error(self) -> float:
        """Of an update of the run as a whole: at the settled scale, at the best one, and where it is skipped."""
        stuck = self.stuck * self.errors.update + (1 - self.stuck) * min(self.errors.update, self.best_errors.update)
        return self.skipped + (1 - self.skipped) * stuck


def examine(gauge: Gauge, way: Way) -> Scaling | None:
    """Looks for the scale that serves the step best; ``None`` where the precision has none.

    Each doubling of the scale halves what underflows, until gradients overflow (Micikevicius et al., *Mixed precision
    training*, 2018). So the best scale is near the largest that passes; one well below may do as well.
    """
    policy = way.precision.loss_scale
    if policy is None:
        return None
    initial, is_dynamic = policy.init, policy.policy == "dynamic"
    tried = {initial: _at(gauge, way, initial)}
    passing: float | None = initial
    if tried[initial].skipped:
        passing = _fall(gauge, way, initial, tried)  # the largest one: the next is known to be skipped
    else:
        _rise(gauge, way, initial, tried)
    passed = [scale for scale, errors in tried.items() if not errors.skipped]
    best = min(passed, key=lambda scale: (round(tried[scale].update, 6), scale), default=None)
    settled = passing if is_dynamic and passing is not None else initial
    stuck, skipped = 1.0, 0.0
    if is_dynamic and best is not None:
        steps = _steps_of(gauge)
        stuck = min(1.0, max(0.0, math.log2(best / settled)) * policy.growth_interval / steps)
        skipped = min(1.0, math.log2(initial / settled) / steps + 1 / (policy.growth_interval + 1))
    return Scaling(
        settled=settled,
        errors=tried[settled],
        best=best,
        best_errors=tried[settled if best is None else best],
        stuck=stuck,
        skipped=skipped if skipped > NOISE else 0.0,
        is_dynamic=is_dynamic,
        overflows_at=min((scale for scale, errors in tried.items() if errors.skipped), default=math.inf),
    )


def _steps_of(gauge: Gauge) -> int:
    """Optimizer steps of the run that is diagnosed."""
    spec = gauge.bench.spec
    pictures = gauge.bench.task.train.trained_on * detector(spec.detector).variant(spec.scale).repeat
    return max(1, spec.epochs * -(-pictures // spec.recipe.batch_size))


def _rise(gauge: Gauge, way: Way, initial: float, tried: dict[float, Errors]) -> None:
    """Tries larger scales, until one is skipped or is no better than a good one."""
    scale = initial
    while not tried[scale].skipped and scale < _LARGEST:
        below, scale = scale, 2.0 ** (math.floor(math.log2(scale)) + _RISE)
        tried[scale] = _at(gauge, way, scale)
        no_better = tried[scale].update >= _NO_BETTER * tried[below].update
        if no_better and (gauge.is_noise(tried[below]) or below >= _USUAL):
            break


def _fall(gauge: Gauge, way: Way, initial: float, tried: dict[float, Errors]) -> float | None:
    """The largest power of two below that passes: found in growing strides, then between the last two."""

    def passes(halvings: int) -> bool:
        scale = initial / 2.0**halvings
        tried[scale] = _at(gauge, way, scale)
        return not tried[scale].skipped

    enough = 1
    while not passes(enough):
        enough *= 2
        if enough > _FALLS:
            return None
    too_few = enough // 2
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        if passes(middle):
            enough = middle
        else:
            too_few = middle
    return initial / 2.0**enough


def _at(gauge: Gauge, way: Way, scale: float) -> Errors:
    return gauge.measure(dataclasses.replace(way, loss_scale=scale))

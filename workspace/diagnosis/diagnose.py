"""The diagnosis of one run: what its precision loses of an update, through what, and what would mend it."""

import dataclasses
import time
from collections.abc import Callable, Sequence

from workspace.diagnosis import rounding, scaling
from workspace.diagnosis.attribution import Attribution, Mended
from workspace.diagnosis.bench import Bench, Way
from workspace.diagnosis.findings import Cause, Diagnosis
from workspace.diagnosis.gauge import NOISE, Gauge
from workspace.diagnosis.members import trace
from workspace.diagnosis.portrait import clamping, portrait
from workspace.diagnosis.proposals import Remedies, propose
from workspace.diagnosis.scaling import Scaling
from workspace.diagnosis.start import begin, warm
from workspace.diagnosis.watch import watch
from workspace.errors import UserError
from workspace.precision import FP32, LossScale
from workspace.training.checkpoints import Checkpoint
from workspace.training.task import Task

_LEAST = 0.1
"""Share of the update's error from which on something counts as a cause."""

_MODERATE = 256.0
"""Loss scale that overflows in no sound model, and underflows in hardly any."""

_GLANCE = 8  # passes that a search for causes of noise is worth

_TIE = 0.02
"""Shares that are as good as equal; then a setting, which costs nothing to change, comes before an island."""


def diagnose(
    task: Task,
    checkpoint: Checkpoint | None = None,
    *,
    warm_up: int = 120,
    batches: int = 2,
    passes: int = 60,
    steps: int = 0,
    say: Callable[[str], None] = lambda _: None,
) -> Diagnosis:
    """Diagnoses the run of that task: nothing is trained for good, and its journal and result are not touched.

    Args:
        task: its spec's precision is compared with FP32; its training pictures are used, and its folder for scraps.
        checkpoint: weights to begin with, instead of fresh ones.
        warm_up: steps in FP32 before anything is compared; see `workspace.diagnosis.start.warm`. Weights of a
            checkpoint stay what they are.
        batches: of the spec's size that every way to compute the step is measured on.
        passes: ways to compute the step that the search for members may try.
        steps: of a training in the run's precision to go along with, diagnosed at intervals; 0 for none.
        say: told what is being done.

    Raises:
        UserError: the precision is no mixed one, or cannot be computed here; the weights are of another model or other
            classes.
    """
    began = time.monotonic()
    spec = task.spec
    if not spec.precision.is_mixed:
        raise UserError(f"precision {spec.precision.name}: a diagnosis compares fp16 or bf16 with FP32")
    if checkpoint is not None and checkpoint.classes not in (None, task.classes):
        raise UserError(f"{checkpoint.path}: it was trained for other classes than those of these data")
    say("building the model")
    bench = Bench(task, batches=max(batches + 1, min(warm_up, 16)))
    weights = begin(bench, checkpoint)
    say("the optimizer")
    rounds = rounding.examine(bench, bench.step(0, Way(precision=FP32), update=False).gradients)
    if warm_up:
        say(f"{warm_up} steps of FP32")
        warm(bench, rounds.standard, warm_up, rate=0.0 if checkpoint else 1.0)
        weights += "" if checkpoint else f", {warm_up} steps of FP32"
    say("FP32 and the loss scale")
    gauge = Gauge(bench, batches=batches, optimizer=rounds.standard)
    way = Way(precision=spec.precision, optimizer=rounds.standard)
    wrapper = bench.optim_wrapper(spec.precision)
    bench.members = trace(bench.model, lambda: bench.forward(0, wrapper))
    bench.restore()
    scaled = scaling.examine(gauge, way)
    errors = gauge.measure(way) if scaled is None else scaled.errors
    error = errors.update if scaled is None else scaled.error
    say("the optimizer's own part")
    settled = way if scaled is None else dataclasses.replace(way, loss_scale=scaled.settled)
    rounded, rounding_causes = _rounding(bench, gauge, rounds, settled)
    scale_causes, at_best = _loss_scale(scaled, error, 1 - rounded)
    best = dataclasses.replace(settled, loss_scale=at_best) if at_best is not None else settled
    whole = gauge.measure(best)
    noise = gauge.is_noise(dataclasses.replace(errors, update=error)) and not rounding_causes
    search = Attribution(gauge, best, min(passes, _GLANCE) if gauge.is_noise(whole) else passes)
    say("the members")
    mended = search.search()
    part = (1 - rounded) * min(1.0, whole.update / error) if error > 0 else 0.0
    mended = [m for m in mended if part * m.weight >= _LEAST]
    say("the portrait")
    seen = portrait(bench, settled)
    causes = [*rounding_causes, *scale_causes]
    causes += _overflow(gauge, search, best, clamping(bench, seen), part)
    causes += [_module(m, part) for m in mended]
    causes.sort(key=lambda cause: (-round(cause.share / _TIE), cause.kind == "module"))
    say("proposals")
    remedies = Remedies(
        way=best,
        error=error,
        rounding=rounded,
        loss_scale=_better_policy(scale_causes, at_best),
        optimizer=rounds.standard if rounding_causes else None,
    )
    proposals = [] if noise else propose(gauge, remedies, causes)
    moments = watch(bench, steps, say=say) if steps else ()
    return Diagnosis(
        detector=spec.detector,
        scale=spec.scale,
        precision=spec.precision,
        weights=weights,
        pictures=_counted(batches, "batch", "batches")
        + " of "
        + _counted(spec.recipe.batch_size, "picture", "pictures"),
        errors=errors,
        unit=gauge.unit,
        noise=noise,
        causes=[] if noise else causes,
        proposals=proposals,
        members=[
            dataclasses.replace(
                member,
                share=search.found[member.name].share if member.name in search.found else None,
                alone=search.found[member.name].alone if member.name in search.found else None,
            )
            for member in seen
        ],
        moments=moments,
        loss_scale=None if scaled is None else scaled.settled,
        passes=bench.passes,
        seconds=time.monotonic() - began,
    )


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _rounding(bench: Bench, gauge: Gauge, rounds: rounding.Rounding, way: Way) -> tuple[float, list[Cause]]:
    """The share of the update's error that the optimizer makes, and the causes that this is.

    Both optimizers make the same steps with the gradients of the run's precision, at the full rate and late in the
    schedule; what counts is the worse of the two.
    """
    if rounds.standard is None:
        return 0.0, []
    exact = [reference.gradients for reference in gauge.references]
    found = [bench.step(batch, way, update=False).gradients for batch in range(len(exact))]
    names = gauge.compared
    worst, words = 0.0, ""
    for rate in (1.0, rounding.LATE):
        expected = rounding.displacement(bench, exact, optimizer=rounds.standard, rate=rate)
        own = rounding.displacement(bench, found, optimizer=None, rate=rate)
        error = rounding.error(own, expected, names)
        standard = rounding.displacement(bench, found, optimizer=rounds.standard, rate=rate)
        share = 1 - rounding.error(standard, expected, names) / error if error > 0 else 0.0
        if error * share > NOISE and share > worst:
            still = rounding.stalled(own, expected)
            worst, words = share, f"at {rate:g} of the learning rate its update is off by {error**0.5:.0%}"
            words += f", {still:.0%} of the weights do not move" if still > 0.01 else ""
    if worst == 0:
        return 0.0, []
    kinds = [name for name, is_so in (("weights", rounds.weights), ("state", rounds.state)) if is_so]
    evidence = {
        "weights": f"weights are rounded to half after each step: {words}",
        "state": f"its state is rounded to half: {words}",
    }
    return worst, [Cause(kind="optimizer", where=kind, share=worst, evidence=evidence[kind]) for kind in kinds]


def _loss_scale(scaled: Scaling | None, error: float, part: float) -> tuple[list[Cause], float | None]:
    """The cause that the loss scale is, if it is one, and the scale to compute with from here on."""
    if scaled is None:
        return [], None
    if scaled.best is None:  # no scale helps; one that is not itself too large shows what does
        return [], min(scaled.settled, _MODERATE)
    if error == 0:
        return [], scaled.settled
    if (
        scaled.is_dynamic and scaled.overflows_at <= _MODERATE
    ):  # something overflows that should not; at this scale it shows
        return [], _MODERATE
    share = part * (1 - scaled.best_errors.update / error)
    if share < _LEAST:
        return [], scaled.settled
    too_large = scaled.best < scaled.settled or scaled.skipped > scaled.stuck * scaled.errors.update
    lost = f"{scaled.skipped:.0%} of the steps are skipped" if scaled.skipped > NOISE else ""
    if scaled.errors.skipped:
        lost = f"at {scaled.settled:g} the step overflows and is skipped"
    if not too_large:
        lost = f"at {scaled.settled:g} the update is off by {scaled.errors.update**0.5:.0%}"
    where = "too large" if too_large else "too small"
    evidence = f"{lost}; at {scaled.best:g} it is off by {scaled.best_errors.update**0.5:.1%}"
    return [Cause(kind="loss_scale", where=where, share=share, evidence=evidence)], scaled.best


def _better_policy(causes: Sequence[Cause], best: float | None) -> LossScale | None:
    """A dynamic scale, which follows the gradients where a static one has to be guessed again as they shrink."""
    if not causes or best is None:
        return None
    return LossScale(init=best if causes[0].where == "too large" else max(best, LossScale().init))


def _overflow(gauge: Gauge, search: Attribution, way: Way, members: Sequence[str], part: float) -> list[Cause]:
    """Values that were clamped in the forward pass without a word, if they matter."""
    if way.precision.overflow != "saturate" or not members:
        return []
    share = part * search.share(tuple(members))
    if share < _LEAST:
        return []
    named = ", ".join(members[:3]) + (", ..." if len(members) > 3 else "")
    evidence = f"values beyond 65504 are clamped in {named}; in FP32 there the error goes away"
    return [Cause(kind="overflow", where="forward", share=share, evidence=evidence)]


def _module(mended: Mended, part: float) -> Cause:
    (name,) = mended.members
    left = max(0.0, 1 - mended.share)
    alone = min(1.0, mended.alone or 0.0)
    evidence = f"in FP32 alone it leaves {left:.0%} of the error; in half alone it makes {alone:.0%} of it"
    return Cause(kind="module", where=name, share=part * max(0.0, mended.share), alone=alone, evidence=evidence)

"""Underflow and error by member along a training, and what a run's journal says of its arithmetic."""

import copy
from collections.abc import Callable, Mapping
from pathlib import Path

from workspace.diagnosis.bench import Bench, Way
from workspace.diagnosis.findings import Moment
from workspace.diagnosis.observation import deviation
from workspace.diagnosis.portrait import observe
from workspace.journal import JournalReader, latest
from workspace.precision import FP32

POINTS = 6
"""Diagnosed steps of a training."""

METRICS = (
    "train/loss",
    "train/grad_norm",
    "precision/loss_scale",
    "precision/skipped_steps",
    "precision/forward_overflows",
    "precision/underflow_share",
    "precision/subnormal_share",
    "precision/forward_clamped",
    "precision/backward_clamped",
)
"""Of a run's journal, that tell of its arithmetic."""


def along_a_run(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """(step, value) of each of `METRICS` that a run's journal has; it is read, and nothing else.

    Args:
        folder: of a run, finished or not.
    """
    found: dict[str, list[tuple[int, float]]] = {}
    for event in latest(JournalReader(folder).read()):
        if event["kind"] == "step":
            for name in METRICS:
                if name in event["metrics"]:
                    found.setdefault(name, []).append((event["step"], event["metrics"][name]))
    return found


def watch(
    bench: Bench,
    steps: int,
    *,
    say: Callable[[str], None] = lambda _: None,
    ended: Callable[[], object] = lambda: None,
) -> list[Moment]:
    """Trains so many steps in the run's precision from the bench's weights, and diagnoses some of them on the way.

    A diagnosed step is computed beside the training, in FP32 and in the run's precision from the weights and the loss
    scale of that moment; the training itself is the same without.

    Args:
        ended: called with the model trained, before it has its weights back.

    Returns:
        `POINTS` moments, evenly spread, the first one before the first step.
    """
    begun_with = dict(bench.weights)
    wrapper = bench.optim_wrapper(bench.spec.precision)
    if bench.states.get(None):
        wrapper.optimizer.load_state_dict(copy.deepcopy(bench.states[None]))
    bench.restore()
    due = {round(point * (steps - 1) / (POINTS - 1)) for point in range(POINTS)}
    moments = []
    for step in range(steps):
        if step in due:
            say(f"step {step} of {steps}")
            scaler = wrapper.arithmetic.scaler
            loss_scale = None if scaler is None else float(scaler.get_scale())
            moments.append(_moment(bench, step, loss_scale, wrapper.step_metrics))
        bench.advance(step % bench.batches, wrapper)
    ended()
    bench.weights = begun_with
    bench.restore()
    return moments


def _moment(bench: Bench, step: int, loss_scale: float | None, metrics: Mapping[str, float]) -> Moment:
    bench.keep()
    reference, _ = observe(bench, Way(precision=FP32), step % bench.batches)
    way = Way(precision=bench.spec.precision, loss_scale=loss_scale)
    found, _ = observe(bench, way, step % bench.batches)
    seen = {
        name: compared
        for name in bench.members
        if (compared := deviation(found.gradients.get(name), reference.gradients.get(name), loss_scale or 1.0))
    }
    return Moment(
        step=step,
        underflow={name: compared.underflow for name, compared in seen.items()},
        error={name: compared.error for name, compared in seen.items()},
        metrics=dict(metrics),
    )

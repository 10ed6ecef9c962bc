"""Whether a run diverged: an answer of its arithmetic and recipe, which has an AP like any other."""

import torch
from mmengine.hooks import Hook
from torch import nn

from workspace.training.hooks import JournalHook
from workspace.training.runner import RunRunner


class DivergedError(Exception):
    """The weights are not finite, and no further step can change that."""


class DivergenceHook(Hook):  # type: ignore[misc]
    """Ends a run whose weights are lost, and tells of one that trained to its end whether it diverged.

    A step whose loss is not finite is no reason to end: FP16 skips it and trains on. In a run on several devices each
    process sees the same loss and the same weights, so all of them end at the same step.

    Args:
        observer: that has seen each step before.
    """

    priority = "LOWEST"

    def __init__(self, observer: JournalHook) -> None:
        self._observer = observer
        self._begun_at = self._skipped_before = 0

    def before_train_epoch(self, runner: RunRunner) -> None:
        self._begun_at, self._skipped_before = runner.iter, runner.optim_wrapper.skipped_steps

    def after_train_iter(self, runner: RunRunner, *_: object, **__: object) -> None:
        if not self._observer.loss_is_finite and not _are_finite(runner.plain_model, buffers=False):
            raise DivergedError

    def verdict(self, runner: RunRunner) -> str | None:
        """What became of the run in the end; ``None`` where it converged, well or badly."""
        if not _are_finite(runner.plain_model, buffers=False):
            return f"the weights were not finite after {runner.iter} steps"
        if not _are_finite(runner.plain_model, buffers=True):
            return "the statistics of its BatchNorm were not finite at the end"
        if runner.optim_wrapper.skipped_steps - self._skipped_before == runner.iter - self._begun_at:
            return "every step of its last epoch overflowed and was skipped"
        return None if self._observer.loss_is_finite else "the loss was not finite at the last step"


def _are_finite(model: nn.Module, *, buffers: bool) -> bool:
    tensors = model.buffers() if buffers else model.parameters()
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)

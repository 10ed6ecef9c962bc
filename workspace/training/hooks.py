"""Hooks that make a run reproducible, resumable and observable."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.dist import all_reduce, broadcast, is_distributed
from mmengine.hooks import Hook

from workspace.journal import JournalWriter
from workspace.training.data import derive_seed
from workspace.training.runner import RunRunner


class EpochSeedHook(Hook):  # type: ignore[misc]
    """Seeds torch's generators from (seed, epoch), so that no draw depends on what was drawn before."""

    priority = "VERY_HIGH"

    def before_train_epoch(self, runner: RunRunner) -> None:
        torch.manual_seed(derive_seed(runner.seed, runner.epoch))


class BufferHook(Hook):  # type: ignore[misc]
    """Gives every process the first one's buffers after each epoch: those that are stored are those evaluated."""

    priority = "VERY_HIGH"

    def after_train_epoch(self, runner: RunRunner) -> None:
        for buffer in runner.model.buffers():
            broadcast(buffer)


class CheckpointHook(Hook):  # type: ignore[misc]
    """Stores a checkpoint of each epoch when the next one begins: its evaluation, if any, is then in the journal."""

    priority = "LOWEST"

    def __init__(self, journal: JournalWriter) -> None:
        self._journal = journal
        self._stored = 0

    def before_train(self, runner: RunRunner) -> None:
        self._stored = runner.epoch

    def before_train_epoch(self, runner: RunRunner) -> None:
        if runner.epoch > self._stored:
            runner.save_progress()
            self._stored = runner.epoch
            self._journal.write("checkpoint", step=runner.iter, epoch=runner.epoch)


class JournalHook(Hook):  # type: ignore[misc]
    """Writes every step's and every evaluation's metrics to the journal, if it has one.

    Each process of a run needs this hook, the one with the journal too few: losses are means over all of them.
    MMDetection reports nothing where nothing at all was detected; ``judged_by`` is then 0, and not its last value.

    Attributes:
        loss_is_finite: of the last step, in every process.
    """

    priority = "LOW"

    def __init__(self, journal: JournalWriter | None, judged_by: str) -> None:
        self._journal = journal
        self._judged_by = judged_by
        self.last_evaluation: dict[str, float] = {}
        self.loss_is_finite = True

    def before_train(self, runner: RunRunner) -> None:
        self._write("start", step=runner.iter, epoch=runner.epoch)

    def after_train_iter(
        self, runner: RunRunner, batch_idx: int, data_batch: Any = None, outputs: Mapping[str, Any] | None = None
    ) -> None:
        metrics = {f"train/{name}": value for name, value in _over_processes(outputs or {}).items()}
        self.loss_is_finite = all(map(math.isfinite, metrics.values()))
        metrics["train/lr"] = runner.optim_wrapper.get_lr()["lr"][0]
        metrics.update(runner.optim_wrapper.step_metrics)
        self._write("step", step=runner.iter + 1, epoch=runner.epoch, metrics=metrics)

    def after_val_epoch(self, runner: RunRunner, metrics: Mapping[str, float] | None = None) -> None:
        self.last_evaluation = {self._judged_by: 0.0, **{name: float(value) for name, value in (metrics or {}).items()}}
        self._write("eval", step=runner.iter, epoch=runner.epoch, metrics=self.last_evaluation)

    def _write(self, kind: str, **fields: Any) -> None:
        if self._journal is not None:
            self._journal.write(kind, **fields)


def _over_processes(outputs: Mapping[str, Any]) -> dict[str, float]:
    """Means over the processes of a run."""
    numbers = [_number(value) for value in outputs.values()]
    if is_distributed():
        means = torch.tensor(numbers)
        all_reduce(means, "mean")
        numbers = means.tolist()
    return dict(zip(outputs, numbers, strict=True))


def _number(value: Any) -> float:
    return float(value.item() if isinstance(value, torch.Tensor) else value)

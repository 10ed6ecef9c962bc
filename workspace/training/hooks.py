"""Hooks that make a run reproducible, resumable and observable."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.dist import all_reduce, broadcast, is_distributed
from mmengine.hooks import Hook

from workspace.journal import JournalWriter
from workspace.spec import RunSpec
from workspace.training.data import derive_seed
from workspace.training.runner import BEST, RunRunner
from workspace.training.task import Keep


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
            self._journal.sync()  # nothing before the checkpoint is trained again, or evaluated
            runner.save_progress()
            self._stored = runner.epoch
            self._journal.write("checkpoint", step=runner.iter, epoch=runner.epoch)


class WeightsHook(Hook):  # type: ignore[misc]
    """Keeps the weights that evaluate best, and those of each epoch where all are asked for.

    What is best stands in the file itself, which is replaced in one step: an attempt that goes on compares with it.
    An evaluation that a kill made it repeat does not lose to itself, for of equals the last one is kept; that also
    makes the best weights of a run that ends as well as it ever was no second file.

    Args:
        observer: that has seen each evaluation before.
        judged_by: MMDetection's key of the AP.
        config, spec: stored with the weights; see `RunRunner.save_model`.
    """

    priority = "VERY_LOW"  # an epoch's weights are there before the checkpoint that says it is done

    def __init__(self, keep: Keep, observer: "JournalHook", judged_by: str, config: str, spec: RunSpec) -> None:
        self._keep, self._observer, self._judged_by = keep, observer, judged_by
        self._stored_with = config, spec
        self._best: float | None = None
        self._evaluated: tuple[int, float] | None = None
        self._begun_at = 0

    def before_train(self, runner: RunRunner) -> None:
        self._begun_at = runner.epoch
        if self._keep != "last":
            self._best = runner.best_ap()

    def before_train_epoch(self, runner: RunRunner) -> None:
        if self._keep == "all" and runner.epoch > self._begun_at:
            epoch, ap = self._evaluated or (0, 0.0)
            name = _epoch_file(runner.epoch)
            runner.save_model(*self._stored_with, name, ap=ap if epoch == runner.epoch else None)

    def after_val_epoch(self, runner: RunRunner, metrics: Mapping[str, float] | None = None) -> None:
        self._evaluated = runner.epoch, self._ap
        if self._keep != "last" and runner.epoch < runner.max_epochs and self._is_best:
            runner.save_model(*self._stored_with, BEST, ap=self._ap)
            self._best = self._ap

    def finish(self, runner: RunRunner) -> None:
        """Stores the last weights, and leaves no others than are to be kept."""
        runner.save_model(*self._stored_with, ap=self._ap)
        if self._keep == "last":
            runner.drop(BEST)
        elif self._is_best:
            runner.name_model(BEST)
        if self._keep == "all":
            runner.name_model(_epoch_file(runner.epoch))
        else:
            for epoch in range(1, runner.max_epochs + 1):  # of an attempt that kept them
                runner.drop(_epoch_file(epoch))

    @property
    def _ap(self) -> float:
        return 100 * self._observer.last_evaluation[self._judged_by]

    @property
    def _is_best(self) -> bool:
        return self._best is None or self._ap >= self._best


class JournalHook(Hook):  # type: ignore[misc]
    """Writes every step's and every evaluation's metrics to the journal, if it has one.

    Each process of a run needs this hook, the one with the journal too few: losses are means over all of them.
    MMDetection reports nothing where nothing at all was detected; ``judged_by`` is then 0, and not its last value.

    Attributes:
        loss_is_finite: of the last step, the mean over all processes.
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
        self.loss_is_finite = math.isfinite(metrics["train/loss"])
        metrics["train/lr"] = runner.optim_wrapper.get_lr()["lr"][0]
        metrics.update(runner.optim_wrapper.step_metrics)
        self._write("step", step=runner.iter + 1, epoch=runner.epoch, metrics=metrics)

    def after_val_epoch(self, runner: RunRunner, metrics: Mapping[str, float] | None = None) -> None:
        self.last_evaluation = {self._judged_by: 0.0, **{name: float(value) for name, value in (metrics or {}).items()}}
        self._write("eval", step=runner.iter, epoch=runner.epoch, metrics=self.last_evaluation)

    def _write(self, kind: str, **fields: Any) -> None:
        if self._journal is not None:
            self._journal.write(kind, **fields)


def _epoch_file(epoch: int) -> str:
    """As MMEngine names it."""
    return f"epoch_{epoch}.pth"


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

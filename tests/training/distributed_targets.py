"""What the processes of a run do in the tests of this folder, beside training."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
import torch.distributed as dist
from mmengine.hooks import Hook
from torch import nn

from workspace.errors import UserError
from workspace.training import run
from workspace.training.batch_norm import GlobalBatchNorm
from workspace.training.runner import RunRunner
from workspace.training.task import Task

_train_together = run._train_together


@contextmanager
def double_precision() -> Iterator[None]:
    """Training in FP64, whatever MMDetection makes a ``float`` of; the evaluation, whose NMS has none, in FP32.

    Detections are written to ``found.bbox.json`` in the run folder.
    """
    configure, build, wrap = run.build_config, run.build_runner, RunRunner.wrap_model

    with pytest.MonkeyPatch.context() as patch:

        class Single(Hook):  # type: ignore[misc]
            def before_val(self, runner: RunRunner) -> None:
                patch.undo()
                runner.plain_model.to(torch.float32)

        def build_with_hook(task: Task) -> RunRunner:
            runner = build(task)
            runner.register_hook(Single())
            return runner

        def configure_with_file(task: Task) -> Any:
            cfg = configure(task)
            cfg.val_evaluator.outfile_prefix = str(task.folder / "found")
            return cfg

        patch.setattr(torch.Tensor, "float", torch.Tensor.double)
        patch.setattr(RunRunner, "wrap_model", lambda self, cfg, model: wrap(self, cfg, model.double()))
        patch.setattr(run, "build_runner", build_with_hook)
        patch.setattr(run, "build_config", configure_with_file)
        patch.setattr(run, "contradictions", lambda *_: [])
        yield


def train_in_double_precision(task: Task) -> None:
    with double_precision():
        _train_together(task)


def second_killed_in_second_epoch(task: Task) -> None:
    class Kill(Hook):  # type: ignore[misc]
        def after_train_iter(self, runner: RunRunner, batch_idx: int, *_: Any, **__: Any) -> None:
            if runner.epoch == 1 and batch_idx == 1 and dist.get_rank() == 1:
                os.kill(os.getpid(), signal.SIGKILL)

    _train_with(task, Kill)


def second_overflows_in_second_step(task: Task) -> None:
    """Each process writes what it did at every step into a file of its own."""

    class Overflow(Hook):  # type: ignore[misc]
        def before_train_iter(self, runner: RunRunner, *_: Any, **__: Any) -> None:
            if runner.iter == 1 and dist.get_rank() == 1:
                self._handle = runner.plain_model.neck.register_forward_hook(self._magnify_gradient)

        def _magnify_gradient(self, module: nn.Module, inputs: Any, outputs: tuple[torch.Tensor, ...]) -> None:
            outputs[0].register_hook(lambda gradient: gradient * 60000 * 60000)
            self._handle.remove()

        def after_train_iter(self, runner: RunRunner, *_: Any, **__: Any) -> None:
            state = [runner.optim_wrapper.step_metrics[f"precision/{name}"] for name in ("skipped_steps", "loss_scale")]
            _witness(task, *state, _sum(runner.plain_model.parameters()))

    _train_with(task, Overflow)


def batch_norm_of_each_process(task: Task) -> None:
    """Trains as at full scale; each process writes what it evaluates with into a file of its own."""

    class Evaluated(Hook):  # type: ignore[misc]
        priority = "VERY_HIGH"  # before the buffers are made equal

        def after_train_epoch(self, runner: RunRunner) -> None:
            _witness(task, _sum(runner.plain_model.buffers()))

        def before_val_epoch(self, runner: RunRunner) -> None:
            _witness(task, _sum(runner.plain_model.buffers()))

    build = run.build_config

    def unshared(task: Task) -> Any:
        cfg = build(task)
        cfg.share_batch_norms = False
        return cfg

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "build_config", unshared)
        _train_with(task, Evaluated)


def second_fails(task: Task) -> None:
    if dist.get_rank() == 1:
        raise UserError("picture 7 is broken\nand more of it")
    dist.barrier()


def second_is_wrong(task: Task) -> None:
    if dist.get_rank() == 1:
        raise KeyError("size")
    dist.barrier()


def announce_and_sleep(task: Task) -> None:
    (task.folder / f"pid.{dist.get_rank()}").write_text(str(os.getpid()))
    time.sleep(600)


def batch_norm_is_that_of_the_whole_batch(task: Task) -> None:
    """The first process has five of seven pictures."""
    torch.manual_seed(0)
    whole = torch.randn(7, 4, 3, 5) * 3 + 10
    gradient = torch.randn_like(whole)
    expected = nn.BatchNorm2d(4)
    nn.init.uniform_(expected.weight)
    found = GlobalBatchNorm.of(expected)
    expected = nn.BatchNorm2d(4)
    expected.load_state_dict(found.state_dict())

    mine = slice(0, 5) if dist.get_rank() == 0 else slice(5, 7)
    inputs, part = whole.clone().requires_grad_(), whole[mine].clone().requires_grad_()
    outputs, output = expected(inputs), found(part)
    outputs.backward(gradient)
    output.backward(gradient[mine])
    torch.testing.assert_close(output, outputs[mine])
    assert inputs.grad is not None
    torch.testing.assert_close(part.grad, inputs.grad[mine])
    for name in ("weight", "bias"):
        summed = getattr(found, name).grad.clone()
        dist.all_reduce(summed)
        torch.testing.assert_close(summed, getattr(expected, name).grad)
    for (name, buffer), (_, other) in zip(found.named_buffers(), expected.named_buffers(), strict=True):
        torch.testing.assert_close(buffer, other, msg=name)
    torch.testing.assert_close(found.eval()(part), expected.eval()(inputs)[mine])
    assert found.train()(part.half()).dtype == torch.float16


def _train_with(task: Task, hook: Callable[[], Hook]) -> None:
    build = run.build_runner

    def build_with(task: Task) -> RunRunner:
        runner = build(task)
        runner.register_hook(hook())
        return runner

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "build_runner", build_with)
        _train_together(task)


def _witness(task: Task, *values: float) -> None:
    with (task.folder / f"witness.{dist.get_rank()}").open("a") as file:
        print(*values, file=file)


def _sum(tensors: Any) -> float:
    return sum(float(tensor.double().sum()) for tensor in tensors)

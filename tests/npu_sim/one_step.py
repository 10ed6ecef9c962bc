"""One training step's losses and gradients of a run, on any device, from given weights."""

from dataclasses import dataclass
from typing import Any

import torch

from workspace.training import run
from workspace.training.runner import RunRunner
from workspace.training.task import Task


@dataclass(frozen=True)
class Step:
    """On the CPU: the terms of the loss, and the gradients of the scaled loss by the names of their parameters."""

    losses: dict[str, torch.Tensor]
    gradients: dict[str, torch.Tensor]


def build(task: Task) -> RunRunner:
    """The runner of a task with its model's weights initialised."""
    from workspace import devices

    device = devices.device(task.spec.device)
    device.check()
    device.select(task.devices[0])
    device.use_strict_fp32()
    torch.set_num_threads(1)
    runner = run.build_runner(task)
    runner._init_model_weights()
    return runner


def first_batch(runner: RunRunner) -> Any:
    return next(iter(runner.build_dataloader(runner.cfg.train_dataloader)))


def first_step(runner: RunRunner, batch: Any) -> Step:
    """Forward and backward pass of a batch as in training; no weight changes, but batch norms see the batch."""
    model = runner.plain_model
    model.train()
    wrapper = runner.build_optim_wrapper(runner.cfg.optim_wrapper)
    with wrapper.optim_context(model):
        losses = model(**model.data_preprocessor(batch, True), mode="loss")
    total, terms = model.parse_losses(losses)
    wrapper.backward(total)
    return Step(
        losses={name: value.detach().cpu() for name, value in terms.items()},
        gradients={name: p.grad.cpu() for name, p in model.named_parameters() if p.grad is not None},
    )

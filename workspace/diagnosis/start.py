"""The weights and the optimizer state that a diagnosis begins with."""

import torch
from torch import nn

from workspace.diagnosis.bench import Bench
from workspace.precision import FP32
from workspace.training.checkpoints import Checkpoint


def begin(bench: Bench, checkpoint: Checkpoint | None) -> str:
    """Gives the bench the weights of a checkpoint, or fresh ones, and says in words which they are.

    ResNets that keep BatchNorm's statistics of a pretraining explode without it, so where there is none those are taken
    from a batch.
    """
    torch.manual_seed(bench.spec.seed)
    if checkpoint is None:
        begins_with = _initialised(bench)
    else:
        checkpoint.load_into(bench.model)
        begins_with = f"weights of {checkpoint.path.name}"
    bench.model.train()
    if checkpoint is None and bench.task.weights is None and _take_statistics(bench):
        begins_with += ", BatchNorm statistics of one batch"
    bench.keep()
    return begins_with


def warm(bench: Bench, optimizer: str | None, steps: int, *, rate: float = 1.0) -> None:
    """Trains so many steps in FP32, and has every step after begin with those weights and that optimizer's state.

    An optimizer with a second moment, such as AdamW, makes its first steps of every gradient's sign alone, in which
    noise is as large as signal; and what rounding does to fresh weights says little of trained ones. The rate rises
    linearly to the recipe's, over its own warm-up or all of the steps.

    Args:
        rate: factor on the learning rate; at 0 the optimizer's state is filled and the weights stay what they are.
    """
    wrapper = bench.optim_wrapper(FP32, optimizer)
    rates = [group["lr"] for group in wrapper.optimizer.param_groups]
    for step in range(steps):
        progress = min(1.0, (step + 1) / max(1, min(bench.spec.recipe.warmup_steps, steps)))
        for group, peak in zip(wrapper.optimizer.param_groups, rates, strict=True):
            group["lr"] = peak * rate * progress
        bench.advance(step % bench.batches, wrapper)
    for group, peak in zip(wrapper.optimizer.param_groups, rates, strict=True):
        group["lr"] = peak
    bench.states[optimizer] = wrapper.optimizer.state_dict()
    bench.keep()


def _initialised(bench: Bench) -> str:
    if bench.task.weights is None and "backbone" in bench.runner.cfg.model:
        pretrained = bench.runner.cfg.model.backbone.get("init_cfg")
        if isinstance(pretrained, dict) and pretrained["type"] == "Pretrained":
            bench.runner.cfg.model.backbone.init_cfg = None
            backbone: nn.Module = bench.model.get_submodule("backbone")
            backbone.init_cfg = None  # type: ignore[assignment]
    bench.runner._init_model_weights()
    return "fresh weights" if bench.task.weights is None else "fresh weights on a pretrained backbone"


def _take_statistics(bench: Bench) -> bool:
    """Gives every BatchNorm that does not learn its statistics those of the first batch."""
    frozen = [
        module
        for module in bench.model.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and not module.training
    ]
    before = [module.momentum for module in frozen]
    for module in frozen:
        module.train()
        module.momentum = 1.0
    if frozen:
        with torch.no_grad():
            bench.forward(0, bench.optim_wrapper(FP32))
    for module, momentum in zip(frozen, before, strict=True):
        module.eval()
        module.momentum = momentum
    return bool(frozen)

"""Optimizers that save memory by keeping what they should not in half."""

from collections.abc import Callable
from typing import Any

import torch
from mmengine.registry import OPTIMIZERS


def _as_half(tensor: torch.Tensor) -> None:
    tensor.copy_(tensor.half())


@OPTIMIZERS.register_module()
class HalfWeightsAdamW(torch.optim.AdamW):
    """AdamW on weights that are kept in half: what an update leaves is rounded to it."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        loss = super().step(closure)
        for group in self.param_groups:
            for parameter in group["params"]:
                _as_half(parameter)
        return loss


@OPTIMIZERS.register_module()
class HalfStateAdamW(torch.optim.AdamW):
    """AdamW whose two moments are kept in half."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        loss = super().step(closure)
        for state in self.state.values():
            _as_half(state["exp_avg"])
            _as_half(state["exp_avg_sq"])
        return loss

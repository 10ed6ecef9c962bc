"""MMEngine's optimizer wrapper for every precision on every device, with its step observed."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS
from torch import nn

from workspace.precision import Precision
from workspace.precision.arithmetic import arithmetic

UNDERFLOW_INTERVAL = 50
"""Steps between two counts of underflown gradient entries; a count reads every gradient once."""

FP16_SMALLEST_SUBNORMAL = 2.0**-24
FP16_SMALLEST_NORMAL = 2.0**-14


@OPTIM_WRAPPERS.register_module()
class PrecisionOptimWrapper(OptimWrapper):  # type: ignore[misc]
    """Forward, backward and step of one `Precision`.

    MMEngine has ``OptimWrapper`` for FP32 and ``AmpOptimWrapper`` for accelerators, and on some NPUs exchanges one for
    the other without a word. This one does what its precision says, on the CPU too.

    Attributes:
        step_metrics: of the last step: ``train/grad_norm`` (L2, unscaled, before clipping; inf if skipped) and, in
            FP16, ``precision/loss_scale``, ``precision/skipped_steps`` and ``precision/forward_overflows`` (steps so
            far whose backward pass overflowed, and whose forward pass did) and, every `UNDERFLOW_INTERVAL` steps,
            ``precision/underflow_share`` and ``precision/subnormal_share``: the shares of entries of the scaled
            parameter gradients below FP16's smallest positive and smallest normal number. Where FP16 saturates,
            ``precision/forward_clamped`` and ``precision/backward_clamped``: elements that did not fit.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        precision: dict[str, Any],
        device: str,
        accumulative_counts: int = 1,
        clip_grad: dict[str, Any] | None = None,
    ) -> None:
        self._max_norm = None if clip_grad is None else float(clip_grad["max_norm"])
        super().__init__(optimizer, accumulative_counts, clip_grad)
        self.arithmetic = arithmetic(Precision.from_json(precision), device)
        self.step_metrics: dict[str, float] = {}
        self.skipped_steps = 0
        self.forward_overflows = 0
        self._forward_overflowed = False
        self._stepped = False
        self._steps_seen = 0
        optimizer.register_step_post_hook(self._note_step)

    def _note_step(self, *_: Any) -> None:
        self._stepped = True

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with super().optim_context(model), self.arithmetic.forward():
            yield

    def backward(self, loss: torch.Tensor, **kwargs: Any) -> None:
        scaler = self.arithmetic.scaler
        if scaler is not None:
            self._forward_overflowed |= self.arithmetic.forward_overflowed(loss)
        with self.arithmetic.backward():
            scaled: torch.Tensor = loss if scaler is None else scaler.scale(loss)
            torch.autograd.backward(scaled, **kwargs)
        self._inner_count += 1

    def step(self, **kwargs: Any) -> None:
        parameters = [p for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
        scaler = self.arithmetic.scaler
        self.step_metrics = {}
        if scaler is not None:
            if self._steps_seen % UNDERFLOW_INTERVAL == 0:
                self.step_metrics.update(underflow([p.grad for p in parameters]))
            self.step_metrics["precision/loss_scale"] = scaler.get_scale()
            self.arithmetic.reveal_overflow(parameters)
            self.step_metrics.update(self.arithmetic.counts())
            scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters])
        if self._max_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(parameters, self._max_norm, norm)
        self._stepped = False
        if scaler is None:
            self.optimizer.step(**kwargs)
        else:
            scaler.step(self.optimizer, **kwargs)
            self.arithmetic.update_scale()
            self.skipped_steps += not self._stepped
            self.step_metrics["precision/skipped_steps"] = self.skipped_steps
            self.forward_overflows += self._forward_overflowed
            self._forward_overflowed = False
            self.step_metrics["precision/forward_overflows"] = self.forward_overflows
        # What a skipped step's gradients were scaled by differs between devices.
        self.step_metrics["train/grad_norm"] = float(norm) if scaler is None or self._stepped else math.inf
        self._steps_seen += 1

    def state_dict(self) -> dict[str, Any]:
        state: dict[str, Any] = super().state_dict()
        if self.arithmetic.scaler is not None:
            state["loss_scaler"] = self.arithmetic.scaler.state_dict()
        state["steps"] = {
            "seen": self._steps_seen,
            "skipped": self.skipped_steps,
            "forward_overflows": self.forward_overflows,
        }
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        state = dict(state_dict)
        steps = state.pop("steps")
        self._steps_seen, self.skipped_steps = steps["seen"], steps["skipped"]
        self.forward_overflows = steps.get("forward_overflows", 0)  # checkpoints of earlier versions do not say
        stored = state.pop("loss_scaler", {})
        if self.arithmetic.scaler is not None:
            # torch_npu's scaler has one key more ("dynamic") than torch's, and neither accepts the other's state.
            own = self.arithmetic.scaler.state_dict()
            self.arithmetic.scaler.load_state_dict({key: stored.get(key, value) for key, value in own.items()})
        super().load_state_dict(state)


def underflow(gradients: list[torch.Tensor]) -> dict[str, float]:
    """Shares of the entries of all gradients that FP16 would hold as zero, or only as a subnormal number."""
    total = sum(g.numel() for g in gradients)
    zero = sum(int((g.abs() < FP16_SMALLEST_SUBNORMAL).sum()) for g in gradients)
    small = sum(int((g.abs() < FP16_SMALLEST_NORMAL).sum()) for g in gradients)
    return {"precision/underflow_share": zero / total, "precision/subnormal_share": (small - zero) / total}


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class MergingConstructor(DefaultOptimWrapperConstructor):  # type: ignore[misc]
    """MMEngine's constructor, with parameters of equal settings in one group.

    MMEngine makes a group of every single parameter as soon as one has settings of its own (FCOS's biases), and the
    optimizer and the schedulers then loop over a hundred groups: a fifth of a small model's step. The update of each
    parameter is the same.
    """

    def add_params(self, params: list[dict[str, Any]], module: nn.Module, prefix: str = "", **kwargs: Any) -> None:
        super().add_params(params, module, prefix, **kwargs)
        if prefix:  # a submodule; the whole is merged at the end
            return
        merged: dict[tuple[tuple[str, Any], ...], dict[str, Any]] = {}
        for group in params:
            settings = {name: value for name, value in group.items() if name != "params"}
            target = merged.setdefault(tuple(sorted(settings.items())), {"params": [], **settings})
            target["params"].extend(group["params"])
        params[:] = merged.values()

"""How each device performs a `Precision`: contexts for the forward and backward pass, and the gradient scaler."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial

import torch
import torch.distributed as dist

from workspace.precision.half import HalfArithmetic
from workspace.precision.npu_autocast import cuda_as_on_npu
from workspace.precision.policy import LossScale, Precision

_DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


class Arithmetic:
    """FP32, and the base of the others.

    Attributes:
        scaler: gradient scaler; ``None`` unless FP16.
    """

    def __init__(self, loss_scale: LossScale | None = None, device_type: str = "cpu") -> None:
        self.scaler: torch.amp.GradScaler | None = None
        self._static_scale: float | None = None
        if loss_scale is not None:
            self.scaler = _grad_scaler(loss_scale, device_type)
            if loss_scale.policy == "static":
                self._static_scale = loss_scale.init

    def forward(self) -> AbstractContextManager[object]:
        """Context of the forward pass and the losses."""
        return nullcontext()

    def backward(self) -> AbstractContextManager[object]:
        """Context of the backward pass."""
        return nullcontext()

    def reveal_overflow(self, parameters: Sequence[torch.Tensor]) -> None:
        """Puts an inf into a gradient where the hardware hid an overflow of the backward pass from the scaler."""

    def counts(self) -> dict[str, float]:
        """Metrics of the last step that only this arithmetic knows."""
        return {}

    def update_scale(self) -> None:
        """After a step: lets the scale grow or shrink, or holds it where it is static."""
        assert self.scaler is not None
        self.scaler.update(self._static_scale)


def arithmetic(precision: Precision, device: str) -> Arithmetic:
    """The arithmetic of that precision on a torch device such as ``cpu`` or ``npu:3``."""
    kind = torch.device(device).type
    if not precision.is_mixed:
        return Arithmetic()
    if kind == "cpu":
        return HalfOnCpu(precision)
    return Autocast(precision, kind)


class HalfOnCpu(Arithmetic):
    """The CPU's model of the NPU: half arithmetic under the NPU's autocast list."""

    def __init__(self, precision: Precision) -> None:
        super().__init__(precision.loss_scale)
        self._half = HalfArithmetic(_DTYPES[precision.name], precision.overflow)
        self._clamped = {"precision/forward_clamped": 0.0, "precision/backward_clamped": 0.0}

    @contextmanager
    def forward(self) -> Iterator[None]:
        saturation = self._half.saturation
        with self._half, self._half.autocast():
            yield
        if saturation is not None:
            # The 910A's status register is cleared here: what overflowed in the forward pass is clamped in silence.
            self._clamped["precision/forward_clamped"] = _over_processes(saturation.clear())

    def backward(self) -> AbstractContextManager[object]:
        return self._half

    def reveal_overflow(self, parameters: Sequence[torch.Tensor]) -> None:
        saturation = self._half.saturation
        if saturation is None:
            return
        clamped = _over_processes(saturation.clear())
        self._clamped["precision/backward_clamped"] = clamped
        if clamped:
            gradient = parameters[0].grad
            assert gradient is not None
            gradient.view(-1)[0] = torch.inf  # the step is skipped, so the gradient itself is lost anyway

    def counts(self) -> dict[str, float]:
        return dict(self._clamped) if self._half.saturation is not None else {}


class Autocast(Arithmetic):
    """An accelerator's own 16-bit arithmetic under torch's autocast, or torch_npu's."""

    def __init__(self, precision: Precision, device_type: str) -> None:
        super().__init__(precision.loss_scale, device_type)
        self._precision = precision
        self._device_type = device_type

    @contextmanager
    def forward(self) -> Iterator[None]:
        with ExitStack() as stack:
            if self._device_type == "cuda" and self._precision.autocast == "npu":
                stack.enter_context(cuda_as_on_npu())
            stack.enter_context(torch.autocast(self._device_type, dtype=_DTYPES[self._precision.name]))
            yield


def _over_processes(count: int) -> int:
    """The sum over the processes of a run: all of them skip a step, or none."""
    if not dist.is_initialized():
        return count
    total = torch.tensor(count)
    dist.all_reduce(total)
    return int(total)


def _grad_scaler(loss_scale: LossScale, device_type: str) -> torch.amp.GradScaler:
    scaler: Callable[..., torch.amp.GradScaler] = partial(torch.amp.GradScaler, device_type)
    if device_type == "npu":
        # torch.amp.GradScaler does not know the NPU's overflow register, and torch_npu's takes no device.
        scaler = torch.npu.amp.GradScaler  # type: ignore[attr-defined]
    return scaler(init_scale=loss_scale.init, growth_interval=loss_scale.growth_interval)

"""How each device performs a `Precision`: contexts for the forward and backward pass, and the gradient scaler."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

import torch
import torch.distributed as dist

from workspace.devices import Device, of
from workspace.devices.interface import FP32Mode
from workspace.precision.half import HalfArithmetic
from workspace.precision.hf32 import HighFloat32
from workspace.precision.npu_autocast import cuda_as_on_npu
from workspace.precision.policy import LossScale, Precision

_DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


class Arithmetic:
    """FP32, and the base of the others.

    Attributes:
        scaler: gradient scaler; ``None`` unless FP16.
    """

    def __init__(self, on: Device, loss_scale: LossScale | None = None) -> None:
        self._device = on
        self.scaler: torch.amp.GradScaler | None = None
        self._static_scale: float | None = None
        if loss_scale is not None:
            self.scaler = on.grad_scaler(loss_scale)
            if loss_scale.policy == "static":
                self._static_scale = loss_scale.init

    def fp32_mode(self) -> FP32Mode:
        """What FP32 is computed in at this moment, for the audit."""
        return self._device.fp32_mode()

    def forward(self) -> AbstractContextManager[object]:
        """Context of the forward pass and the losses."""
        return nullcontext()

    def backward(self) -> AbstractContextManager[object]:
        """Context of the backward pass."""
        return nullcontext()

    def forward_overflowed(self, loss: torch.Tensor) -> bool:
        """Whether the forward pass that ended in this loss overflowed, as far as the hardware tells.

        Where it saturates, a flag tells of every operator; elsewhere an inf or nan shows where it reached the loss.
        """
        return not bool(torch.isfinite(loss))

    def reveal_overflow(self, parameters: Sequence[torch.Tensor]) -> None:
        """Puts an inf into a gradient where the hardware hid an overflow of the backward pass from the scaler."""

    def clamped(self) -> int:
        """Elements that were clamped since the last pass began, as far as the hardware counts them."""
        return 0

    def counts(self) -> dict[str, float]:
        """Metrics of the last step that only this arithmetic knows."""
        return {}

    def update_scale(self) -> None:
        """After a step: lets the scale grow or shrink, or holds it where it is static."""
        assert self.scaler is not None
        self.scaler.update(self._static_scale)


def arithmetic(precision: Precision, device_name: str) -> Arithmetic:
    """The arithmetic of that precision on a torch device such as ``cpu`` or ``npu:3``."""
    on = of(device_name)
    if precision.name == "fp32":
        return Arithmetic(on)
    if precision.name == "hf32":
        return HighFloat32OnCpu(on) if on.kind == "cpu" else HighFloat32OnNpu(on)
    if on.kind == "cpu":
        return HalfOnCpu(on, precision)
    return Autocast(on, precision)


class HighFloat32OnCpu(Arithmetic):
    """The CPU's model of HF32."""

    def __init__(self, on: Device) -> None:
        super().__init__(on)
        self._hf32 = HighFloat32()

    def fp32_mode(self) -> FP32Mode:
        return "hf32" if self._hf32.enabled else super().fp32_mode()

    def forward(self) -> AbstractContextManager[object]:
        return self._hf32

    def backward(self) -> AbstractContextManager[object]:
        return self._hf32


class HighFloat32OnNpu(Arithmetic):
    """HF32 for the passes of training; the evaluation between them is strict FP32, as every arm's."""

    def forward(self) -> AbstractContextManager[object]:
        return self._device.hf32()

    def backward(self) -> AbstractContextManager[object]:
        return self._device.hf32()


class HalfOnCpu(Arithmetic):
    """The CPU's model of the NPU: half arithmetic under the NPU's autocast list."""

    def __init__(self, on: Device, precision: Precision) -> None:
        super().__init__(on, precision.loss_scale)
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

    def forward_overflowed(self, loss: torch.Tensor) -> bool:
        if self._half.saturation is not None:
            return self._clamped["precision/forward_clamped"] > 0
        return super().forward_overflowed(loss)

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

    def clamped(self) -> int:
        return 0 if self._half.saturation is None else self._half.saturation.clamped

    def counts(self) -> dict[str, float]:
        return dict(self._clamped) if self._half.saturation is not None else {}


class Autocast(Arithmetic):
    """An accelerator's own 16-bit arithmetic under torch's autocast, or torch_npu's."""

    def __init__(self, on: Device, precision: Precision) -> None:
        super().__init__(on, precision.loss_scale)
        self._precision = precision
        self._flag: bool | None = None

    @contextmanager
    def forward(self) -> Iterator[None]:
        kind = self._device.kind
        if self.scaler is not None:
            self._device.clear_overflow_flag()  # an evaluation, or the update of the weights, may have raised it
        with ExitStack() as stack:
            if kind == "cuda" and self._precision.autocast == "npu":
                stack.enter_context(cuda_as_on_npu())
            stack.enter_context(torch.autocast(kind, dtype=_DTYPES[self._precision.name]))
            yield
        if self.scaler is not None:
            self._flag = self._device.overflow_flag()  # now: the scaler clears it before the backward pass
            if self._flag is not None:
                self._flag = _over_processes(int(self._flag), kind) > 0

    def forward_overflowed(self, loss: torch.Tensor) -> bool:
        return super().forward_overflowed(loss) if self._flag is None else self._flag


def _over_processes(count: int, device_type: str = "cpu") -> int:
    """The sum over the processes of a run: all of them skip a step, or none."""
    if not dist.is_initialized():
        return count
    total = torch.tensor(count, dtype=torch.int32, device=device_type)
    dist.all_reduce(total)
    return int(total)

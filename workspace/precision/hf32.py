"""HF32 on a CPU, as Ascend A2 and A3 convolve FP32 unless told otherwise.

HF32 has FP32's sign and exponent (8 bits) and 11 bits of mantissa, where FP32 has 23 and FP16 has 10 (CANN, ``atc
--allow_hf32``). The Cube rounds the operands of a convolution to it, in both passes, and multiplies and accumulates in
FP32. Two 12-bit significands have an exact product in FP32, so an FP32 convolution of rounded operands is the model, up
to the order of summation. CANN's convolutions round to the nearest, ties to even (``SetHF32TransMode(false)`` in its
kernels); matrix products stay FP32, as ``torch.npu.matmul.allow_hf32`` is off by default.
"""

from functools import cache
from types import TracebackType
from typing import Any

from workspace.precision.extension import load_extension


class HighFloat32:
    """FP32 convolutions on the CPU compute in HF32 while entered, in the forward and in the backward pass.

    The switch is the process's, not the thread's; what it was before is restored.
    """

    def __init__(self) -> None:
        """Compiles (the first time on a machine) and loads the extension.

        Raises:
            UserError: there is no compiler, or the compilation failed.
        """
        self._extension = _installed()
        self._before: list[bool] = []

    @property
    def enabled(self) -> bool:
        """Whether it is on at this moment."""
        return bool(self._extension.hf32_enabled())

    def __enter__(self) -> "HighFloat32":
        self._before.append(self._extension.enable_hf32(True))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._extension.enable_hf32(self._before.pop())


@cache
def _installed() -> Any:
    extension = load_extension()
    extension.install_cube()
    return extension

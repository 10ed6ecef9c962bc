"""FP16 and BF16 on a CPU as the Ascend NPU computes them, at about the speed of FP32.

The NPU's matrix unit, the Cube, multiplies halves, accumulates in FP32 and rounds the result once (Liao et al.,
"DaVinci: A Scalable Architecture for Neural Network Computing", Hot Chips 31, 2019). A product of two FP16 numbers is
exact in FP32: 11-bit significands give at most 22 bits, of FP32's 24, and exponents add to at least 2^-48. So a
convolution or matrix product whose FP16 operands are cast up, computed in FP32 and rounded once to FP16 is what the
Cube computes, up to the order of summation, which neither of them promises. ``half.cpp`` does this to convolution,
mm, addmm, bmm, baddbmm, mv, addmv, dot and convolution's backward, below autograd, so that both passes have it.
torch's own FP16 convolutions on a CPU take tens of times as long (``benchmarks/half_arithmetic.py``).

Elementwise operators, reductions, pooling and batch normalisation are torch's own half kernels, chosen by the NPU's
autocast list (:mod:`workspace.precision.npu_autocast`). ``docs/numerics.md`` says what is modelled and what is not.
"""

from contextlib import ExitStack
from functools import cache
from types import TracebackType
from typing import Any

import torch

from workspace.errors import UserError
from workspace.precision.extension import load_extension
from workspace.precision.npu_autocast import follow_npu_on_cpu
from workspace.precision.policy import Overflow
from workspace.precision.saturation import Saturation


class HalfArithmetic:
    """Half arithmetic on the CPU while entered; one object serves a whole run and may be entered again and again.

    Enter it around the forward and the backward pass, and `autocast` around the forward pass alone::

        half = HalfArithmetic(torch.float16)
        with half:
            with half.autocast():
                loss = model(batch)
            scaler.scale(loss).backward()

    Operators on other dtypes are untouched, bit for bit, and a process that creates no such object never loads the
    extension. The switch is the process's, not the thread's.

    Attributes:
        dtype: ``torch.float16`` or ``torch.bfloat16``.
        saturation: the overflow counter of ``overflow="saturate"``, else ``None``.
    """

    def __init__(self, dtype: torch.dtype = torch.float16, overflow: Overflow = "inf_nan") -> None:
        """Compiles (the first time on a machine) and loads the extension.

        Raises:
            UserError: ``dtype`` is no half type, ``overflow`` does not go with it, or there is no compiler.
        """
        if dtype not in (torch.float16, torch.bfloat16):
            raise UserError(f"half arithmetic: {dtype} is no half type; use torch.float16 or torch.bfloat16")
        if overflow not in ("inf_nan", "saturate"):
            raise UserError(f"half arithmetic: overflow mode {overflow!r}: use 'inf_nan' or 'saturate'")
        if overflow == "saturate" and dtype != torch.float16:
            raise UserError(f"half arithmetic: {dtype} cannot saturate, only torch.float16 can")
        self.dtype = dtype
        self._extension = _installed()
        self.saturation = Saturation() if overflow == "saturate" else None
        self._entered: list[ExitStack] = []

    def autocast(self, enabled: bool = True) -> torch.autocast:
        """torch's autocast for the CPU, which follows the NPU's list from now on; nest ``enabled=False`` as usual."""
        return torch.autocast("cpu", dtype=self.dtype, enabled=enabled)

    def __enter__(self) -> "HalfArithmetic":
        with ExitStack() as stack:
            stack.callback(self._extension.enable_cube, self._extension.enable_cube(True))
            if self.saturation is not None:
                stack.enter_context(self.saturation)
            self._entered.append(stack.pop_all())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entered.pop().__exit__(kind, error, trace)


@cache
def _installed() -> Any:
    """The extension, its Cube kernels registered (and off) and the NPU's autocast list in force."""
    extension = load_extension()
    extension.install_cube()
    follow_npu_on_cpu()
    return extension

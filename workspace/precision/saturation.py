"""Saturating FP16, as on the Ascend 910A: what does not fit is clamped, and only a status flag remembers it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from workspace.precision.extension import load_extension

# Their memory holds anything, and is written before it is read.
_UNINITIALISED = frozenset(
    {"empty", "empty_like", "empty_permuted", "empty_strided", "new_empty", "new_empty_strided", "resize_"}
)


class Saturation(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Inside, every CPU operator that produces FP16 turns inf into +-65504 and nan into 0, and counts the elements.

    It acts on the results of whole operators: convolutions, casts and elementwise ones, in the forward and in the
    backward pass (run both inside). Views and copies hold nothing new to clamp.

    The count models the 910A's overflow status register, which stays set until it is cleared. torch_npu's
    ``GradScaler.scale`` clears it between the forward and the backward pass, so that forward overflow clamps in
    silence and never reaches the scaler, and takes the register instead of the gradients, in which no inf is left,
    for what happened in the backward pass (``torch_npu/npu/amp/grad_scaler.py``, 2.13). So a training step reads::

        with saturation:
            loss = forward()
            in_forward = saturation.clear()
            scaler.scale(loss).backward()
        skip_this_step = saturation.overflowed
        in_backward = saturation.clear()

    Attributes:
        clamped: elements clamped since the last `clear`.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.clamped = 0
        self._saturate: Callable[[torch.Tensor], int] = load_extension().saturate_.default

    @property
    def overflowed(self) -> bool:
        """Whether anything was clamped since the last `clear`: the status flag."""
        return self.clamped > 0

    def clear(self) -> int:
        """Resets the flag and returns how many elements had been clamped."""
        clamped, self.clamped = self.clamped, 0
        return clamped

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # True would wrap every operator's dispatch for torch.compile, which is not used, and import it: seconds.
        return False

    def __torch_dispatch__(
        self, func: OpOverload, types: Iterable[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        fresh, written = _outputs(func)
        results = result if isinstance(result, (tuple, list)) else (result,)
        for index in fresh:
            self._clamp(results[index])
        for index, name in written:
            self._clamp(args[index] if index < len(args) else kwargs.get(name))
        return result

    def _clamp(self, output: Any) -> None:
        if isinstance(output, torch.Tensor):
            if output.dtype is torch.float16:
                self.clamped += self._saturate(output)
        elif isinstance(output, (tuple, list)):
            for element in output:
                self._clamp(element)


@cache
def _outputs(func: OpOverload) -> tuple[tuple[int, ...], tuple[tuple[int, str], ...]]:
    """Where an operator's results are: the positions among its returns that are new, and the arguments it writes to."""
    schema = func._schema
    if schema.name.removeprefix("aten::") in _UNINITIALISED:
        return (), ()
    fresh = tuple(index for index, value in enumerate(schema.returns) if value.alias_info is None)
    written = tuple(
        (index, argument.name)
        for index, argument in enumerate(schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    )
    return fresh, written

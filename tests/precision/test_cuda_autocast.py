"""CUDA's autocast "as on the NPU" against the CPU's, operator by operator.

torch's fake tensors go through CUDA's autocast rules and compute shapes and types only, so it takes no GPU.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from autocast_calls import ARGUMENTS, call, operator, positive
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_map

from workspace.precision.half import HalfArithmetic
from workspace.precision.npu_autocast import cuda_as_on_npu

F16, F32 = torch.float16, torch.float32

# Their kernels for CUDA are asked before any autocast rule could be seen: torch is not always built with CUDA.
UNFAKEABLE = {"gru_cell", "grid_sampler"}


def in_turn(dtypes: Sequence[torch.dtype]) -> Callable[..., torch.Tensor]:
    """Makes arguments of these types in turn."""
    types = cycle(dtypes)

    def make(*shape: int) -> torch.Tensor:
        return positive(next(types))(*shape)

    return make


@contextmanager
def cuda_autocast() -> Iterator[None]:
    """``torch.autocast("cuda")`` without its check that there is a GPU."""
    torch.set_autocast_enabled("cuda", True)
    torch.set_autocast_dtype("cuda", F16)
    try:
        yield
    finally:
        torch.set_autocast_enabled("cuda", False)
        torch.clear_autocast_cache()


def dtype_on_cuda(function: Callable[..., Any], *arguments: Any) -> torch.dtype:
    """Of the first result on fake CUDA tensors like the arguments."""

    def fake(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="cuda")

    with FakeTensorMode(allow_non_fake_inputs=True), cuda_autocast():
        result = function(*tree_map(fake, arguments))
    first: torch.Tensor = result[0] if isinstance(result, (tuple, list)) else result
    assert first.device.type == "cuda"
    return first.dtype


@pytest.mark.parametrize("dtypes", [(F16,), (F32,), (F16, F32), (F32, F16)], ids=["half", "fp32", "mixed", "mixed too"])
@pytest.mark.parametrize("overload", sorted(ARGUMENTS.keys() - UNFAKEABLE))
def test_every_listed_operator_returns_the_same_type(overload: str, dtypes: Sequence[torch.dtype]) -> None:
    with cuda_as_on_npu():
        on_cuda = dtype_on_cuda(operator(overload), *ARGUMENTS[overload](in_turn(dtypes)))
    half = HalfArithmetic()
    with half, half.autocast():
        assert call(overload, in_turn(dtypes)).dtype == on_cuda


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic", "nearest-exact"])
def test_what_cuda_alone_lists_is_half_as_on_the_npu(mode: str) -> None:
    def interpolated(x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x, scale_factor=2, mode=mode)

    picture = torch.rand(1, 2, 4, 4).half()
    assert dtype_on_cuda(interpolated, picture) == F32
    with cuda_as_on_npu():
        assert dtype_on_cuda(interpolated, picture) == F16
    assert dtype_on_cuda(interpolated, picture) == F32


def test_what_neither_lists_is_the_same() -> None:
    unlisted = (
        torch.sigmoid,
        torch.mean,
        torch.sqrt,
        F.relu,
        lambda x: torch.cat([x, x]),
        lambda x: torch.stack([x, x]),
    )
    half = HalfArithmetic()
    for function in unlisted:
        with half, half.autocast():
            on_cpu = function(torch.rand(2, 3).half()).dtype
        with cuda_as_on_npu():
            assert dtype_on_cuda(function, torch.rand(2, 3).half()) == on_cpu == F16

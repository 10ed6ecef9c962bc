"""The NPU's autocast list on the CPU: what every listed operator returns, and what is left alone."""

from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from autocast_calls import ARGUMENTS, call, operator, positive

from workspace.precision.half import HalfArithmetic
from workspace.precision.npu_autocast import CUDA_ONLY, POLICIES, cuda_as_on_npu, listed_on

# No kernel of theirs exists on a CPU.
UNRUNNABLE = {
    "_scaled_dot_product_flash_attention",
    "_thnn_fused_gru_cell",
    "_thnn_fused_lstm_cell",
    "cudnn_convolution",
    "cudnn_convolution_transpose",
}


@pytest.fixture(autouse=True)
def autocast() -> Iterator[None]:
    half = HalfArithmetic()
    with half, half.autocast():
        yield


def table_row(overload: str, key: str) -> str:
    rows = torch._C._dispatch_dump_table(f"aten::{overload}").splitlines()
    return next(row for row in rows if row.startswith(f"{key}: "))


def test_every_listed_operator_is_tried_below() -> None:
    listed = {overload for overloads in POLICIES.values() for overload in overloads}
    assert len(listed) == 104 == sum(len(overloads) for overloads in POLICIES.values())
    assert listed == ARGUMENTS.keys() | UNRUNNABLE | {"binary_cross_entropy"}


@pytest.mark.parametrize("overload", [name for name in POLICIES["lower_precision_fp"] if name not in UNRUNNABLE])
def test_lower_precision_operators_return_half(overload: str) -> None:
    assert call(overload, positive(torch.float32)).dtype == torch.float16
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert call(overload, positive(torch.float32)).dtype == torch.bfloat16


@pytest.mark.parametrize(
    "overload", [name for policy in ("fp32", "fp32_set_opt_dtype", "fp32_append_dtype") for name in POLICIES[policy]]
)
def test_fp32_operators_return_fp32(overload: str) -> None:
    result = call(overload, positive(torch.float16))
    assert result.dtype == torch.float32
    # Computed in FP32, not rounded to half and widened afterwards.
    torch.manual_seed(0)
    half_arguments = ARGUMENTS[overload](positive(torch.float16))
    torch.manual_seed(0)
    result = call(overload, positive(torch.float16))
    wide = [a.float() if isinstance(a, torch.Tensor) and a.dtype == torch.float16 else a for a in half_arguments]
    with torch.autocast("cpu", enabled=False):
        expected = operator(overload)(*wide)
    torch.testing.assert_close(result, expected[0] if isinstance(expected, tuple) else expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("overload", POLICIES["promote"])
def test_promoting_operators_return_the_widest_type(overload: str) -> None:
    dtypes = iter((torch.float16, torch.float32, torch.float16))

    def mixed(*shape: int) -> torch.Tensor:
        return positive(next(dtypes))(*shape)

    assert call(overload, mixed).dtype == torch.float32
    if overload != "grid_sampler":  # torch has no half kernel of it for the CPU
        assert call(overload, positive(torch.float16)).dtype == torch.float16


@pytest.mark.parametrize("overload", sorted(UNRUNNABLE))
def test_operators_without_a_cpu_kernel_are_registered(overload: str) -> None:
    assert "half.cpp" in table_row(overload, "AutocastCPU")
    assert "fallthrough" not in table_row(overload, "AutocastCPU")


def test_an_explicit_dtype_is_respected() -> None:
    half = torch.rand(2, 3).half()
    assert half.softmax(1, dtype=torch.float16).dtype == torch.float16
    assert half.sum(dtype=torch.float64).dtype == torch.float64


def test_integers_and_doubles_are_left_alone() -> None:
    assert torch.arange(3).sum().dtype == torch.int64
    assert torch.rand(3, dtype=torch.float64).exp().dtype == torch.float64
    assert torch.mm(torch.rand(2, 2, dtype=torch.float64), torch.rand(2, 2, dtype=torch.float64)).dtype == torch.float64


@pytest.mark.parametrize(
    "function",
    [
        torch.sigmoid,
        torch.sqrt,
        torch.mean,
        torch.relu,
        F.hardswish,
        lambda x: F.batch_norm(x, torch.zeros(4), torch.ones(4), torch.ones(4), torch.zeros(4), training=True),
        lambda x: F.max_pool2d(x, 2),
        lambda x: F.avg_pool2d(x, 2),
        lambda x: F.interpolate(x, scale_factor=2, mode="nearest"),
        lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
        lambda x: torch.cat([x, x]),
        lambda x: torch.stack([x, x]),
        lambda x: x + F.interpolate(x, size=x.shape[2:], mode="nearest"),
        lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"),
    ],
)
def test_what_is_not_listed_stays_half(function: Callable[[torch.Tensor], torch.Tensor]) -> None:
    assert function(torch.rand(2, 4, 6, 6).half()).dtype == torch.float16


@pytest.mark.parametrize("join", [torch.cat, torch.stack])
def test_joining_half_and_fp32_gives_fp32(join: Callable[[list[torch.Tensor]], torch.Tensor]) -> None:
    half = torch.rand(2, 2).half()
    assert join([half, half.float()]).dtype == torch.float32


def test_torchs_own_cpu_rules_no_longer_apply() -> None:
    listed = {overload for overloads in POLICIES.values() for overload in overloads}
    others = listed_on("AutocastCPU") - listed
    assert {"cat", "stack", "avg_pool3d", "replication_pad2d"} <= others
    for overload in others:
        assert "fallthrough" in table_row(overload, "AutocastCPU"), overload


def test_binary_cross_entropy_is_refused() -> None:
    with pytest.raises(RuntimeError, match="binary_cross_entropy_with_logits"):
        F.binary_cross_entropy(torch.rand(3).half(), torch.rand(3).half())


def test_autocast_off_inside_computes_in_fp32() -> None:
    layer = torch.nn.Linear(3, 2)
    with torch.autocast("cpu", enabled=False):
        assert layer(torch.rand(1, 3)).dtype == torch.float32
        assert torch.rand(3).half().exp().dtype == torch.float16
    assert layer(torch.rand(1, 3)).dtype == torch.float16


def test_cuda_follows_the_npu_inside_the_context_only() -> None:
    def left_alone() -> list[str]:
        return [overload for overload in CUDA_ONLY if "fallthrough" in table_row(overload, "AutocastCUDA")]

    listed = {overload for overloads in POLICIES.values() for overload in overloads}
    assert listed_on("AutocastCUDA") - listed == set(CUDA_ONLY)
    for _ in range(2):
        assert left_alone() == []
        with cuda_as_on_npu():
            assert left_alone() == list(CUDA_ONLY)
    assert left_alone() == []

"""The NPU's autocast list on the CPU: what every listed operator returns, and what is left alone."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from workspace.precision.half import HalfArithmetic
from workspace.precision.npu_autocast import CUDA_ONLY, POLICIES, cuda_as_on_npu, listed_on

Maker = Callable[..., torch.Tensor]
Arguments = Callable[[Maker], tuple[Any, ...]]

LABELS = torch.tensor([0, 1])
SIGNS = torch.tensor([1.0, -1.0])

ARGUMENTS: dict[str, Arguments] = {
    # lower_precision_fp
    "_convolution": lambda t: (
        t(1, 2, 4, 4), t(3, 2, 3, 3), None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1, False, False, True, True,
    ),
    "_convolution.deprecated": lambda t: (
        t(1, 2, 4, 4), t(3, 2, 3, 3), None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1, False, False, True,
    ),
    "addbmm": lambda t: (t(2, 4), t(5, 2, 3), t(5, 3, 4)),
    "addmm": lambda t: (t(2, 4), t(2, 3), t(3, 4)),
    "addmv": lambda t: (t(2), t(2, 3), t(3)),
    "addr": lambda t: (t(2, 3), t(2), t(3)),
    "baddbmm": lambda t: (t(5, 2, 4), t(5, 2, 3), t(5, 3, 4)),
    "bmm": lambda t: (t(5, 2, 3), t(5, 3, 4)),
    "chain_matmul": lambda t: ([t(2, 3), t(3, 4), t(4, 5)],),
    "conv1d": lambda t: (t(1, 2, 4), t(3, 2, 3), t(3)),
    "conv2d": lambda t: (t(1, 2, 4, 4), t(3, 2, 3, 3), t(3)),
    "conv3d": lambda t: (t(1, 2, 4, 4, 4), t(3, 2, 3, 3, 3), t(3)),
    "conv_tbc": lambda t: (t(4, 1, 2), t(3, 2, 3), t(3)),
    "conv_transpose1d": lambda t: (t(1, 2, 4), t(2, 3, 3), t(3)),
    "conv_transpose2d.input": lambda t: (t(1, 2, 4, 4), t(2, 3, 3, 3), t(3)),
    "conv_transpose3d.input": lambda t: (t(1, 2, 4, 4, 4), t(2, 3, 3, 3, 3), t(3)),
    "convolution": lambda t: (t(1, 2, 4, 4), t(3, 2, 3, 3), None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1),
    "einsum": lambda t: ("ij,jk->ik", [t(2, 3), t(3, 4)]),
    "gru_cell": lambda t: (t(1, 2), t(1, 3), t(9, 2), t(9, 3), t(9), t(9)),
    "linalg_multi_dot": lambda t: ([t(2, 3), t(3, 4), t(4, 5)],),
    "linear": lambda t: (t(2, 3), t(4, 3), t(4)),
    "lstm_cell": lambda t: (t(1, 2), [t(1, 3), t(1, 3)], t(12, 2), t(12, 3), t(12), t(12)),
    "matmul": lambda t: (t(2, 3), t(3, 4)),
    "mm": lambda t: (t(2, 3), t(3, 4)),
    "mv": lambda t: (t(2, 3), t(3)),
    "prelu": lambda t: (t(2, 3), t(3)),
    "rnn_relu_cell": lambda t: (t(1, 2), t(1, 3), t(3, 2), t(3, 3), t(3), t(3)),
    "rnn_tanh_cell": lambda t: (t(1, 2), t(1, 3), t(3, 2), t(3, 3), t(3), t(3)),
    "scaled_dot_product_attention": lambda t: (t(1, 2, 4, 8), t(1, 2, 4, 8), t(1, 2, 4, 8)),
    # fp32
    "acos": lambda t: (t(3),),
    "asin": lambda t: (t(3),),
    "binary_cross_entropy_with_logits": lambda t: (t(3), t(3)),
    "cdist": lambda t: (t(2, 3), t(4, 3)),
    "cosh": lambda t: (t(3),),
    "cosine_embedding_loss": lambda t: (t(2, 3), t(2, 3), SIGNS),
    "cosine_similarity": lambda t: (t(2, 3), t(2, 3)),
    "dist": lambda t: (t(3), t(3)),
    "erfinv": lambda t: (t(3),),
    "exp": lambda t: (t(3),),
    "expm1": lambda t: (t(3),),
    "frobenius_norm.dim": lambda t: (t(2, 3), [1]),
    "group_norm": lambda t: (t(2, 4, 3, 3), 2, t(4), t(4)),
    "hinge_embedding_loss": lambda t: (t(2), SIGNS),
    "huber_loss": lambda t: (t(3), t(3)),
    "kl_div": lambda t: (t(3), t(3)),
    "l1_loss": lambda t: (t(3), t(3)),
    "layer_norm": lambda t: (t(2, 3), [3], t(3), t(3)),
    "log": lambda t: (t(3),),
    "log10": lambda t: (t(3),),
    "log1p": lambda t: (t(3),),
    "log2": lambda t: (t(3),),
    "logsumexp": lambda t: (t(2, 3), [1]),
    "margin_ranking_loss": lambda t: (t(2), t(2), SIGNS),
    "mse_loss": lambda t: (t(3), t(3)),
    "multi_margin_loss": lambda t: (t(2, 3), LABELS),
    "multilabel_margin_loss": lambda t: (t(2, 2), torch.tensor([[0, -1], [1, -1]])),
    "native_layer_norm": lambda t: (t(2, 3), [3], t(3), t(3), 1e-5),
    "nll_loss": lambda t: (t(2, 3), LABELS),
    "nll_loss2d": lambda t: (t(1, 3, 1, 2), LABELS.view(1, 1, 2)),
    "nuclear_norm": lambda t: (t(2, 3),),
    "nuclear_norm.dim": lambda t: (t(2, 3), [0, 1]),
    "pdist": lambda t: (t(4, 3),),
    "poisson_nll_loss": lambda t: (t(3), t(3), True, False, 1e-8, 1),
    "pow.Scalar": lambda t: (2.0, t(3)),
    "pow.Tensor_Scalar": lambda t: (t(3), 2.0),
    "pow.Tensor_Tensor": lambda t: (t(3), t(3)),
    "reciprocal": lambda t: (t(3),),
    "renorm": lambda t: (t(2, 3), 2.0, 0, 1.0),
    "rsqrt": lambda t: (t(3),),
    "sinh": lambda t: (t(3),),
    "smooth_l1_loss": lambda t: (t(3), t(3)),
    "soft_margin_loss": lambda t: (t(2), SIGNS),
    "softplus": lambda t: (t(3),),
    "tan": lambda t: (t(3),),
    "triplet_margin_loss": lambda t: (t(2, 3), t(2, 3), t(2, 3)),
    # fp32_set_opt_dtype
    "cumprod": lambda t: (t(3), 0),
    "cumsum": lambda t: (t(3), 0),
    "linalg_matrix_norm": lambda t: (t(2, 3), 1),
    "linalg_matrix_norm.str_ord": lambda t: (t(2, 3), "fro"),
    "linalg_vector_norm": lambda t: (t(3),),
    "log_softmax.int": lambda t: (t(2, 3), 1),
    "prod": lambda t: (t(3),),
    "prod.dim_int": lambda t: (t(2, 3), 1),
    "softmax.int": lambda t: (t(2, 3), 1),
    "sum": lambda t: (t(3),),
    "sum.dim_IntList": lambda t: (t(2, 3), [1]),
    # fp32_append_dtype
    "norm.Scalar": lambda t: (t(3), 2.0),
    "norm.ScalarOpt_dim": lambda t: (t(2, 3), 2.0, [1]),
    # promote
    "addcdiv": lambda t: (t(3), t(3), t(3)),
    "addcmul": lambda t: (t(3), t(3), t(3)),
    "atan2": lambda t: (t(3), t(3)),
    "bilinear": lambda t: (t(2, 3), t(2, 4), t(5, 3, 4)),
    "cross": lambda t: (t(2, 3), t(2, 3)),
    "dot": lambda t: (t(3), t(3)),
    "grid_sampler": lambda t: (t(1, 1, 3, 3), t(1, 2, 2, 2), 0, 0, False),
    "index_put": lambda t: (t(3), [LABELS], t(2)),
    "scatter_add": lambda t: (t(3), 0, LABELS, t(2)),
    "tensordot": lambda t: (t(2, 3), t(3, 2), [1], [0]),
}  # fmt: skip

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


def positive(dtype: torch.dtype) -> Maker:
    """Values in (0.1, 0.9), where every listed function is defined."""
    return lambda *shape: (torch.rand(*shape) * 0.8 + 0.1).to(dtype)


def call(overload: str, make: Maker) -> torch.Tensor:
    packet, _, name = overload.partition(".")
    operator = getattr(getattr(torch.ops.aten, packet), name or "default")
    result = operator(*ARGUMENTS[overload](make))
    return result[0] if isinstance(result, tuple) else result


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
    packet, _, name = overload.partition(".")
    wide = [a.float() if isinstance(a, torch.Tensor) and a.dtype == torch.float16 else a for a in half_arguments]
    with torch.autocast("cpu", enabled=False):
        expected = getattr(getattr(torch.ops.aten, packet), name or "default")(*wide)
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

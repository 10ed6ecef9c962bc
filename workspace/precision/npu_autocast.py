"""The NPU's autocast list, for the CPU and, on request, for CUDA.

An autocast list says which operators run in half, which in FP32 and which in the widest type of their arguments.
torch's CPU list knows no FP32 rule for exp, log, pow, sum, softmax, group_norm or layer_norm, so a CPU run under it
says little about an NPU. `follow_npu_on_cpu` makes ``torch.autocast("cpu")`` follow the NPU's list instead.

Source: ``torch_npu/csrc/aten/AutoCastOps.cpp`` (github.com/Ascend/pytorch); the 104 names are those of the
``AutocastPrivateUse1`` dispatch table of the torch_npu 2.13.0 wheel. Everything else (batch_norm, sigmoid, mean,
sqrt, interpolate, cat, stack, …) runs in the type in which it finds its arguments.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from types import MappingProxyType

import torch

from workspace.errors import UserError
from workspace.precision.extension import load_extension

POLICIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "lower_precision_fp": (
            "_convolution",
            "_convolution.deprecated",
            "_scaled_dot_product_flash_attention",
            "_thnn_fused_gru_cell",
            "_thnn_fused_lstm_cell",
            "addbmm",
            "addmm",
            "addmv",
            "addr",
            "baddbmm",
            "bmm",
            "chain_matmul",
            "conv1d",
            "conv2d",
            "conv3d",
            "conv_tbc",
            "conv_transpose1d",
            "conv_transpose2d.input",
            "conv_transpose3d.input",
            "convolution",
            "cudnn_convolution",
            "cudnn_convolution_transpose",
            "einsum",
            "gru_cell",
            "linalg_multi_dot",
            "linear",
            "lstm_cell",
            "matmul",
            "mm",
            "mv",
            "prelu",
            "rnn_relu_cell",
            "rnn_tanh_cell",
            "scaled_dot_product_attention",
        ),
        "fp32": (
            "acos",
            "asin",
            "binary_cross_entropy_with_logits",
            "cdist",
            "cosh",
            "cosine_embedding_loss",
            "cosine_similarity",
            "dist",
            "erfinv",
            "exp",
            "expm1",
            "frobenius_norm.dim",
            "group_norm",
            "hinge_embedding_loss",
            "huber_loss",
            "kl_div",
            "l1_loss",
            "layer_norm",
            "log",
            "log10",
            "log1p",
            "log2",
            "logsumexp",
            "margin_ranking_loss",
            "mse_loss",
            "multi_margin_loss",
            "multilabel_margin_loss",
            "native_layer_norm",
            "nll_loss",
            "nll_loss2d",
            "nuclear_norm",
            "nuclear_norm.dim",
            "pdist",
            "poisson_nll_loss",
            "pow.Scalar",
            "pow.Tensor_Scalar",
            "pow.Tensor_Tensor",
            "reciprocal",
            "renorm",
            "rsqrt",
            "sinh",
            "smooth_l1_loss",
            "soft_margin_loss",
            "softplus",
            "tan",
            "triplet_margin_loss",
        ),
        # As fp32, by an argument `dtype` of the operator, unless the caller gave one.
        "fp32_set_opt_dtype": (
            "cumprod",
            "cumsum",
            "linalg_matrix_norm",
            "linalg_matrix_norm.str_ord",
            "linalg_vector_norm",
            "log_softmax.int",
            "prod",
            "prod.dim_int",
            "softmax.int",
            "sum",
            "sum.dim_IntList",
        ),
        # As fp32, by calling the overload that has a `dtype`.
        "fp32_append_dtype": ("norm.Scalar", "norm.ScalarOpt_dim"),
        # In the widest type among the arguments.
        "promote": (
            "addcdiv",
            "addcmul",
            "atan2",
            "bilinear",
            "cross",
            "dot",
            "grid_sampler",
            "index_put",
            "scatter_add",
            "tensordot",
        ),
        "banned": ("binary_cross_entropy",),
    }
)

CUDA_ONLY = (
    "_upsample_bicubic2d_aa",
    "_upsample_bilinear2d_aa",
    "_upsample_nearest_exact1d",
    "_upsample_nearest_exact2d",
    "_upsample_nearest_exact3d",
    "linalg_vecdot",
    "rms_norm",
    "upsample_bicubic2d",
    "upsample_bilinear2d",
    "upsample_linear1d",
    "upsample_nearest1d",
    "upsample_nearest2d",
    "upsample_nearest3d",
    "upsample_trilinear3d",
    "vdot",
)
"""The overloads that CUDA's autocast list has and the NPU's lacks (torch 2.13): FPN's ``lateral + interpolate(...)``
is FP32 under CUDA's and half under the NPU's."""


def listed_on(dispatch_key: str) -> frozenset[str]:
    """The ``aten`` overloads with a kernel of their own, fallthrough or not, at that dispatch key."""
    names = (name for name in torch._C._dispatch_get_all_op_names() if name.startswith("aten::"))
    return frozenset(
        name.removeprefix("aten::")
        for name in names
        if torch._C._dispatch_has_kernel_for_dispatch_key(name, dispatch_key)
    )


@cache
def follow_npu_on_cpu() -> None:
    """Makes ``torch.autocast("cpu")`` follow the NPU's list in this process, for good.

    Raises:
        UserError: the extension cannot be built, or this version of torch lacks an overload of the list.
    """
    extension = load_extension()
    listed = {overload for overloads in POLICIES.values() for overload in overloads}
    known = {name.removeprefix("aten::") for name in torch._C._dispatch_get_all_op_names()}
    if missing := sorted(listed - known):
        raise UserError(
            f"torch {torch.__version__} lacks operators of the NPU's autocast list (torch_npu 2.13): "
            f"{', '.join(missing)}; install torch 2.13"
        )
    left_alone = sorted(listed_on("AutocastCPU") - listed)
    for policy, overloads in (*POLICIES.items(), ("fallthrough", left_alone)):
        extension.set_autocast_policy(policy, [f"aten::{overload}" for overload in overloads])


@contextmanager
def cuda_as_on_npu() -> Iterator[None]:
    """Inside, CUDA's autocast leaves alone what the NPU's leaves alone (`CUDA_ONLY`); its list is whole again after.

    Process-wide, for every thread; not reentrant.
    """
    with torch.library._scoped_library("aten", "IMPL", "AutocastCUDA") as library:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r"(?s).*Overriding a previously registered kernel")
            for overload in CUDA_ONLY:
                library.impl(overload, torch.library.fallthrough_kernel)
        yield

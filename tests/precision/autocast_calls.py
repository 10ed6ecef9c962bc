"""A call of every operator on the NPU's autocast list, with small arguments in a type of choice."""

from collections.abc import Callable
from typing import Any

import torch

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


def operator(overload: str) -> Callable[..., Any]:
    """``torch.ops.aten``'s operator of a name such as ``sum.dim_IntList``."""
    packet, _, name = overload.partition(".")
    function: Callable[..., Any] = getattr(getattr(torch.ops.aten, packet), name or "default")
    return function


def positive(dtype: torch.dtype) -> Maker:
    """Values in (0.1, 0.9), where every listed function is defined."""
    return lambda *shape: (torch.rand(*shape) * 0.8 + 0.1).to(dtype)


def call(overload: str, make: Maker) -> torch.Tensor:
    """The operator's result, the first one where it has several."""
    result = operator(overload)(*ARGUMENTS[overload](make))
    return result[0] if isinstance(result, tuple) else result

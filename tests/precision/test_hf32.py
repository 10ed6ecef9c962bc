"""HF32 on a CPU: operands of convolutions in 12 significant bits, everything else untouched."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from workspace.precision.half import HalfArithmetic
from workspace.precision.hf32 import HighFloat32

DIGITS = 12  # 11 bits of mantissa and the one that is not stored


def rounded(value: float) -> float:
    """To 12 significant bits, nearest, ties to even, as Python's own ``round`` does."""
    if value == 0 or not math.isfinite(value):
        return value
    mantissa, exponent = math.frexp(value)
    return math.ldexp(round(math.ldexp(mantissa, DIGITS)), exponent - DIGITS)


def through_a_convolution(values: Tensor) -> Tensor:
    """Each value times one."""
    return F.conv1d(values.view(1, 1, -1), torch.ones(1, 1, 1)).view(-1)


def test_operands_are_rounded_to_nearest_even() -> None:
    exact = torch.tensor([1 + k * 2.0**-12 for k in range(64)] + [-(1 + k * 2.0**-13) for k in range(64)])
    scaled = torch.cat([exact * 2.0**e for e in (-100, -3, 0, 90)])
    with HighFloat32():
        result = through_a_convolution(scaled)
    assert result.tolist() == [rounded(value) for value in scaled.tolist()]


def test_random_operands_are_rounded_too() -> None:
    values = torch.randn(4096, generator=torch.Generator().manual_seed(0))
    with HighFloat32():
        result = through_a_convolution(values)
    assert result.tolist() == [rounded(value) for value in values.tolist()]
    assert not torch.equal(result, values)


def test_infinities_and_nans_stay() -> None:
    with HighFloat32():
        result = through_a_convolution(torch.tensor([math.inf, -math.inf, math.nan, 0.0]))
    assert result[:2].tolist() == [math.inf, -math.inf]
    assert result[2].isnan()
    assert result[3] == 0


def test_both_passes_round_all_operands() -> None:
    generator = torch.Generator().manual_seed(1)
    x, w, b = (torch.randn(s, generator=generator, requires_grad=True) for s in ((2, 3, 9, 9), (4, 3, 3, 3), (4,)))
    g = torch.randn((2, 4, 9, 9), generator=generator)
    with HighFloat32():
        y = F.conv2d(x, w, b, padding=1)
        y.backward(g)

    def narrow(tensor: Tensor) -> Tensor:
        return tensor.detach().clone().apply_(rounded)

    nx, nw, nb = narrow(x).requires_grad_(), narrow(w).requires_grad_(), b.detach().clone().requires_grad_()
    expected = F.conv2d(nx, nw, nb, padding=1)
    expected.backward(narrow(g))
    assert torch.equal(y, expected)
    for gradient, wanted in ((x.grad, nx.grad), (w.grad, nw.grad)):
        assert torch.equal(gradient, wanted)  # type: ignore[arg-type]
    torch.testing.assert_close(b.grad, g.sum((0, 2, 3)))  # a sum is not the Cube's work, and is not rounded


def test_matrix_products_stay_fp32() -> None:
    a = torch.eye(4) * (1 + 2.0**-20)
    with HighFloat32():
        assert torch.equal(a @ torch.eye(4), a)
        assert torch.equal(F.linear(a, torch.eye(4)), a)


def test_the_switch_is_put_back_also_from_inside() -> None:
    values = torch.full((8,), 1 + 2.0**-20)
    hf32 = HighFloat32()
    assert not hf32.enabled
    with hf32:
        with hf32:
            assert hf32.enabled
        assert hf32.enabled
    assert not hf32.enabled
    assert torch.equal(through_a_convolution(values), values)
    with pytest.raises(RuntimeError), hf32:
        raise RuntimeError
    assert not hf32.enabled


def test_half_arithmetic_is_not_touched() -> None:
    generator = torch.Generator().manual_seed(2)
    x, w = (torch.randn(s, generator=generator).half() for s in ((1, 3, 8, 8), (4, 3, 3, 3)))
    with HalfArithmetic():
        plain = F.conv2d(x, w)
        with HighFloat32():
            assert torch.equal(F.conv2d(x, w), plain)

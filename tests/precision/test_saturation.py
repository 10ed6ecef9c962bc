"""Saturating FP16 as on the Ascend 910A."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from workspace.precision.half import HalfArithmetic
from workspace.precision.saturation import Saturation

LARGEST = 65504.0


@pytest.fixture
def saturation() -> Saturation:
    return Saturation()


def halves(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float16)


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (lambda: halves(60000, -60000, 1) * 2, halves(LARGEST, -LARGEST, 2)),
        (lambda: halves(0, 1) / halves(0, 0), halves(0, LARGEST)),
        (lambda: torch.tensor([1e6, -1e6, torch.nan, 3]).half(), halves(LARGEST, -LARGEST, 0, 3)),
        (lambda: halves(300, 2).square_(), halves(LARGEST, 4)),
        (lambda: torch.add(halves(6e4), halves(6e4), out=torch.zeros(1).half()), halves(LARGEST)),
        (lambda: torch.zeros(2).half().copy_(torch.tensor([1e9, 1])), halves(LARGEST, 1)),
        (lambda: torch.mm(torch.full((1, 4), 200.0).half(), torch.full((4, 1), -200.0).half())[0], halves(-LARGEST)),
        (lambda: torch._foreach_mul([halves(6e4), halves(1)], 2)[0], halves(LARGEST)),
        (lambda: torch.stack([halves(6e4), halves(1)]).sum(0), halves(60000)),
    ],
)  # fmt: skip
def test_fp16_results_are_clamped_and_counted(
    operation: Callable[[], Tensor], expected: Tensor, saturation: Saturation
) -> None:
    unclamped = operation()
    special = int((~torch.isfinite(unclamped)).sum())
    with saturation:
        result = operation()
    assert torch.equal(result, expected)
    assert saturation.clamped == special
    assert saturation.overflowed == (special > 0)


def test_lists_changed_in_place_are_clamped(saturation: Saturation) -> None:
    tensors = [halves(6e4, 1), halves(-6e4)]
    with saturation:
        torch._foreach_mul_(tensors, 2)
    assert torch.equal(tensors[0], halves(LARGEST, 2))
    assert torch.equal(tensors[1], halves(-LARGEST))
    assert saturation.clamped == 2


def test_other_types_are_left_alone(saturation: Saturation) -> None:
    with saturation:
        assert torch.tensor([1e38]).mul(1e38).isinf().all()
        assert torch.tensor([1e38]).bfloat16().mul(1e38).isinf().all()
        assert torch.tensor([0.0]).log().isinf().all()
    assert not saturation.overflowed


def test_memory_that_nobody_wrote_and_views_do_not_count(saturation: Saturation) -> None:
    infinite = halves(torch.inf, torch.nan, 1, 1)
    with saturation:
        infinite.view(2, 2).t().detach()
        torch.empty_like(infinite)
        infinite.new_empty(64)
        torch.empty(64, dtype=torch.float16)
    assert not saturation.overflowed
    assert infinite.isinf().any()


@pytest.mark.parametrize("size", [1, 7, 4096, 4097, 200_001])
def test_every_bit_pattern_and_size(size: int, saturation: Saturation) -> None:
    patterns = torch.arange(size).to(torch.int16).view(torch.float16)  # wraps around: all 65536 where there is room
    finite = torch.nan_to_num(patterns.float(), nan=0.0, posinf=LARGEST, neginf=-LARGEST).half()
    with saturation:
        result = patterns.clone()
    assert torch.equal(result.view(torch.int16), finite.view(torch.int16))
    assert saturation.clamped == int((~torch.isfinite(patterns)).sum())


def test_strided_results(saturation: Saturation) -> None:
    out = torch.zeros(4, 6).half()
    with saturation:
        torch.mul(torch.full((4, 3), 6e4).half(), 2, out=out[:, ::2])
    assert (out[:, ::2] == LARGEST).all()
    assert (out[:, 1::2] == 0).all()
    assert saturation.clamped == 12


def test_forward_overflow_is_silent_and_backward_overflow_raises_the_flag() -> None:
    half = HalfArithmetic(torch.float16, "saturate")
    assert half.saturation is not None
    weight = torch.full((1, 2, 1, 1), 300.0, requires_grad=True)

    def step(scale: float, pixels: float) -> tuple[int, int]:
        assert half.saturation is not None
        weight.grad = None
        with half:
            with half.autocast():
                out = F.conv2d(torch.full((1, 2, 2, 2), float(pixels)), weight)
                assert out.dtype == torch.float16
            in_forward = half.saturation.clear()
            (scale * out.float().mean()).backward()
        assert weight.grad is not None
        assert torch.isfinite(weight.grad).all()
        return in_forward, half.saturation.clear()

    assert step(scale=1, pixels=1) == (0, 0)
    assert step(scale=1, pixels=200) == (4, 0)
    in_forward, in_backward = step(scale=1e6, pixels=1)
    assert in_forward == 0
    assert in_backward > 0
    assert not half.saturation.overflowed


def test_outside_infinities_stay() -> None:
    half = HalfArithmetic(torch.float16, "saturate")
    with half:
        pass
    assert (halves(6e4) * 2).isinf().all()

"""FP32 islands inside the half arithmetic."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from workspace.errors import UserError
from workspace.precision.half import HalfArithmetic
from workspace.precision.islands import make_islands


class Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(6, 3)

    def forward(self, features: Tensor) -> Tensor:
        scores: Tensor = self.score(features)
        return scores

    def loss(self, scores: Tensor) -> Tensor:
        return scores @ scores.t()


class Detector(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(4, 6)
        self.head = Head()

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features = self.stem(pictures)
        scores = self.head(features)
        return features, scores, self.head.loss(scores)


class Echo(nn.Module):
    def forward(self, *args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return args, kwargs


@pytest.fixture
def model() -> Detector:
    torch.manual_seed(0)
    return Detector()


@pytest.fixture
def pictures() -> Tensor:
    return torch.randn(5, 4, generator=torch.Generator().manual_seed(1))


def in_half(model: nn.Module, pictures: Tensor) -> Any:
    half = HalfArithmetic(torch.float16)
    with half, half.autocast():
        return model(pictures)


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ((), (torch.float16, torch.float16, torch.float16)),
        (("head",), (torch.float16, torch.float32, torch.float16)),
        (("head:loss",), (torch.float16, torch.float16, torch.float32)),
        (("head", "head:loss"), (torch.float16, torch.float32, torch.float32)),
        (("head.score",), (torch.float16, torch.float32, torch.float16)),
        (("",), (torch.float32, torch.float32, torch.float32)),
    ],
    ids=str,
)
def test_only_the_members_compute_in_fp32(
    members: tuple[str, ...], expected: tuple[torch.dtype, ...], model: Detector, pictures: Tensor
) -> None:
    make_islands(model, members, "cpu")
    assert tuple(output.dtype for output in in_half(model, pictures)) == expected


def test_an_island_computes_what_fp32_would(model: Detector, pictures: Tensor) -> None:
    make_islands(model, ("head",), "cpu")
    features, scores, _ = in_half(model, pictures)
    assert torch.equal(scores, nn.functional.linear(features.float(), model.head.score.weight, model.head.score.bias))


def test_inputs_are_widened_wherever_they_lie() -> None:
    model = nn.ModuleDict({"echo": Echo()})
    make_islands(model, ("echo",), "cpu")
    half, brain, wide = torch.ones(2).half(), torch.ones(2).bfloat16(), torch.ones(2).double()
    args, kwargs = model["echo"]([half, (brain, "name", None)], {"levels": [half]}, wide=wide, mask=half)
    assert args[0][0].dtype == args[0][1][0].dtype == args[1]["levels"][0].dtype == torch.float32
    assert args[0][1][1:] == ("name", None)
    assert kwargs["wide"].dtype == torch.float64
    assert kwargs["mask"].dtype == torch.float32


@pytest.mark.parametrize("member", ["nose", "head.nose", "head:smell", "nose:loss"])
def test_an_unknown_member_is_named(member: str, model: Detector) -> None:
    with pytest.raises(UserError, match=f"FP32 island '{member}': Detector has no such module or method"):
        make_islands(model, (member,), "cpu")


def test_gradients_cross_the_shore(model: Detector, pictures: Tensor) -> None:
    """They are what a head of FP32 written out by hand gives, for the parameters on both sides."""
    half = HalfArithmetic(torch.float16)
    with half:
        with half.autocast():
            features = model.stem(pictures)
            with half.autocast(enabled=False):
                by_hand = model.head(features.float()).square().sum()
        by_hand.backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    make_islands(model, ("head",), "cpu")
    with half:
        with half.autocast():
            through_island = model(pictures)[1].square().sum()
        through_island.backward()
    assert expected.keys() == dict(model.named_parameters()).keys()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad.any()
        assert torch.equal(parameter.grad, expected[name]), name


def test_the_state_dict_is_that_of_the_plain_model(model: Detector, pictures: Tensor) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    make_islands(model, ("head", "head:loss"), "cpu")
    assert model.state_dict().keys() == before.keys()
    other = Detector()
    make_islands(other, ("head", "head:loss"), "cpu")
    other.load_state_dict(before)
    assert all(map(torch.equal, in_half(other, pictures), in_half(model, pictures)))

"""Members are found by tracing, and computed in FP32 or in half one at a time."""

import pytest
import torch
from torch import Tensor, nn

from workspace.diagnosis.members import alone_in_half, islands, names_of, trace
from workspace.diagnosis.observation import Seen, deviation, observed
from workspace.precision.half import HalfArithmetic


class Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(6, 3)

    def forward(self, features: Tensor) -> Tensor:
        return self.decode(self.score(features))

    def decode(self, scores: Tensor) -> Tensor:
        return scores * 2

    def never_called(self) -> None:
        raise AssertionError


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(4, 6)
        self.head = Head()

    def forward(self, pictures: Tensor) -> Tensor:
        found: Tensor = self.head(self.stem(pictures))
        return found


HALF = HalfArithmetic(torch.float16)


@pytest.fixture
def model() -> Model:
    torch.manual_seed(0)
    return Model()


PICTURES = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))


def run(model: nn.Module) -> Tensor:
    with HALF, HALF.autocast():
        found: Tensor = model(PICTURES)
    return found


def test_methods_and_modules_are_traced_in_the_order_of_their_calls(model: Model) -> None:
    assert {"head:decode", "head:never_called", "head.score"} <= set(names_of(model))
    members = trace(model, lambda: run(model))
    assert list(members) == ["", "stem", "head", "head.score", "head:decode"]
    assert members["head"].parts == ["head.score", "head:decode"]
    assert members["head:decode"].depth == 2
    assert members["head"].narrow == [(True,)]
    assert members["stem"].narrow == [(False,)]
    assert "forward" not in vars(model.head), "the model is as it was"


def test_one_member_computes_in_the_other_precision(model: Model) -> None:
    exact, half = model(PICTURES), run(model)
    members = trace(model, lambda: run(model))
    with alone_in_half(model, [members["head.score"]], "cpu", torch.float16):
        alone = run(model)
    with islands(model, ["head.score"], "cpu"):
        without = run(model)
    assert run(model).equal(half)
    with alone_in_half(model, [members["head.score"]], "cpu", torch.float16), HALF:
        expected = (
            2
            * nn.functional.linear(
                model.stem(PICTURES).half(), model.head.score.weight.half(), model.head.score.bias.half()
            ).float()
        )
    assert alone.dtype == without.dtype == torch.float32
    assert alone.equal(expected)
    assert not alone.equal(exact)
    assert not without.equal(half.float())


def test_overflow_underflow_and_work_in_place_are_seen() -> None:
    class Doubling(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * 2

    model = nn.Sequential(Doubling(), nn.ReLU(inplace=True))
    with observed(model, ["0"], lambda: 0) as seen:
        model(torch.tensor([-1.0, 4e4]))
    assert seen.outputs["0"].sample().tolist() == [-2.0, 8e4]
    found = Seen()
    found.add(0, torch.tensor([-2.0, torch.inf, 0.0, 1.0]).half())
    reference = Seen()
    reference.add(0, torch.tensor([-2.0, 7e4, 1e-9, 1.0]))
    compared = deviation(found, reference)
    assert compared is not None
    assert compared.underflow == 0.25
    assert compared.error == torch.inf
    other = Seen()
    other.add(0, torch.zeros(3))
    assert deviation(found, other) is None

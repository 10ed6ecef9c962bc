"""Gradient scaling under each precision on the CPU, with real overflows."""

import pytest
import torch
from torch import Tensor

from workspace.precision import FP32, Precision
from workspace.precision.arithmetic import Arithmetic, arithmetic


def fp16(overflow: str = "inf_nan", **scale: object) -> Arithmetic:
    precision = {"name": "fp16", "overflow": overflow, "loss_scale": {**scale}}
    return arithmetic(Precision.from_json(precision), "cpu")


class Training:
    """One weight under SGD, stepped as the optimizer wrapper steps a model."""

    def __init__(self, performed: Arithmetic) -> None:
        self.arithmetic = performed
        self.weight = torch.nn.Parameter(torch.ones(1, 1))
        self.optimizer = torch.optim.SGD([self.weight], lr=0.125)

    def step(self, slope: float) -> float:
        """A step on the loss ``slope * weight``; returns the gradient that the optimizer was given."""
        scaler = self.arithmetic.scaler
        assert scaler is not None
        self.optimizer.zero_grad()
        with self.arithmetic.forward():
            loss = torch.nn.functional.linear(torch.full((1, 1), slope), self.weight)
        with self.arithmetic.backward():
            scaler.scale(loss.float().sum()).backward()
        self.arithmetic.reveal_overflow([self.weight])
        scaler.unscale_(self.optimizer)
        gradient = self._gradient()
        scaler.step(self.optimizer)
        self.arithmetic.update_scale()
        return gradient

    @property
    def scale(self) -> float:
        assert self.arithmetic.scaler is not None
        return self.arithmetic.scaler.get_scale()

    def _gradient(self) -> float:
        gradient: Tensor | None = self.weight.grad
        assert gradient is not None
        return gradient.item()


@pytest.mark.parametrize("precision", [FP32, Precision(name="bf16")], ids=lambda precision: precision.name)
def test_only_fp16_has_a_scaler(precision: Precision) -> None:
    performed = arithmetic(precision, "cpu")
    assert performed.scaler is None
    assert performed.counts() == {}


def test_fp32_contexts_change_nothing() -> None:
    performed = arithmetic(FP32, "cpu")
    with performed.forward(), performed.backward():
        assert not torch.is_autocast_enabled("cpu")
        assert torch.nn.functional.linear(torch.ones(1, 2), torch.ones(1, 2)).dtype == torch.float32


def test_a_dynamic_scale_halves_on_overflow_and_doubles_after_clean_steps() -> None:
    training = Training(fp16(init=1024.0, growth_interval=2))
    assert training.step(slope=100.0) == float("inf")  # 1024 * 100 does not fit
    assert training.weight.item() == 1.0
    assert training.scale == 512.0
    scales = []
    for _ in range(4):
        assert training.step(slope=0.5) == 0.5
        scales.append(training.scale)
    assert scales == [512.0, 1024.0, 1024.0, 2048.0]
    assert training.weight.item() == 1.0 - 4 * 0.125 * 0.5


def test_a_static_scale_stays_and_still_skips_the_step() -> None:
    training = Training(fp16(policy="static", init=1024.0, growth_interval=1))
    assert training.step(slope=100.0) == float("inf")
    assert training.weight.item() == 1.0
    assert training.scale == 1024.0
    for _ in range(3):
        assert training.step(slope=0.5) == 0.5
    assert training.scale == 1024.0
    assert training.weight.item() == 1.0 - 3 * 0.125 * 0.5
    assert training.arithmetic.counts() == {}


def test_a_saturated_backward_pass_is_revealed_to_the_scaler() -> None:
    """The gradient is clamped to a finite number in silence; without the inf the step would be taken."""
    training = Training(fp16(overflow="saturate", init=1024.0))
    assert training.step(slope=100.0) == float("inf")
    assert training.weight.item() == 1.0
    assert training.scale == 512.0
    counts = training.arithmetic.counts()
    assert counts["precision/forward_clamped"] == 0
    assert counts["precision/backward_clamped"] >= 1


def test_a_saturated_forward_pass_is_counted_and_not_revealed() -> None:
    """The 910A's flag is cleared between the passes: such a step is taken, with a clamped value."""
    training = Training(fp16(overflow="saturate", init=0.25))
    assert training.step(slope=1e5) == 65504.0  # the input itself is clamped when it is cast
    assert training.arithmetic.counts() == {"precision/forward_clamped": 1, "precision/backward_clamped": 0}
    assert training.weight.item() == 1.0 - 0.125 * 65504.0


def test_counts_are_of_the_last_step_alone() -> None:
    training = Training(fp16(overflow="saturate", init=1024.0))
    training.step(slope=100.0)
    assert training.step(slope=0.5) == 0.5
    assert training.arithmetic.counts() == {"precision/forward_clamped": 0, "precision/backward_clamped": 0}

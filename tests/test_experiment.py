"""Questions that make no sense are refused where they are stated; the ones in ``experiments/`` ask what they say."""

import dataclasses
import importlib

import pytest

from workspace.detectors import DETECTORS
from workspace.errors import UserError
from workspace.experiment import ArmSpec, Comparison, Effort
from workspace.precision import FP32, LossScale, Precision

FP16 = Precision(name="fp16", loss_scale=LossScale())
ARMS = {"a": ArmSpec(detector="fcos", precision=FP32), "b": ArmSpec(detector="fcos", precision=FP16)}
SMALL = Comparison(
    name="small", arms=ARMS, contrasts={"gap": {"a": -1, "b": 1}}, efforts={"demo": Effort(seeds=2, margin=1.0)}
)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"contrasts": {"gap": {"a": -1, "c": 1}}}, "gap weighs c, no arm of it"),
        ({"contrasts": {"gap": {"a": -1, "b": 0.5}}}, "the weights of gap must sum to 0 and not all be 0"),
        ({"contrasts": {"gap": {"a": 0, "b": 0}}}, "the weights of gap must sum to 0 and not all be 0"),
        ({"published": {"total": "fcos"}}, "total is none of its contrasts"),
        ({"parts": {"gap": ("gap", "gap")}}, "gap and gap do not sum up to gap"),
        ({"efforts": {"demo": Effort(seeds=2, trials=4, margin=1.0)}}, "it has no search"),
    ],
)
def test_a_comparison_that_makes_no_sense_is_refused(changes, said):
    with pytest.raises(UserError, match=f"comparison small: .*{said}"):
        dataclasses.replace(SMALL, **changes)


def test_weights_of_thirds_sum_to_zero():
    third = {"a": -1, "b": 1 / 3, "c": 1 / 3, "d": 1 / 3}
    arms = dict.fromkeys(third, ARMS["a"])
    dataclasses.replace(SMALL, arms=arms, contrasts={"mean of three": third})


@pytest.mark.parametrize("name", DETECTORS)
def test_each_detector_has_a_sweep_of_its_own_with_the_published_loss_scale(name):
    sweep = importlib.import_module(f"experiments.{name}_fp16_sweep").EXPERIMENT
    assert sweep.detector == name
    assert sweep.baseline == FP32
    assert sweep.candidate == Precision(name="fp16", loss_scale=DETECTORS[name].npu.loss_scale)
    options = dict(sweep.space["fp32_islands"].options)
    assert options["none"] == ()
    assert {island for islands in options.values() for island in islands} <= DETECTORS[name].islands.keys()


def test_the_verified_models_have_both_precisions_and_nothing_else_between_them():
    comparison = importlib.import_module("experiments.verified_models").COMPARISON
    assert list(comparison.published.values()) == list(DETECTORS)
    for model, (minus, plus) in comparison.contrasts.items():
        baseline, candidate = comparison.arms[minus], comparison.arms[plus]
        assert dataclasses.replace(candidate, precision=FP32) == baseline
        assert (baseline.detector, candidate.precision.loss_scale) == (model, DETECTORS[model].npu.loss_scale)

"""`Precision` and `LossScale` as values: what they refuse, how they compare, and their passage through JSON."""

import json
from dataclasses import asdict, replace
from typing import Any

import pytest

from workspace.errors import UserError
from workspace.precision import FP32, LossScale, Precision

FP16 = Precision(name="fp16", loss_scale=LossScale())


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"policy": "adaptive"}, "loss scale policy 'adaptive'"),
        ({"init": 0.0}, "loss scale 0.0: it must be positive"),
        ({"init": -2.0}, "must be positive"),
        ({"init": float("nan")}, "must be positive"),
        ({"growth_interval": 0}, "growth interval 0"),
    ],
)
def test_loss_scale_refuses(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        LossScale(**fields)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": "fp8"}, "precision 'fp8': use fp32, hf32, fp16 or bf16"),
        ({"name": "fp16"}, "fp16 needs a loss scale"),
        ({"name": "fp32", "loss_scale": LossScale()}, "the others take none"),
        ({"name": "bf16", "loss_scale": LossScale()}, "the others take none"),
        ({"name": "fp16", "loss_scale": LossScale(), "overflow": "wrap"}, "overflow mode 'wrap'"),
        ({"name": "bf16", "overflow": "saturate"}, "only fp16 can saturate"),
        ({"name": "fp32", "overflow": "saturate"}, "only fp16 can saturate"),
        ({"name": "bf16", "autocast": "cuda"}, "autocast list 'cuda'"),
        ({"name": "fp32", "fp32_islands": ("head",)}, "only inside fp16 or bf16"),
        ({"name": "hf32", "fp32_islands": ("head",)}, "only inside fp16 or bf16"),
        ({"name": "hf32", "overflow": "saturate"}, "only fp16 can saturate"),
    ],
)
def test_precision_refuses(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Precision(**fields)


@pytest.mark.parametrize(
    "precision",
    [
        FP32,
        FP16,
        Precision(name="bf16", fp32_islands=("loss",)),
        Precision(
            name="fp16",
            loss_scale=LossScale(policy="static", init=512.0, growth_interval=100),
            overflow="saturate",
            fp32_islands=("neck", "head"),
            autocast="torch",
        ),
    ],
    ids=lambda precision: precision.name,
)
def test_json_and_back(precision: Precision) -> None:
    assert Precision.from_json(asdict(precision)) == precision
    assert Precision.from_json(json.loads(json.dumps(asdict(precision)))) == precision


def test_islands_are_a_set_in_one_order() -> None:
    """Two ways to state the same arithmetic are equal, so that they share a signature."""
    stated = replace(FP16, fp32_islands=("neck", "head", "neck"))
    assert stated.fp32_islands == ("head", "neck")
    assert stated == replace(FP16, fp32_islands=("head", "neck"))


def test_only_the_half_types_are_mixed() -> None:
    assert not FP32.is_mixed
    assert FP16.is_mixed
    assert Precision(name="bf16").is_mixed

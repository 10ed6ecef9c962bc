"""The diagnosis names what a test has planted in a small detector, and nothing where nothing is lost."""

import dataclasses
import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.registry import OPTIMIZERS
from short_runs import short_task
from torch import Tensor, nn

from workspace.datasets import DataSet
from workspace.diagnosis import Diagnosis, bench, diagnose
from workspace.diagnosis.gauge import worst_of
from workspace.errors import UserError
from workspace.precision import FP32, LossScale, Precision
from workspace.training.task import Task

STATIC = LossScale(policy="static", init=256.0)
FP16 = Precision(name="fp16", loss_scale=STATIC)


@pytest.fixture
def examine(few_shapes: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Diagnosis]:
    def run(
        precision: Precision = FP16, plant: Callable[[nn.Module], None] = lambda _: None, optimizer: str = "AdamW"
    ) -> Diagnosis:
        build = bench.build_runner

        def patched(task: Task) -> Any:
            runner = build(task)
            plant(runner.plain_model)
            return runner

        monkeypatch.setattr(bench, "build_runner", patched)
        task = short_task(few_shapes, "fcos", precision, tmp_path)
        spec = dataclasses.replace(task.spec, recipe=dataclasses.replace(task.spec.recipe, optimizer=optimizer))
        task = dataclasses.replace(task, spec=spec)
        return diagnose(task, warm_up=6, batches=1, passes=40)

    return run


def in_its_inputs_type(module: nn.Module, compute: Callable[[Tensor], Tensor]) -> None:
    """What a careless patch does: autocast's FP32 rules do not reach into it."""

    def forward(values: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            return compute(values)

    module.forward = forward  # type: ignore[method-assign]


def test_plain_fp16_loses_nothing_that_matters(examine: Callable[..., Diagnosis]) -> None:
    found = examine()
    assert found.noise
    assert found.causes == []
    assert found.proposals == []
    assert 0 < found.errors.update < found.unit.update


@pytest.mark.parametrize(
    ("precision", "where"),
    [
        (Precision(name="fp16", loss_scale=LossScale(policy="static", init=1e-4)), "too small"),
        (Precision(name="fp16", loss_scale=LossScale(init=1e-4)), "too small"),
        (Precision(name="fp16", loss_scale=LossScale(policy="static", init=2.0**40)), "too large"),
        (Precision(name="fp16", loss_scale=LossScale(policy="static", init=2.0**40), overflow="saturate"), "too large"),
    ],
    ids=["static", "stale", "skipped", "saturated"],
)
def test_a_loss_scale_is_named(precision: Precision, where: str, examine: Callable[..., Diagnosis]) -> None:
    found = examine(precision)
    assert (found.causes[0].kind, found.causes[0].where) == ("loss_scale", where)
    assert found.causes[0].share > 0.5
    assert found.proposals[0].changes["loss_scale"]["policy"] == "dynamic"
    assert found.proposals[0].flops_in_half == 1


def test_a_module_is_named_by_what_it_does_alone(examine: Callable[..., Diagnosis], tmp_path: Path) -> None:
    def overflowing(model: nn.Module) -> None:
        layer = model.get_submodule("bbox_head.reg_convs.1.gn")
        in_its_inputs_type(layer, lambda x: x * (300 * x).square().mean().add(1e-8).rsqrt())

    found = examine(plant=overflowing)
    assert (found.causes[0].kind, found.causes[0].where) == ("module", "bbox_head.reg_convs.1.gn")
    assert found.causes[0].share > 0.9
    assert found.proposals[0].changes == {"fp32_islands": ["bbox_head.reg_convs.1.gn"]}
    assert found.proposals[0].flops_in_half == 1, "a normalisation multiplies no matrices"
    found.write(tmp_path / "found.json")
    written = json.loads((tmp_path / "found.json").read_text())
    assert written["causes"][0]["where"] == "bbox_head.reg_convs.1.gn"
    assert written["detector"] == "fcos"
    assert written["precision"]["name"] == "fp16"


def test_a_layer_that_gives_nothing_finite_makes_an_infinite_error(examine: Callable[..., Diagnosis]) -> None:
    def broken(model: nn.Module) -> None:
        layer = model.get_submodule("bbox_head.reg_convs.1.gn")
        in_its_inputs_type(layer, lambda x: x * 1e5 / 1e5)

    members = {member.name: member for member in examine(plant=broken).members}
    assert members["bbox_head.reg_convs.1.gn"].made_here == math.inf


def test_a_single_number_is_not_a_lost_gradient() -> None:
    gradients = {"conv": torch.ones(3), "scale": torch.ones(())}
    assert worst_of({"conv": 0.1, "scale": 0.9}, gradients) == 0.1
    assert worst_of({"conv": 0.8, "scale": 0.9}, gradients) == 0.8
    assert worst_of({"scale": 0.9}, gradients) == 0


def weights_of(adam: torch.optim.AdamW) -> Iterable[Tensor]:
    return (parameter for group in adam.param_groups for parameter in group["params"])


def moments_of(adam: torch.optim.AdamW) -> Iterable[Tensor]:
    return (state[name] for state in adam.state.values() for name in ("exp_avg", "exp_avg_sq"))


@pytest.mark.parametrize(("where", "kept"), [("weights", weights_of), ("state", moments_of)])
def test_an_optimizer_that_rounds_is_named_and_a_standard_one_proposed(
    where: str, kept: Callable[[torch.optim.AdamW], Iterable[Tensor]], examine: Callable[..., Diagnosis]
) -> None:
    class Sparing(torch.optim.AdamW):
        @torch.no_grad()
        def step(self, closure: Any = None) -> Any:
            loss = super().step(closure)
            for tensor in kept(self):
                tensor.copy_(tensor.half())
            return loss

    OPTIMIZERS.register_module("Sparing", force=True, module=Sparing)
    try:
        found = examine(optimizer="Sparing")
    finally:
        OPTIMIZERS.module_dict.pop("Sparing")
    assert [(cause.kind, cause.where) for cause in found.causes] == [("optimizer", where)]
    # The rest is the gradients' own rounding, of which Adam's first steps make more on some processors than on others.
    assert found.causes[0].share > 0.8
    assert found.proposals[0].changes == {"optimizer": "AdamW"}
    assert found.proposals[0].share > 0.8


def test_fp32_has_nothing_to_compare(few_shapes: DataSet, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="compares fp16 or bf16 with FP32"):
        diagnose(short_task(few_shapes, "fcos", FP32, tmp_path))

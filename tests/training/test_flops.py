"""The share of operations in half: by whole models, by islands, and against a count by hand."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from workspace.detectors import detector
from workspace.errors import UserError
from workspace.precision import FP32, LossScale, Precision
from workspace.spec import RunSpec
from workspace.training.flops import flops_in_half
from workspace.training.run import build_runner
from workspace.training.task import Task

MakeTask = Callable[..., Task]
FP16 = Precision(name="fp16", loss_scale=LossScale())


def with_islands(spec: RunSpec, *islands: str) -> RunSpec:
    return dataclasses.replace(spec, precision=dataclasses.replace(FP16, fp32_islands=islands))


def operations(model: nn.Module, size: tuple[int, int]) -> dict[str, int]:
    """By name of the layer, two for each multiplication of one picture's forward pass, counted on real tensors."""
    found: dict[str, int] = {}

    def count(name: str) -> Any:
        def hook(layer: Any, inputs: Any, output: torch.Tensor) -> None:
            each = layer.in_channels // layer.groups * math.prod(layer.kernel_size)
            found[name] = found.get(name, 0) + 2 * output.numel() * each

        return hook

    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(count(name))
    with torch.no_grad():
        model.eval()(torch.zeros(1, 3, *size), mode="tensor")
    return found


def test_the_share_is_what_counting_by_hand_gives(make_task: MakeTask) -> None:
    task = make_task("fcos")
    by_layer = operations(build_runner(task).plain_model, (96, 96))
    outside = sum(flops for name, flops in by_layer.items() if not name.startswith("bbox_head"))
    (share,) = flops_in_half([with_islands(task.spec, "head")], len(task.classes))
    assert share == pytest.approx(outside / sum(by_layer.values()))
    assert 0.5 < share < 1


def test_groups_that_make_up_the_model_make_up_its_operations(make_task: MakeTask) -> None:
    task = make_task("ssdlite")
    groups = ("backbone", "neck", "head")
    specs = [with_islands(task.spec, group) for group in groups]
    shares = flops_in_half([with_islands(task.spec), *specs, with_islands(task.spec, *groups)], len(task.classes))
    assert shares[0] == 1
    assert sum(1 - share for share in shares[1:4]) == pytest.approx(1)
    assert shares[4] == 0


def test_a_member_is_an_island_too_and_fp32_has_nothing_in_half(make_task: MakeTask) -> None:
    task = make_task("fcos")
    (member,) = flops_in_half([with_islands(task.spec, "bbox_head.conv_cls", "bbox_head.conv_reg")], 3)
    (group,) = flops_in_half([with_islands(task.spec, "predictors")], 3)
    assert group < member < 1
    assert detector("fcos").islands["predictors"][2] == "bbox_head.conv_centerness"
    assert flops_in_half([dataclasses.replace(task.spec, precision=FP32)], 3) == [0.0]
    with pytest.raises(UserError, match="no such module or method"):
        flops_in_half([with_islands(task.spec, "bbox_head.nose")], 3)

"""A run's signature: the same for the same run for ever, another one for any other."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from workspace.errors import UserError
from workspace.precision import LossScale, Precision
from workspace.spec import DataSpec, Recipe, RunSpec, run_folder

RECIPE = Recipe(
    optimizer="SGD",
    lr=0.01,
    weight_decay=1e-4,
    batch_size=16,
    epochs=12,
    decay="step",
    milestones=(0.5, 0.75),
    warmup="constant",
    warmup_steps=500,
    warmup_factor=0.25,
    clip_norm=35.0,
)
SPEC = RunSpec(
    detector="fcos",
    scale="full",
    config_digest="0123456789abcdef",
    data=DataSpec(name="coco", digest="fedcba9876543210", evaluate="eval"),
    precision=Precision(name="fp16", loss_scale=LossScale(), fp32_islands=("head", "loss")),
    recipe=RECIPE,
    image_size=(1333, 800),
    epochs=12,
    evaluations=3,
    seed=0,
    device="npu",
)
OTHERS: dict[tuple[str, ...], Any] = {
    ("detector",): "ssdlite",
    ("scale",): "demo",
    ("config_digest",): "",
    ("data", "name"): "shapes",
    ("data", "digest"): "",
    ("data", "evaluate"): "search",
    ("precision", "name"): Precision(name="bf16", fp32_islands=("head", "loss")),  # bf16 has no loss scale
    ("precision", "loss_scale", "policy"): "static",
    ("precision", "loss_scale", "init"): 512.0,
    ("precision", "loss_scale", "growth_interval"): 100,
    ("precision", "overflow"): "saturate",
    ("precision", "fp32_islands"): ("head",),
    ("precision", "autocast"): "torch",
    ("recipe", "optimizer"): "AdamW",
    ("recipe", "lr"): 0.02,
    ("recipe", "weight_decay"): 0.0,
    ("recipe", "momentum"): 0.8,
    ("recipe", "batch_size"): 8,
    ("recipe", "epochs"): 24,
    ("recipe", "steps"): dataclasses.replace(RECIPE, epochs=None, steps=12),  # either epochs or steps
    ("recipe", "decay"): "cosine",
    ("recipe", "milestones"): (0.5,),
    ("recipe", "warmup"): "linear",
    ("recipe", "warmup_steps"): 0,
    ("recipe", "warmup_factor"): 0.5,
    ("recipe", "clip_norm"): None,
    ("image_size",): None,
    ("epochs",): 13,
    ("evaluations",): 2,
    ("seed",): 1,
    ("device",): "cuda",
    ("devices",): 8,
}


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Paths of all fields that are no values with fields of their own."""
    for field in dataclasses.fields(value):
        inner = getattr(value, field.name)
        if dataclasses.is_dataclass(inner):
            yield from leaves(inner, (*path, field.name))
        else:
            yield (*path, field.name)


def changed(value: Any, path: tuple[str, ...], other: Any) -> Any:
    """``value`` with the field at that path replaced by ``other``, or the whole value where that is what it is."""
    if not path or (dataclasses.is_dataclass(value) and isinstance(other, type(value))):
        return other
    return dataclasses.replace(value, **{path[0]: changed(getattr(value, path[0]), path[1:], other)})


def test_the_signature_is_a_constant_of_the_spec() -> None:
    """Finished runs are found by it: a change here orphans every run that anybody has trained."""
    assert SPEC.signature == "582c70d4383edfbf"


def test_every_field_has_another_value_below() -> None:
    assert set(leaves(SPEC)) == set(OTHERS)


@pytest.mark.parametrize("path", OTHERS, ids=".".join)
def test_the_signature_changes_with(path: tuple[str, ...]) -> None:
    other = changed(SPEC, path, OTHERS[path])
    assert other != SPEC
    assert other.signature != SPEC.signature


def test_no_two_of_these_runs_share_a_signature() -> None:
    specs = [SPEC, *(changed(SPEC, path, other) for path, other in OTHERS.items())]
    assert len({spec.signature for spec in specs}) == len(specs)


@pytest.mark.parametrize("path", [(), *OTHERS], ids=".".join)
def test_json_and_back(path: tuple[str, ...]) -> None:
    spec = changed(SPEC, path, OTHERS.get(path, SPEC))
    for fields in (spec.to_json(), json.loads(json.dumps(spec.to_json()))):
        again = RunSpec.from_json(fields)
        assert again == spec
        assert again.signature == spec.signature


def test_a_run_lies_under_its_signature(tmp_path: Path) -> None:
    assert run_folder(tmp_path, SPEC) == tmp_path / "runs" / SPEC.signature


@pytest.mark.parametrize(("epochs", "steps"), [(None, None), (12, 900)])
def test_a_recipe_has_one_length(epochs: int | None, steps: int | None) -> None:
    with pytest.raises(UserError, match="either as epochs or as steps"):
        dataclasses.replace(RECIPE, epochs=epochs, steps=steps)


@pytest.mark.parametrize(
    ("steps", "images", "epochs"),
    [(900, 320, 45), (900, 321, 43), (901, 320, 46), (1, 320, 1), (900, 7, 900)],
)
def test_steps_become_whole_epochs_rounded_up(steps: int, images: int, epochs: int) -> None:
    recipe = dataclasses.replace(RECIPE, epochs=None, steps=steps)
    assert recipe.epochs_on(images) == epochs


def test_epochs_are_the_same_on_any_data() -> None:
    assert RECIPE.epochs_on(1) == RECIPE.epochs_on(117_266) == 12

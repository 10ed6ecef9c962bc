"""Recipes that a user without a diagnosis would try, drawn at random."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.planted.causes import Cause
from workspace.precision import LossScale

_SINGLE_MODULES = (
    "backbone.conv1",
    "backbone.bn1",
    "backbone.layer1",
    "backbone.layer2",
    "backbone.layer3",
    "bbox_head.conv_cls",
    "bbox_head.conv_reg",
    "bbox_head.conv_centerness",
    "bbox_head.loss_cls",
    "bbox_head.loss_bbox",
    "bbox_head.loss_centerness",
)
"""Beside the detector's groups; the user's own module, where the cause has one, is an option too."""

_SCALES = (
    *(LossScale(init=2.0**power, growth_interval=every) for power in (8, 12, 16, 20) for every in (100, 2000)),
    *(LossScale(policy="static", init=2.0**power) for power in (0, 3, 6, 9, 12, 15, 18, 21)),
)
_ISLANDS_SHARE = 2 / 3
"""Of recipes that keep something in FP32."""


def draw_recipes(cause: Cause, count: int) -> list[dict[str, Any]]:
    """Changes of the cause's own recipe and precision, by field; the first of a longer pool are those of a shorter."""
    return [_draw(cause, np.random.RandomState([index, *cause.name.encode()])) for index in range(count)]


def _draw(cause: Cause, rng: np.random.RandomState) -> dict[str, Any]:
    recipe = cause.recipe
    changes: dict[str, Any] = {
        "loss_scale": _SCALES[rng.randint(len(_SCALES))],
        "lr": _rounded(recipe.lr * float(np.exp(rng.uniform(-np.log(3), np.log(3))))),
        "warmup_steps": round(recipe.warmup_steps * float(np.exp(rng.uniform(np.log(0.5), np.log(4))))),
        "clip_norm": (None, 1.0, 10.0, 35.0)[rng.randint(4)],
    }
    if rng.uniform() < _ISLANDS_SHARE:
        own = [part for part in cause.mend.get("fp32_islands", ()) if part not in _SINGLE_MODULES]
        places = [*cause.detector.islands, *_SINGLE_MODULES, *own]
        changes["fp32_islands"] = (places[rng.randint(len(places))],)
    if cause.kind == "optimizer":
        changes["optimizer"] = (recipe.optimizer, "AdamW", "SGD")[rng.randint(3)]
    if cause.precision.overflow == "saturate":
        changes["overflow"] = ("saturate", "inf_nan")[rng.randint(2)]
    defaults = {**vars(recipe), **vars(cause.precision)}
    return {name: value for name, value in changes.items() if value != defaults[name]}


def _rounded(value: float) -> float:
    """To 12 digits: the last bit of NumPy's exp is not the same on all processors, and would be another recipe."""
    return float(f"{value:.12g}")


def as_json(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The changes as a diagnosis' proposals have them."""
    return {
        name: dataclasses.asdict(value) if isinstance(value, LossScale) else value for name, value in changes.items()
    }

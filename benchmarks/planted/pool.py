"""Recipes that a user without a diagnosis would try, drawn at random."""

import dataclasses
import itertools
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

_HELD_FROM = 100
"""Draws from here on are looked at for islands that hold the planted module."""


def draw_recipe(cause: Cause, index: int) -> dict[str, Any]:
    """Changes of the cause's own recipe and precision, by field, of that draw."""
    return _draw(cause, np.random.RandomState([index, *cause.name.encode()]))


def held_draws(cause: Cause, count: int) -> list[int]:
    """Further draws, the first so many whose FP32 island holds the planted module; none where no module is the cause.

    One draw in seven to forty is such a one, and whether it closes decides what a random search costs. So that is told
    from more of them than a small pool has, and together they count for the share of draws that they stand for
    (`share_held`): stratified sampling.
    """
    if not share_held(cause):
        return []
    later = itertools.count(_HELD_FROM)
    return list(itertools.islice((index for index in later if is_held(cause, draw_recipe(cause, index))), count))


def is_held(cause: Cause, changes: Mapping[str, Any]) -> bool:
    """Whether the recipe's island holds the planted module."""
    return any(place in _holding(cause) for place in changes.get("fp32_islands", ()))


def island_shares(cause: Cause) -> dict[tuple[str, ...], float]:
    """By FP32 island that a user could try, none among them, the share of all draws that are alike.

    Alike is what holds the planted module, or does not.
    """
    islands = [(), *((place,) for place in _places(cause))]
    return {island: stratum_share(cause, {"fp32_islands": island}) for island in islands}


def stratum_share(cause: Cause, changes: Mapping[str, Any]) -> float:
    """Share of all draws that are like this one in that their island holds the planted module, or does not."""
    held = share_held(cause)
    return round(held if is_held(cause, changes) else 1 - held, 6)


def share_held(cause: Cause) -> float:
    """Share of all draws whose island holds the planted module."""
    return _ISLANDS_SHARE * len(_holding(cause)) / len(_places(cause))


def _places(cause: Cause) -> list[str]:
    own = [part for part in cause.mend.get("fp32_islands", ()) if part not in _SINGLE_MODULES]
    return [*cause.detector.islands, *_SINGLE_MODULES, *own]


def _holding(cause: Cause) -> list[str]:
    found = []
    for place in _places(cause):
        members = cause.detector.islands.get(place, (place,))
        for module in cause.mend.get("fp32_islands", ()):
            of_loss = place == "loss" and module.startswith("bbox_head.")  # a method, which may call the module
            if of_loss or any(f"{module}.".startswith(f"{member}.") for member in members):
                found.append(place)
    return found


def _draw(cause: Cause, rng: np.random.RandomState) -> dict[str, Any]:
    recipe = cause.recipe
    changes: dict[str, Any] = {
        "loss_scale": _SCALES[rng.randint(len(_SCALES))],
        "lr": _rounded(recipe.lr * float(np.exp(rng.uniform(-np.log(3), np.log(3))))),
        "warmup_steps": round(recipe.warmup_steps * float(np.exp(rng.uniform(np.log(0.5), np.log(4))))),
        "clip_norm": (None, 1.0, 10.0, 35.0)[rng.randint(4)],
    }
    if rng.uniform() < _ISLANDS_SHARE:
        places = _places(cause)
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

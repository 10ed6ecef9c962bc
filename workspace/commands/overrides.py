"""``--set key=value``: fields of a recipe and a precision, as a command line states them."""

import dataclasses
import typing
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from workspace.errors import UserError
from workspace.precision import LossScale, Precision
from workspace.spec import Recipe


def apply_overrides(pairs: Sequence[str], recipe: Recipe, precision: Precision) -> tuple[Recipe, Precision]:
    """The recipe and the precision with those ``key=value`` changes, later ones over earlier ones.

    A recipe's values are numbers, words, lists with commas (``milestones=0.6,0.9``) or ``none``; giving its length as
    ``epochs`` takes the place of ``steps``, and the other way round. Of a precision, ``loss_scale`` is ``512``
    (static), ``dynamic`` or ``dynamic:1024``, ``fp32_islands`` a list (groups such as ``head``, modules such as
    ``bbox_head.conv_cls``, methods as ``bbox_head:loss_by_feat``), ``overflow`` and ``autocast`` a word.

    Raises:
        UserError: no such key, or no such value of it.
    """
    recipe_types = typing.get_type_hints(Recipe)
    of_recipe: dict[str, Any] = {}
    of_precision: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = (part.strip() for part in pair.partition("="))
        if not equals:
            raise UserError(f"--set {pair}: write it as key=value")
        if key in recipe_types:
            of_recipe[key] = _value(pair, recipe_types[key], text)
            other = {"epochs": "steps", "steps": "epochs"}.get(key)
            if other is not None:
                of_recipe[other] = None
        elif key in _PRECISION:
            of_precision[key] = _PRECISION[key](text)
        else:
            raise UserError(f"--set {pair}: there is no {key!r}; use one of {', '.join([*recipe_types, *_PRECISION])}")
    return dataclasses.replace(recipe, **of_recipe), dataclasses.replace(precision, **of_precision)


def _value(pair: str, kind: Any, text: str) -> Any:
    value: Any = None if text.lower() == "none" else text
    if typing.get_origin(kind) is tuple and value is not None:
        value = _list(text)
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise UserError(f"--set {pair}: {error.errors()[0]['msg'][:1].lower()}{error.errors()[0]['msg'][1:]}") from None


def _loss_scale(text: str) -> LossScale:
    policy, _, start = text.partition(":")
    try:
        if policy == "dynamic":
            return LossScale(init=float(start)) if start else LossScale()
        return LossScale(policy="static", init=float(text))
    except ValueError:
        raise UserError(
            f"--set loss_scale={text}: give a number for a static scale, dynamic, or dynamic:NUMBER to start at"
        ) from None


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


_PRECISION: dict[str, Callable[[str], Any]] = {
    "loss_scale": _loss_scale,
    "overflow": str,
    "fp32_islands": lambda text: () if text.lower() == "none" else _list(text),
    "autocast": str,
}

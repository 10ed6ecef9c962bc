import subprocess
import sys

import pytest

from workspace.errors import UserError
from workspace.precision import LossScale
from workspace.search import choice, integer, log_uniform, resolve, times, uniform

DYNAMIC, STATIC = LossScale(), LossScale(policy="static", init=512)
WORDS = {
    "lr": times(0.25, 4),
    "warmup_steps": times(0.1, 2),
    "weight_decay": log_uniform(1e-6, 1e-2),
    "momentum": uniform(0.5, 0.99),
    "clip_norm": choice({"none": None, "35": 35.0}),
    "loss_scale": choice({"dynamic": DYNAMIC, "static 512": STATIC}),
    "fp32_islands": choice({"none": (), "head": ("head",), "head+neck": ("head", "neck")}),
    "stages": integer(1, 4),
}
DEFAULTS = {
    "lr": 0.01,
    "warmup_steps": 500,
    "weight_decay": 1e-4,
    "momentum": 0.9,
    "clip_norm": None,
    "loss_scale": DYNAMIC,
    "fp32_islands": (),
    "stages": 3,
    "batch_size": 16,
}


def test_words_resolve_around_the_default_recipe() -> None:
    space = resolve(WORDS, DEFAULTS)
    assert space.words["lr"] == log_uniform(0.0025, 0.04)
    assert space.words["warmup_steps"] == integer(50, 1000, log=True)
    assert space.words["momentum"] == uniform(0.5, 0.99)
    assert space.default == {
        "lr": 0.01,
        "warmup_steps": 500,
        "weight_decay": 1e-4,
        "momentum": 0.9,
        "clip_norm": "none",
        "loss_scale": "dynamic",
        "fp32_islands": "none",
        "stages": 3,
    }


def test_one_statement_fits_recipes_of_different_scale() -> None:
    words = {"lr": times(0.5, 2), "warmup_steps": times(0.01, 2)}
    assert resolve(words, {"lr": 4e-3, "warmup_steps": 20}).words == {
        "lr": log_uniform(2e-3, 8e-3),
        "warmup_steps": integer(1, 40, log=True),
    }


def test_values_survive_the_way_to_optuna_and_back() -> None:
    space = resolve(WORDS, DEFAULTS)
    values = {name: DEFAULTS[name] for name in WORDS} | {
        "lr": 0.02,
        "clip_norm": 35.0,
        "loss_scale": LossScale(policy="static", init=512),
        "fp32_islands": ("head", "neck"),
        "stages": 1,
    }
    labels = space.encode(values)
    assert labels["loss_scale"] == "static 512"
    assert labels["fp32_islands"] == "head+neck"
    assert space.decode(labels) == values
    assert type(space.decode(labels)["stages"]) is int


def test_a_value_outside_the_space_has_no_label() -> None:
    space = resolve(WORDS, DEFAULTS)
    values = {name: DEFAULTS[name] for name in WORDS}
    for name, value in {"lr": 1.0, "stages": 2.5, "clip_norm": 10.0, "momentum": None}.items():
        with pytest.raises(ValueError, match="is not"):
            space.encode(values | {name: value})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"learning_rate": times(0.5, 2)}, r"'learning_rate' is not a setting of the recipe; there are lr, "),
        ({"clip_norm": times(0.5, 2)}, r"None has no multiples; use a range or a choice \('clip_norm'"),
        ({"stages": times(0.9, 1.1)}, r"the range 3 to 3 is empty .*'stages', whose default is 3"),
        ({"lr": log_uniform(0.1, 1)}, r"default of 'lr' lies outside it: 0.01 is not a number from 0.1 to 1.0"),
        ({"stages": integer(4, 9)}, r"default of 'stages' lies outside it: 3 is not an integer from 4 to 9"),
        ({"fp32_islands": choice({"head": ("head",)})}, r"'fp32_islands' lies outside it: \(\) is not one of head"),
    ],
)
def test_what_cannot_be_resolved_is_said(words: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        resolve(words, DEFAULTS)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: uniform(2, 1), "the range 2.0 to 1.0 is empty"),
        (lambda: uniform(0, float("inf")), "not finite"),
        (lambda: log_uniform(0, 1), "must begin above 0"),
        (lambda: integer(0, 9, log=True), "must begin above 0"),
        (lambda: integer(0.5, 9), "takes integers"),  # type: ignore[arg-type]
        (lambda: times(2, 4), "must span 1"),
        (lambda: times(0, 4), "must span 1"),
        (lambda: choice({}), "without options"),
        (lambda: choice({"a": (1,), "b": (1,)}), "'b' stands for the same value"),
        (lambda: choice({"a": object()}), "'a' needs a repr"),
    ],
)
def test_nonsense_is_refused(make: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()  # type: ignore[operator]


def test_words_are_values() -> None:
    assert times(0.5, 2) == times(0.5, 2) != times(0.5, 3)
    assert len({choice({"a": 1}), choice({"a": 1}), choice({"a": 2}), integer(1, 2), integer(1, 2)}) == 3


def test_the_description_tells_spaces_apart() -> None:
    words = {"lr": times(0.5, 2), "loss_scale": choice({"a": DYNAMIC, "b": STATIC})}
    description = resolve(words, DEFAULTS).describe()
    assert resolve(dict(words), dict(DEFAULTS)).describe() == description
    for other_words, other_defaults in [
        (words | {"lr": times(0.5, 2.0000001)}, DEFAULTS),
        (words | {"lr": uniform(0.005, 0.02)}, DEFAULTS),
        (words | {"loss_scale": choice({"a": DYNAMIC, "b": LossScale(policy="static", init=513)})}, DEFAULTS),
        (words, DEFAULTS | {"loss_scale": STATIC}),
        (words, DEFAULTS | {"lr": 0.0100001}),
    ]:
        assert resolve(other_words, other_defaults).describe() != description


def test_stating_a_space_imports_neither_optuna_nor_numpy() -> None:
    check = """
import sys
from workspace.search import Study, choice, default_url, resolve, times
resolve({"lr": times(0.5, 2)}, {"lr": 0.1}).describe()
sys.exit(any(name in sys.modules for name in ("optuna", "numpy", "sqlalchemy")))
"""
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0

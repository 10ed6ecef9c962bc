"""Every name of torch_npu that the project uses is there, in the oldest and the newest version that it may meet."""

import importlib
import os
from pathlib import Path

import pytest
from used_names import Use, Wheel, used_names

WHEELS = Path(os.environ.get("ASCEND_HOME_PATH", "")).parent / "wheels"
SOURCE = Path(__file__).parents[2] / "workspace"
USED = sorted(use for file in SOURCE.rglob("*.py") for use in used_names(file))


def test_names_are_found_in_the_source() -> None:
    names = {use.name for use in USED}
    assert {"torch_npu.npu.conv.allow_hf32", "torch_npu.npu.get_soc_version", "torch_npu.npu.set_device"} <= names
    assert Use("torch_npu.npu.amp.GradScaler", ("growth_interval", "init_scale")) in USED


@pytest.mark.parametrize("version", ["2.9.0", "2.14.0"])
def test_they_are_in_the_wheels(version: str) -> None:
    (file,) = WHEELS.glob(f"torch_npu-{version}-*.whl")
    wheel = Wheel(file)
    assert [lacking for use in USED if (lacking := wheel.lacks(use))] == []


@pytest.mark.parametrize(
    "use",
    [
        Use("torch_npu.npu.get_soc_of_tomorrow"),
        Use("torch_npu.npu.conv.allow_hf64"),
        Use("torch_npu.npu.utils.no_such_flag"),
        Use("torch_npu.npu.amp.GradScaler", ("no_such_keyword",)),
    ],
    ids=lambda use: use.name,
)
def test_a_name_that_is_not_there_is_missed(use: Use) -> None:
    (file,) = WHEELS.glob("torch_npu-2.14.0-*.whl")
    assert Wheel(file).lacks(use)


@pytest.mark.parametrize("use", USED, ids=lambda use: use.name)
def test_they_are_there_when_it_is_imported(use: Use) -> None:
    found: object = importlib.import_module("torch_npu")
    for part in use.name.split(".")[1:]:
        found = getattr(found, part)

"""What tests of several rooms need: small data sets, and detectors trained on the one with crowds."""

import dataclasses
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from crowded_shapes import write_crowded
from small_splits import first_pictures

if TYPE_CHECKING:
    from workspace.datasets import DataSet
    from workspace.orchestrator.conditions import Conditions
    from workspace.training.task import Task

SHORT = {"fcos": {"steps": 24, "side": 160}, "solov2": {"steps": 20, "side": 96}}
"""On fewer pixels, FCOS's coarsest level has one cell, and torch's GroupNorm takes no single picture of one cell."""


@pytest.fixture(scope="session")
def few_shapes(tmp_path_factory: pytest.TempPathFactory) -> "DataSet":
    """The embedded set cut to 24 training pictures and 8 to evaluate on."""
    from workspace.datasets import open_dataset

    whole = open_dataset(None, tmp_path_factory.mktemp("shapes"))
    folder = tmp_path_factory.mktemp("few")
    splits = {
        name: first_pictures(split, 24 if name == "train" else 8, folder / f"{name}.json")
        for name, split in whole.splits.items()
    }
    return dataclasses.replace(whole, splits=splits, digest="few")


@pytest.fixture(scope="session")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """See `write_crowded`."""
    return write_crowded(tmp_path_factory.mktemp("crowded") / "data")


@pytest.fixture(scope="session")
def crowded_conditions(crowded: Path) -> "Conditions":
    from workspace.datasets import open_dataset
    from workspace.orchestrator.conditions import Conditions

    dataset = open_dataset(crowded, crowded.parent / "work")
    return Conditions(scale="demo", dataset=dataset, embedded=False, device="cpu")


@pytest.fixture(scope="session")
def crowded_run(crowded_conditions: "Conditions") -> Callable[[str], "Task"]:
    """Trains a demo detector on the crowded set for a few dozen steps, once, and returns its task."""
    from workspace.detectors import detector
    from workspace.precision import FP32
    from workspace.spec import run_folder
    from workspace.training.task import Task, train

    @cache
    def trained(name: str) -> Task:
        steps, side = SHORT[name]["steps"], SHORT[name]["side"]
        recipe = dataclasses.replace(detector(name).demo.recipe, steps=steps, warmup_steps=5, batch_size=8)
        spec = crowded_conditions.spec(name, FP32, recipe, seed=0)
        spec = dataclasses.replace(spec, evaluations=1, image_size=(side, side))
        dataset = crowded_conditions.dataset
        task = Task(
            spec=spec,
            classes=dataset.classes,
            train=dataset.splits["train"],
            evaluate=dataset.splits["eval"],
            folder=run_folder(dataset.splits["train"].annotations.parents[2], spec),
            devices=("cpu",),
        )
        train(task)
        return task

    return trained

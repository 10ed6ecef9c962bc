import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from small_splits import first_pictures

from workspace.datasets import DataSet, open_dataset
from workspace.detectors import detector
from workspace.orchestrator.conditions import Conditions
from workspace.precision import FP32, Precision
from workspace.spec import run_folder
from workspace.training.task import Task

MakeTask = Callable[..., Task]


@pytest.fixture(scope="session")
def few_shapes(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    """The embedded set cut to 24 training pictures and 8 to evaluate on."""
    whole = open_dataset(None, tmp_path_factory.mktemp("shapes"))
    folder = tmp_path_factory.mktemp("few")
    splits = {
        name: first_pictures(split, 24 if name == "train" else 8, folder / f"{name}.json")
        for name, split in whole.splits.items()
    }
    return dataclasses.replace(whole, splits=splits, digest="few")


@pytest.fixture
def make_task(few_shapes: DataSet, tmp_path: Path) -> MakeTask:
    def make(
        name: str = "fcos", precision: Precision = FP32, *, epochs: int = 2, seed: int = 0, work: str = "work"
    ) -> Task:
        given = Conditions(scale="demo", dataset=few_shapes, embedded=True, device="cpu")
        recipe = dataclasses.replace(detector(name).demo.recipe, warmup_steps=2)
        spec = dataclasses.replace(given.spec(name, precision, recipe, seed=seed), epochs=epochs, evaluations=1)
        return Task(
            spec=spec,
            classes=few_shapes.classes,
            train=few_shapes.splits["train"],
            evaluate=few_shapes.splits["eval"],
            folder=run_folder(tmp_path / work, spec),
            devices=("cpu",),
        )

    return make

from collections.abc import Callable
from pathlib import Path

import pytest
from short_runs import short_task

from workspace.datasets import DataSet
from workspace.precision import FP32, Precision
from workspace.training.task import Task

MakeTask = Callable[..., Task]


@pytest.fixture
def make_task(few_shapes: DataSet, tmp_path: Path) -> MakeTask:
    def make(
        name: str = "fcos", precision: Precision = FP32, *, epochs: int = 2, seed: int = 0, work: str = "work"
    ) -> Task:
        return short_task(few_shapes, name, precision, tmp_path / work, epochs=epochs, seed=seed)

    return make

"""What training sees of a data set with empty pictures, crowds and a picture that is too small."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest
from mmdet.registry import DATASETS
from mmdet.utils import register_all_modules

from workspace.detectors import DETECTORS, detector
from workspace.orchestrator.conditions import Conditions
from workspace.precision import FP32
from workspace.spec import Scale, run_folder
from workspace.training import data, modules  # noqa: F401  registers what configurations name
from workspace.training.config import build_config
from workspace.training.task import Task


def training_set(conditions: Conditions, name: str) -> Any:
    dataset = conditions.dataset
    spec = conditions.spec(name, FP32, detector(name).variant(conditions.scale).recipe, seed=0)
    task = Task(
        spec=spec,
        classes=dataset.classes,
        train=dataset.splits["train"],
        evaluate=dataset.splits["eval"],
        folder=run_folder(dataset.splits["train"].annotations.parent, spec),
        devices=("cpu",),
    )
    register_all_modules()
    return DATASETS.build(build_config(task).train_dataloader.dataset)


@pytest.mark.parametrize("scale", ["demo", "full"])
@pytest.mark.parametrize("name", DETECTORS)
def test_every_model_trains_on_the_pictures_that_the_split_counts(
    name: str, scale: Scale, crowded_conditions: Conditions
) -> None:
    split = crowded_conditions.dataset.splits["train"]
    assert 0 < split.trained_on < split.pictures
    trained = training_set(dataclasses.replace(crowded_conditions, scale=scale), name)
    assert len(trained) == split.trained_on * detector(name).variant(scale).repeat


def test_as_many_steps_are_trained_as_were_planned(
    crowded_conditions: Conditions, crowded_run: Callable[[str], Task]
) -> None:
    task = crowded_run("fcos")
    result = json.loads((task.folder / "result.json").read_text())
    assert result["steps"] == crowded_conditions.steps(task.spec)
    assert crowded_conditions.steps(task.spec) < task.spec.epochs * -(-task.train.pictures // 8), "nothing was empty"


def test_crowds_are_there_to_be_ignored(crowded_conditions: Conditions) -> None:
    seen = training_set(crowded_conditions, "fcos")
    annotations = json.loads(crowded_conditions.dataset.splits["train"].annotations.read_text())["annotations"]
    kept = {seen.get_data_info(i)["img_id"] for i in range(len(seen))}
    crowds = sum(item["iscrowd"] for item in annotations if item["image_id"] in kept)
    assert crowds > 0
    samples = [seen[i]["data_samples"] for i in range(len(seen))]
    assert sum(len(sample.ignored_instances) for sample in samples) == crowds
    assert (
        sum(len(sample.gt_instances) for sample in samples)
        == sum(item["image_id"] in kept for item in annotations) - crowds
    )

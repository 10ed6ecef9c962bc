"""A run that diverges: an AP like any other, and a word about it."""

import dataclasses
import math
from collections.abc import Callable

import pytest
import torch
from short_runs import result_of, steps, weights

from workspace.journal import JournalReader
from workspace.orchestrator.runs import RunRecord
from workspace.precision import FP32, LossScale, Precision
from workspace.spec import CHECKPOINT
from workspace.training import run
from workspace.training.task import Task

MakeTask = Callable[..., Task]


def at_rate(task: Task, lr: float) -> Task:
    recipe = dataclasses.replace(task.spec.recipe, lr=lr, warmup_steps=0, clip_norm=None)
    return dataclasses.replace(task, spec=dataclasses.replace(task.spec, recipe=recipe))


@pytest.mark.parametrize("precision", [FP32, Precision(name="bf16")])
def test_a_run_whose_weights_are_lost_ends_at_once_with_nothing(precision: Precision, make_task: MakeTask) -> None:
    task = at_rate(make_task(precision=precision, epochs=40), 1e30)
    run.train(task)
    result = result_of(task)
    trained = steps(task.folder)
    assert result["steps"] == len(trained) < 40
    assert not math.isfinite(trained[-1]["train/loss"])
    assert result["diverged"] == f"the weights were not finite after {len(trained)} steps"
    assert (result["ap"], result["metrics"]) == (0.0, {"coco/bbox_mAP": 0.0})
    assert not all(bool(torch.isfinite(tensor).all()) for tensor in weights(task.folder).values())
    evaluated, ended = list(JournalReader(task.folder).read())[-2:]
    assert (evaluated["kind"], evaluated["step"], evaluated["metrics"]) == ("eval", len(trained), result["metrics"])
    assert (ended["kind"], ended["status"]) == ("end", "finished")
    assert not (task.folder / CHECKPOINT).exists()
    assert RunRecord.load(task.folder).diverged == result["diverged"]


def test_a_run_whose_every_step_was_skipped_trains_to_its_end(make_task: MakeTask) -> None:
    huge = Precision(name="fp16", loss_scale=LossScale(policy="static", init=2.0**60))
    task = make_task(precision=huge, epochs=2)
    run.train(task)
    result = result_of(task)
    assert (result["steps"], result["skipped_steps"]) == (6, 6)
    assert result["diverged"] == "every step of its last epoch overflowed and was skipped"


def test_steps_that_fp16_skips_on_its_way_are_no_divergence(make_task: MakeTask) -> None:
    task = make_task(precision=Precision(name="fp16", loss_scale=LossScale(init=2.0**20)), epochs=5)
    run.train(task)
    result = result_of(task)
    assert 0 < result["skipped_steps"] < result["steps"]
    assert result["diverged"] is None

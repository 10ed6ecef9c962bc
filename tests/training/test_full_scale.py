"""The full variants at their full input size: a step or two of each on two pictures, from random weights."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_splits import first_pictures

from workspace.detectors import DETECTORS, detector
from workspace.journal import JournalReader
from workspace.precision import FP32, LossScale, Precision
from workspace.spec import run_folder
from workspace.training import run
from workspace.training.task import Task

FP16 = Precision(name="fp16", loss_scale=LossScale(policy="static", init=8.0))  # random weights overflow at more
MakeTask = Callable[..., Task]


@pytest.mark.slow
@pytest.mark.parametrize("precision", [FP32, FP16], ids=lambda precision: precision.name)
@pytest.mark.parametrize("name", DETECTORS)
def test_a_full_variant_trains_and_evaluates(
    name: str, precision: Precision, make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    described = detector(name)
    small = make_task(name, precision, epochs=1)
    spec = dataclasses.replace(
        small.spec,
        scale="full",
        config_digest=described.config_digest("full"),
        recipe=dataclasses.replace(described.full.recipe, batch_size=2, epochs=1, warmup_steps=0),
        image_size=None,
    )
    task = dataclasses.replace(
        small,
        spec=spec,
        train=first_pictures(small.train, 2, tmp_path / "train.json"),
        evaluate=first_pictures(small.evaluate, 1, tmp_path / "eval.json"),
        folder=run_folder(tmp_path, spec),
    )
    build = run.build_config

    def from_random_weights(task: Task) -> Any:
        cfg = build(task)
        cfg.model.backbone.init_cfg = None
        return cfg

    monkeypatch.setattr(run, "build_config", from_random_weights)
    run.train(task)

    result = json.loads((task.folder / "result.json").read_text())
    assert result["metric"] == described.metric
    assert result["audit"]["contradictions"] == []
    steps = [event for event in JournalReader(task.folder).read() if event["kind"] == "step"]
    assert len(steps) == described.full.repeat
    assert result["skipped_steps"] < len(steps), "no step was taken"

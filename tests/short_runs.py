"""Runs of a few steps through the worker's own entry, and what they leave."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook

from workspace.datasets import DataSet
from workspace.detectors import detector
from workspace.journal import JournalReader, latest
from workspace.orchestrator.conditions import Conditions
from workspace.precision import Precision
from workspace.spec import run_folder
from workspace.training import run
from workspace.training.runner import RunRunner
from workspace.training.task import Task


def short_task(
    dataset: DataSet,
    name: str,
    precision: Precision,
    work: Path,
    *,
    device: str = "cpu",
    epochs: int = 2,
    seed: int = 0,
) -> Task:
    """A run of a demo detector, evaluated once at its end, on a torch device such as ``npu:1``."""
    kind: Any = device.partition(":")[0]
    given = Conditions(scale="demo", dataset=dataset, embedded=True, device=kind)
    recipe = dataclasses.replace(detector(name).demo.recipe, warmup_steps=2)
    spec = dataclasses.replace(given.spec(name, precision, recipe, seed=seed), epochs=epochs, evaluations=1)
    return Task(
        spec=spec,
        classes=dataset.classes,
        train=dataset.splits["train"],
        evaluate=dataset.splits["eval"],
        folder=run_folder(work, spec),
        devices=(device,),
    )


def result_of(task: Task) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((task.folder / "result.json").read_text())
    return result


def losses(folder: Path) -> list[float]:
    return [metrics["train/loss"] for metrics in steps(folder)]


def steps(folder: Path) -> list[dict[str, float]]:
    """The metrics of each step."""
    return [event["metrics"] for event in latest(JournalReader(folder).read()) if event["kind"] == "step"]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(folder / "model.pth", weights_only=True)["state_dict"]
    return state


def stop_in_epoch(epoch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ends the next run as a kill would, in the middle of that epoch."""

    class Stop(Hook):  # type: ignore[misc]
        def after_train_iter(self, runner: RunRunner, batch_idx: int, *_: Any, **__: Any) -> None:
            if runner.epoch == epoch and batch_idx == 1:
                raise KeyboardInterrupt

    build = run.build_runner

    def stopping(task: Task) -> RunRunner:
        runner = build(task)
        runner.register_hook(Stop())
        return runner

    monkeypatch.setattr(run, "build_runner", stopping)

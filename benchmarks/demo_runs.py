"""Short runs of demo detectors, for benchmarks that compare two ways of running the same thing."""

import dataclasses
from pathlib import Path

from workspace.datasets import open_dataset
from workspace.detectors import detector
from workspace.journal import JournalReader
from workspace.orchestrator.conditions import Conditions
from workspace.precision import FP32, Precision
from workspace.spec import run_folder
from workspace.training.task import Task


def short_task(
    work_dir: Path,
    *,
    name: str = "fcos",
    precision: Precision = FP32,
    epochs: int = 1,
    seed: int = 0,
    group: str = "runs",
) -> Task:
    """A run of so many epochs on the embedded data, evaluated once; runs of another ``group`` share nothing with it."""
    dataset = open_dataset(None, work_dir)
    given = Conditions(scale="demo", dataset=dataset, embedded=True, device="cpu")
    recipe = dataclasses.replace(detector(name).demo.recipe, warmup_steps=20)
    spec = given.spec(name, precision, recipe, seed=seed, evaluate="search")
    spec = dataclasses.replace(spec, epochs=epochs, evaluations=1)
    return Task(
        spec=spec,
        classes=dataset.classes,
        train=dataset.splits["train"],
        evaluate=dataset.splits["search"],
        folder=run_folder(work_dir / group, spec),
        devices=("cpu",),
    )


def step_times(folder: Path, skip: int = 20) -> list[float]:
    """Seconds between consecutive steps of a run, from its journal; the first ``skip`` warm caches."""
    times = [event["time"] for event in JournalReader(folder).read() if event["kind"] == "step"]
    return [after - before for before, after in zip(times[skip:], times[skip + 1 :], strict=False)]

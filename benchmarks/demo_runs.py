"""Short runs of demo detectors, for benchmarks that compare two ways of running the same thing."""

import dataclasses
from pathlib import Path

from workspace.datasets import DataSet, open_dataset
from workspace.detectors import detector
from workspace.journal import JournalReader
from workspace.precision import FP32, Precision
from workspace.spec import DataSpec, RunSpec, run_folder
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
    spec = short_spec(dataset, name=name, precision=precision, epochs=epochs, seed=seed)
    return Task(
        spec=spec,
        classes=dataset.classes,
        train=dataset.splits["train"],
        evaluate=dataset.splits["search"],
        folder=run_folder(work_dir / group, spec),
        devices=("cpu",),
    )


def short_spec(dataset: DataSet, *, name: str, precision: Precision, epochs: int, seed: int) -> RunSpec:
    """The spec of such a run."""
    described = detector(name)
    variant = described.demo
    return RunSpec(
        detector=name,
        scale="demo",
        config_digest=described.config_digest("demo"),
        data=DataSpec(name=dataset.name, digest=dataset.digest, evaluate="search"),
        precision=precision,
        recipe=dataclasses.replace(variant.recipe, warmup_steps=20),
        image_size=variant.image_size,
        epochs=epochs,
        evaluations=1,
        seed=seed,
        device="cpu",
    )


def step_times(folder: Path, skip: int = 20) -> list[float]:
    """Seconds between consecutive steps of a run, from its journal; the first ``skip`` warm caches."""
    times = [event["time"] for event in JournalReader(folder).read() if event["kind"] == "step"]
    return [after - before for before, after in zip(times[skip:], times[skip + 1 :], strict=False)]

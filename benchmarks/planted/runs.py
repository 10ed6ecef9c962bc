"""The runs of the planted causes: their specs, in the house's own words, and their training by its workers."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.planted.causes import Cause
from benchmarks.planted.pictures import write_pictures
from workspace.datasets import open_dataset
from workspace.execution import LocalExecutor
from workspace.orchestrator.conditions import Conditions
from workspace.orchestrator.runs import RunRecord, run_state
from workspace.precision import FP32, Precision
from workspace.spec import Recipe, RunSpec, run_folder
from workspace.training.task import Task, preload, train

EVALUATIONS = 6
_ATTEMPTS = 3
_RECIPE_FIELDS = frozenset(f.name for f in dataclasses.fields(Recipe))
_PRECISION_FIELDS = frozenset(f.name for f in dataclasses.fields(Precision))


@dataclass(frozen=True)
class Job:
    """One run in its role.

    Attributes:
        recipe: ``fp32``, ``default``, or what names the changes.
        changes: of the cause's recipe and precision, by field.
        fidelity: share of the schedule.
    """

    cause: Cause
    recipe: str
    changes: Mapping[str, Any]
    fidelity: float
    seed: int
    split: Literal["search", "eval"]

    @property
    def key(self) -> tuple[str, str, float, str, int]:
        """Tells it from every other job."""
        return self.cause.name, self.recipe, self.fidelity, self.split, self.seed

    def compressed(self, share: float) -> "Job":
        """The same in that share of the schedule."""
        return dataclasses.replace(self, fidelity=share)

    def judged(self, seeds: int) -> list["Job"]:
        """The recipe over the evaluation seeds."""
        return [dataclasses.replace(self, fidelity=1.0, seed=seed, split="eval") for seed in range(seeds)]


def conditions(work_dir: Path) -> Conditions:
    """Those of all planted runs."""
    dataset = open_dataset(write_pictures(work_dir / "pictures"), work_dir)
    return Conditions(scale="demo", dataset=dataset, embedded=False, device="cpu")


def spec_of(job: Job, given: Conditions) -> RunSpec:
    """The job's run."""
    precision, recipe = job.cause.precision, job.cause.recipe
    if job.recipe == "fp32":
        precision, recipe = FP32, job.cause.reference or recipe
    recipe = dataclasses.replace(recipe, **_only(job.changes, _RECIPE_FIELDS))
    precision = dataclasses.replace(precision, **_only(job.changes, _PRECISION_FIELDS))
    assert recipe.steps is not None
    if job.fidelity < 1:
        recipe = dataclasses.replace(
            recipe, steps=round(job.fidelity * recipe.steps), warmup_steps=round(job.fidelity * recipe.warmup_steps)
        )
    spec = given.spec(job.cause.name, precision, recipe, seed=job.seed, evaluate=job.split)
    return dataclasses.replace(spec, evaluations=min(spec.epochs, EVALUATIONS))


def play(jobs: Sequence[Job], given: Conditions, work_dir: Path, *, workers: int) -> None:
    """Trains the jobs in the order given; a run that a kill interrupted goes on from its checkpoint."""
    due: dict[str, tuple[Job, RunSpec]] = {}
    for job in jobs:
        spec = spec_of(job, given)
        due.setdefault(spec.signature, (job, spec))
    print(f"{len(due)} runs to be trained", flush=True)
    attempts: dict[str, int] = {}
    waiting, done, begun = list(due), 0, time.monotonic()
    with LocalExecutor(workers=workers, threads=1, preload=preload(given.device)) as executor:
        running: set[str] = set()
        while waiting or running:
            while waiting and executor.slots_free:
                signature = waiting.pop(0)
                attempts[signature] = attempts.get(signature, 0) + 1
                folder = run_folder(work_dir, due[signature][1])
                executor.start(signature, train, (task_of(due[signature][1], given, folder),), folder / "log.txt")
                running.add(signature)
            for ended in executor.wait():
                running.remove(ended.job_id)
                job, spec = due[ended.job_id]
                folder = run_folder(work_dir, spec)
                if run_state(folder) != "finished" and attempts[ended.job_id] < _ATTEMPTS:
                    waiting.insert(0, ended.job_id)
                    continue
                done += 1
                left = (len(due) - done) * (time.monotonic() - begun) / done
                print(f"[{done}/{len(due)}, {left / 60:.0f} min left] {_line(job, folder)}", flush=True)


def task_of(spec: RunSpec, given: Conditions, folder: Path) -> Task:
    """What a worker is handed for that run."""
    return Task(
        spec=spec,
        classes=given.dataset.classes,
        train=given.dataset.splits["train"],
        evaluate=given.dataset.splits[spec.data.evaluate],
        folder=folder,
        devices=("cpu",),
        keep="last",
    )


def _line(job: Job, folder: Path) -> str:
    name = f"{job.cause.name} {job.recipe} x{job.fidelity:.2f} {job.split} seed {job.seed}"
    if run_state(folder) != "finished":
        return f"{name}: failed, see {folder / 'log.txt'}"
    record = RunRecord.load(folder)
    return f"{name}: {record.ap:.1f} AP, {record.seconds:.1f} s{', diverged' if record.diverged else ''}"


def _only(changes: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in changes.items() if name in names}

"""What the diagnosis says of each planted cause, asked as a user would: of the run that loses, with the defaults.

Where it finds nothing so, it is asked again of the weights that the losing run ended with.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.planted.causes import CAUSES, Cause, register_causes
from benchmarks.planted.runs import Job, conditions, play, spec_of, task_of
from workspace.execution import LocalExecutor
from workspace.search.proposals import Diagnosis, read_diagnosis
from workspace.spec import RunSpec, run_folder
from workspace.training.task import preload

PROPOSALS = 3
"""The first so many are tried."""


@dataclass(frozen=True)
class Asked:
    """A diagnosis beside the truth.

    Attributes:
        named: (kind, where) of its causes, in its order.
        place: of the planted cause among all of them, from 1; ``None`` where it is not named.
    """

    named: Sequence[tuple[str, str]]
    place: int | None


def file_of(cause: Cause, work_dir: Path, *, of_run: bool = False) -> Path:
    """Where the cause's diagnosis is kept; that of the losing run's weights for ``of_run``."""
    return work_dir / "diagnoses" / f"{cause.name}{'.run' if of_run else ''}.json"


def diagnose_all(causes: Sequence[Cause], work_dir: Path, *, workers: int) -> None:
    """Diagnoses those that have not been, each in a process of its own; then those again that nothing was found of."""
    _play([(cause, False) for cause in causes], work_dir, workers=workers)
    nothing = [cause for cause in causes if (content := diagnosis_of(cause, work_dir)) and not content["causes"]]
    given = conditions(work_dir)
    losing = [_losing_run(cause) for cause in nothing if not file_of(cause, work_dir, of_run=True).exists()]
    if without := [job for job in losing if not _weights(spec_of(job, given), work_dir).exists()]:
        play(without, given, work_dir, workers=workers)  # the table may know its AP, and has no weights
    _play([(cause, True) for cause in nothing], work_dir, workers=workers)


def _play(questions: Sequence[tuple[Cause, bool]], work_dir: Path, *, workers: int) -> None:
    due = [(cause, of_run) for cause, of_run in questions if not file_of(cause, work_dir, of_run=of_run).exists()]
    print(f"{len(questions)} causes, {len(due)} of them to be diagnosed", flush=True)
    with LocalExecutor(workers=workers, threads=1, preload=preload("cpu")) as executor:
        running = 0
        while due or running:
            while due and executor.slots_free:
                cause, of_run = due.pop(0)
                log = file_of(cause, work_dir, of_run=of_run).with_suffix(".txt")
                executor.start(cause.name, diagnose_one, (cause.name, work_dir, of_run), log)
                running += 1
            for ended in executor.wait():
                running -= 1
                print(f"{ended.job_id}: {'diagnosed' if ended.exitcode == 0 else 'failed'}", flush=True)


def diagnose_one(name: str, work_dir: Path, of_run: bool) -> None:
    """In a worker: of the cause's default run, from fresh weights or from those that it ended with."""
    import torch

    from workspace.diagnosis import diagnose
    from workspace.training.checkpoints import read_checkpoint

    torch.set_num_threads(1)
    register_causes()
    cause = next(cause for cause in CAUSES if cause.name == name)
    given = conditions(work_dir)
    spec = spec_of(_losing_run(cause), given)
    task = task_of(spec, given, work_dir / "diagnoses" / name)
    weights = read_checkpoint(_weights(spec, work_dir)) if of_run else None
    diagnose(task, weights, say=print).write(file_of(cause, work_dir, of_run=of_run))


def _losing_run(cause: Cause) -> Job:
    return Job(cause, "default", {}, 1.0, 0, "eval")


def _weights(spec: RunSpec, work_dir: Path) -> Path:
    from workspace.training.runner import MODEL

    return run_folder(work_dir, spec) / MODEL


def proposals(cause: Cause, work_dir: Path) -> Diagnosis | None:
    """What the diagnosis proposes, as a search reads it, the last one asked for; ``None`` where there is none yet."""
    for of_run in (True, False):
        file = file_of(cause, work_dir, of_run=of_run)
        if file.exists():
            return read_diagnosis(file)
    return None


def diagnosis_of(cause: Cause, work_dir: Path, *, of_run: bool = False) -> dict[str, Any] | None:
    """The diagnosis file's content; ``None`` where there is none."""
    file = file_of(cause, work_dir, of_run=of_run)
    return json.loads(file.read_text()) if file.exists() else None


def asked(cause: Cause, content: Mapping[str, Any]) -> Asked:
    """A diagnosis file's content against the truth."""
    named = [(found["kind"], found["where"]) for found in content["causes"]]
    places = [place for place, found in enumerate(named, start=1) if names(cause, *found)]
    return Asked(named=named, place=places[0] if places else None)


def names(cause: Cause, kind: str, where: str) -> bool:
    """Whether (kind, where) is the planted cause: for a module, also a part or a method of it."""
    if kind != cause.kind:
        return False
    return where == cause.where or (kind == "module" and where.startswith((f"{cause.where}.", f"{cause.where}:")))

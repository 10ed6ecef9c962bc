"""From an experiment and the command line's settings to a verdict, or to the list of runs that it takes."""

import fcntl
import itertools
import math
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from workspace import devices, execution, tracking
from workspace.datasets import DataSet, open_dataset
from workspace.detectors import detector
from workspace.errors import UserError
from workspace.experiment import Experiment
from workspace.files import write_json
from workspace.orchestrator.display import LiveDisplay, print_plan, result_table
from workspace.orchestrator.listing import list_runs
from workspace.orchestrator.plan import Job, Plan
from workspace.orchestrator.report import Cost, Report, build_report
from workspace.orchestrator.results import write_results
from workspace.orchestrator.settings import Settings
from workspace.orchestrator.sweep import Sweep
from workspace.search import Study, default_url, resolve, study_file
from workspace.spec import RunSpec
from workspace.training.task import Task, train

PRELOAD = ("workspace.training.run",)
"""Imported once, by the process that workers are forked from. Not for NPUs: MMEngine's import touches the device, which
a fork must not inherit."""

_SEARCH_SEED = 0
"""Of the sampler; each trial's own draw is seeded from it and the trial's number."""


_PRUNE_FROM = 0.4
"""Share of a trial's epochs before which none is pruned: early AP ranks recipes badly."""


def play(experiment: Experiment, settings: Settings, json_file: Path | None = None) -> Report:
    """Trains what is not yet trained, judges, writes the results and prints them.

    Raises:
        UserError: what the user can mend; whatever was measured until then is kept and reused.
    """
    console = _console()
    with _alone(settings.work_dir, experiment.name):
        plan = _plan(experiment, settings)
        report = _play(plan, settings, console)
        if json_file is not None:
            write_json(json_file, report.to_json())
    return report


def list_plan(experiment: Experiment, settings: Settings) -> None:
    """Prints every run with its signature, state and expected device time. Starts none, and writes no result."""
    plan = _plan(experiment, settings)
    if _has_search(plan) and _study_is_there(settings):
        with _study(plan, settings) as study:
            listed = list_runs(plan, settings.work_dir, study)
    else:
        listed = list_runs(plan, settings.work_dir, None)
    print_plan(_console(), f"{experiment.name} ({plan.key})", listed)


def _plan(experiment: Experiment, settings: Settings) -> Plan:
    device = devices.resolve(settings.device)
    dataset = open_dataset(settings.data, settings.work_dir)
    effort = experiment.efforts[settings.scale]
    return Plan(
        experiment=experiment,
        scale=settings.scale,
        dataset=dataset,
        embedded=settings.data is None,
        device=device.kind,
        seeds=effort.seeds if settings.seeds is None else settings.seeds,
        trials=effort.trials if settings.trials is None else settings.trials,
    )


def _play(plan: Plan, settings: Settings, console: Console) -> Report:
    device = devices.device(plan.device)
    workers = settings.workers or device.count()
    study = _study(plan, settings) if _has_search(plan) else None
    described = detector(plan.experiment.detector)
    tracking_uri = settings.tracking_uri or tracking.default_uri(settings.work_dir)
    tracker = tracking.Tracker(tracking_uri, plan.experiment.name, settings.work_dir, commit=_commit())
    tracker.start(
        scale=plan.scale,
        data=_tracked(plan.dataset, settings),
        metric=described.metric,
        params={
            "detector": described.name,
            "device": plan.device,
            "margin": plan.margin,
            "recipe": plan.default()[0].spec.config_digest,
        },
        tags={"seeds": plan.seeds, "trials": plan.trials if study else 0},
    )
    preload = () if plan.device == "npu" else PRELOAD
    state: tracking.State = "interrupted"
    try:
        with (
            execution.LocalExecutor(workers=workers, threads=1, preload=preload) as executor,
            LiveDisplay(console, total=_run_count(plan), slots=workers) as display,
        ):

            def launch(job_id: str, spec: RunSpec, folder: Path, slot: int) -> None:
                task = _task(plan.dataset, spec, folder, device.torch_name(slot % device.count()))
                executor.start(job_id, train, (task,), folder / "log.txt")

            sweep = Sweep(
                plan=plan,
                work_dir=settings.work_dir,
                executor=executor,
                slots=workers,
                launch=launch,
                tracker=tracker,
                study=study,
                display=display,
                metric=described.metric,
            )
            report, arms = _phases(plan, sweep, study)
        runs = {name: [(job.spec, sweep.folders[job.spec.signature]) for job in jobs] for name, jobs in arms.items()}
        folder = settings.work_dir / "experiments" / plan.experiment.name / plan.key
        results = write_results(folder, report, runs, tracker, study)
        state = "finished"
    except UserError:
        state = "failed"
        raise
    finally:
        tracker.close(state)
    console.print(result_table(report))
    for line in (*report.sentences, *(f"warning: {r}" for r in report.reservations)):
        console.print(line, highlight=False)
    console.print(f"figure: {results.figure}", highlight=False, soft_wrap=True)
    for command in _viewers(settings, tracking_uri, study):
        console.print(command, highlight=False, soft_wrap=True)
    return report


def _phases(plan: Plan, sweep: Sweep, study: Study | None) -> tuple[Report, Mapping[str, Sequence[Job]]]:
    """Trains all arms and judges them; returns the report and each arm's runs."""
    jobs: dict[str, Sequence[Job]] = {"baseline": plan.baseline(), "default": plan.default()}
    first = (jobs["baseline"], jobs["default"])
    best: Mapping[str, Any] | None = None
    if study is None:
        sweep.play(itertools.chain(*first))
    else:
        sweep.play(itertools.chain(*first, sweep.search()))
        winner = study.best(plan.trials)
        if winner is None:
            raise UserError(f"{plan.experiment.name}: no trial of the search finished; see the logs under runs/")
        best = {"trial": winner.number, "params": winner.labels}
        jobs["tuned"] = plan.confirm(winner.params)
        sweep.play(iter(jobs["tuned"]))
    described = detector(plan.experiment.detector)
    cost = Cost(device_seconds=sweep.device_seconds(), trained=sweep.trained, reused=sweep.reused)
    return build_report(plan, jobs, sweep.records, metric=described.metric, best=best, cost=cost), jobs


def _console() -> Console:
    """The terminal, or 110 columns where there is none, so that tables in a log are whole."""
    return Console() if sys.stdout.isatty() else Console(width=110)


def _has_search(plan: Plan) -> bool:
    return bool(plan.experiment.space) and plan.trials > 0


def _run_count(plan: Plan) -> int:
    return 3 * plan.seeds + plan.trials if _has_search(plan) else 2 * plan.seeds


def _task(dataset: DataSet, spec: RunSpec, folder: Path, device: str) -> Task:
    return Task(
        spec=spec,
        classes=dataset.classes,
        train=dataset.splits["train"],
        evaluate=dataset.splits[spec.data.evaluate],
        folder=folder,
        devices=(device,),
        loader_workers=0 if spec.scale == "demo" else 2,
    )


def _study_url(settings: Settings) -> str:
    return settings.storage or default_url(settings.work_dir)


def _study_is_there(settings: Settings) -> bool:
    """Whether there is a storage to look for the study in; a server's is taken to be there."""
    return settings.storage is not None or study_file(settings.work_dir).exists()


def _study(plan: Plan, settings: Settings) -> Study:
    return Study(
        plan.experiment.name,
        identity=plan.study_identity,
        space=resolve(plan.experiment.space, plan.default_values),
        seed=_SEARCH_SEED,
        prune_from=math.ceil(_PRUNE_FROM * plan.trial(0, {}).spec.epochs),
        url=_study_url(settings),
    )


def _tracked(dataset: DataSet, settings: Settings) -> tracking.DataSet:
    counts = {name: {"pictures": s.pictures, "objects": s.objects} for name, s in dataset.splits.items()}
    return tracking.DataSet(
        name=dataset.name,
        digest=dataset.digest,
        source=str(settings.data.resolve()) if settings.data is not None else "generated",
        profile={"classes": list(dataset.classes), **counts},
    )


def _viewers(settings: Settings, tracking_uri: str, study: Study | None) -> Iterator[str]:
    shown = tracking.redact(tracking_uri)
    if shown.startswith("http"):
        yield f"runs:   {shown}"
    else:
        yield f"runs:   {_program('mlflow')} ui --backend-store-uri {shlex.quote(shown)}"
    if study is not None:
        storage = tracking.redact(_study_url(settings))
        yield f"study:  {_program('optuna-dashboard')} {shlex.quote(storage)}  ({study.name})"


def _program(name: str) -> str:
    """How to call a program of this environment, active in the user's shell or not."""
    is_active = sys.prefix in (os.environ.get("VIRTUAL_ENV"), os.environ.get("CONDA_PREFIX"))
    return name if is_active else str(Path(sys.executable).with_name(name))


def _commit() -> str | None:
    """Commit of the working copy that this code runs from, marked when it has changes; ``None`` outside of git."""
    root = Path(__file__).resolve().parents[2]
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return None
    return described.stdout.strip() or None


@contextmanager
def _alone(work_dir: Path, name: str) -> Iterator[None]:
    """Refuses a second orchestrator of the same experiment in the same work folder."""
    folder = work_dir / "experiments" / name
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise UserError(
                f"{name} is already running in {work_dir} ({lock.read().strip()}); wait for it, stop it, "
                "or use another --work-dir"
            ) from None
        lock.seek(0)
        lock.truncate()
        lock.write(f"pid {os.getpid()} on {socket.gethostname()}")
        lock.flush()
        yield

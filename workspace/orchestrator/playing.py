"""What every question takes to be played: conditions, workers, tracker and display around one loop."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from workspace import devices, execution, tracking
from workspace.datasets import DataSet, open_dataset, subset
from workspace.detectors import detector
from workspace.errors import UserError
from workspace.orchestrator.conditions import Conditions
from workspace.orchestrator.display import LiveDisplay
from workspace.orchestrator.loop import Loop
from workspace.orchestrator.settings import Settings
from workspace.redaction import redact
from workspace.search import Study, default_url, study_file
from workspace.spec import RunSpec
from workspace.training.task import Keep, Task, preload, train


def conditions(settings: Settings, *, trains: bool = True) -> Conditions:
    """Those of a start.

    Args:
        trains: whether runs are to be started, or only to be planned, which needs no device. Neither do runs on a
            cluster, whose workers look at theirs.

    Raises:
        UserError: data or device cannot be used, or there are fewer devices than a run is to train on.
    """
    here = trains and settings.executor == "local"
    device = devices.resolve(settings.device) if here else devices.device(devices.kind(settings.device))
    if here and device.kind != "cpu" and settings.devices_per_run > device.count():
        raise UserError(
            f"{settings.devices_per_run} devices for a run: this machine has {device.count()} {device.kind}"
        )
    dataset, fidelity = open_dataset(settings.data, settings.work_dir), settings.fidelity
    share = float(fidelity.share) if fidelity is not None and fidelity.kind == "data" else None
    return Conditions(
        scale=settings.scale,
        dataset=dataset,
        embedded=settings.data is None,
        device=device.kind,
        part=None if share is None else subset(dataset, share, settings.work_dir),
        devices=settings.devices_per_run,
        usable=here,
    )


def run_slots(given: Conditions, settings: Settings) -> int:
    """Runs at the same time: as many as were asked for, else as there is room for; one where the device is not here.

    What a cluster has room for is asked when it is used, and one until then.
    """
    try:
        return settings.workers or (_groups(given) if settings.executor == "local" else 1)
    except UserError:
        return 1


def _groups(given: Conditions) -> int:
    """Disjoint groups of devices, or cores, that a run each can be trained on."""
    return max(1, devices.device(given.device).count() // given.devices)


def backbone_weights(names: Iterable[str], settings: Settings) -> dict[str, Path]:
    """By detector, the file on this machine that its runs begin with; fetched here, before any worker needs it.

    Args:
        names: of the detectors that are still to be trained.

    Raises:
        UserError: one is not to be had.
    """
    variants = {name: detector(name).variant(settings.scale) for name in dict.fromkeys(names)}
    needed = {name: variant.weights for name, variant in variants.items() if variant.weights is not None}
    if not needed:
        return {}
    from workspace.training.weights import local_weights  # loads torch, which a demo's orchestrator does without

    return {name: local_weights(weights, settings.weights) for name, weights in needed.items()}


@contextmanager
def playing(
    name: str,
    given: Conditions,
    settings: Settings,
    *,
    console: Console,
    runs: int,
    params: Mapping[str, Any],
    tags: Mapping[str, Any],
    weights: Mapping[str, Path],
    study: Study | None = None,
    keeps_going: bool = False,
) -> Iterator[Loop]:
    """A loop with its workers, tracked under that name; on leaving, all that was tracked is shipped.

    Args:
        runs: that are expected.
        params: of the tracked parent: what never changes between two starts; what may, belongs in ``tags``.
        weights: see `backbone_weights`.
    """
    device = devices.device(given.device)
    groups = _groups(given) if settings.executor == "local" else 1  # Ray shows each worker its own devices alone
    tracker = tracking.Tracker(tracking_uri(settings), name, settings.work_dir, commit=commit())
    tracker.start(
        scale=given.scale,
        data=tracked_data(given.dataset, settings),
        params={**params, "device": given.device},
        tags=tags,
    )
    state: tracking.State = "interrupted"
    try:
        with (
            _executor(given, settings, weights) as executor,
            LiveDisplay(console, total=runs, slots=executor.slots_free) as display,
        ):

            def names(slot: int) -> tuple[str, ...]:
                first = slot % groups * given.devices
                return tuple(device.torch_name(first + index) for index in range(given.devices))

            def launch(job_id: str, spec: RunSpec, folder: Path, slot: int) -> None:
                start_from = weights.get(spec.detector)
                task = _task(given.dataset_of(spec), spec, folder, names(slot), weights=start_from, keep=settings.keep)
                executor.start(job_id, train, (task,), folder / "log.txt")

            loop = Loop(
                conditions=given,
                work_dir=settings.work_dir,
                executor=executor,
                slots=executor.slots_free,
                launch=launch,
                place=(lambda slot: ", ".join(names(slot))) if settings.executor == "local" else None,
                tracker=tracker,
                study=study,
                display=display,
                keeps_going=keeps_going,
            )
            yield loop
        state = "failed" if loop.failures else "finished"
    except UserError:
        state = "failed"
        raise
    finally:
        tracker.close(state)


def terminal() -> Console:
    """The terminal, or 110 columns where there is none, so that tables in a log are whole."""
    return Console() if sys.stdout.isatty() else Console(width=110)


def tracking_uri(settings: Settings) -> str:
    return settings.tracking_uri or tracking.default_uri(settings.work_dir)


def study_url(settings: Settings) -> str:
    return settings.storage or default_url(settings.work_dir)


def study_is_there(settings: Settings) -> bool:
    """Whether there is a storage to look for a study in; a server's is taken to be there."""
    return settings.storage is not None or study_file(settings.work_dir).exists()


def viewers(settings: Settings, studies: Iterable[Study] = ()) -> Iterator[str]:
    """How to look at what was tracked."""
    shown = redact(tracking_uri(settings))
    if shown.startswith("http"):
        yield f"runs:   {shown}"
    else:
        yield f"runs:   {_program('mlflow')} ui --backend-store-uri {shlex.quote(shown)}"
    names = ", ".join(study.name for study in studies)
    if names:
        storage = redact(study_url(settings))
        yield f"study:  {_program('optuna-dashboard')} {shlex.quote(storage)}  ({names})"


def _executor(
    given: Conditions, settings: Settings, weights: Mapping[str, Path]
) -> AbstractContextManager[execution.Executor]:
    if settings.executor == "local":
        return execution.LocalExecutor(workers=run_slots(given, settings), threads=1, preload=preload(given.device))
    return execution.RayExecutor(
        kind=given.device,
        devices=given.devices,
        threads=1,
        work_dir=settings.work_dir,
        reads=[path for path in (settings.data, *weights.values()) if path is not None],
        workers=settings.workers,
        address=settings.address,
    )


def _task(
    dataset: DataSet, spec: RunSpec, folder: Path, names: tuple[str, ...], *, weights: Path | None, keep: Keep
) -> Task:
    return Task(
        spec=spec,
        classes=dataset.classes,
        train=dataset.splits["train"],
        evaluate=dataset.splits[spec.data.evaluate],
        folder=folder,
        devices=names,
        loader_workers=0 if spec.scale == "demo" else 2,
        weights=weights,
        keep=keep,
    )


def tracked_data(dataset: DataSet, settings: Settings) -> tracking.DataSet:
    """The data set as tracking shows it."""
    counts = {name: {"pictures": s.pictures, "objects": s.objects} for name, s in dataset.splits.items()}
    return tracking.DataSet(
        name=dataset.name,
        digest=dataset.digest,
        source=str(settings.data.resolve()) if settings.data is not None else "generated",
        profile={"classes": list(dataset.classes), **counts},
    )


def _program(name: str) -> str:
    """How to call a program of this environment, active in the user's shell or not."""
    is_active = sys.prefix in (os.environ.get("VIRTUAL_ENV"), os.environ.get("CONDA_PREFIX"))
    return name if is_active else str(Path(sys.executable).with_name(name))


def commit() -> str | None:
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

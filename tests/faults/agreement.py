"""Whether a sweep ended as if nothing had happened, and whether all that it left says the same."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import faults
import optuna
import pandas as pd
import synthetic_training
from synthetic_runs import answer_of, without_cost

from workspace.journal import JournalReader, latest
from workspace.search import default_url
from workspace.spec import RunSpec
from workspace.tracking.store import default_uri
from workspace.tracking.tables import curves_table, runs_table

EXPERIMENT = "fcos_fp16_sweep"
METRIC = "coco/bbox_mAP"
STATES = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "failed"}
Event = dict[str, Any]


def differences(undisturbed: Path, work: Path) -> list[str]:
    """Where a sweep of one worker is not, to the bit and in every order, what the undisturbed one is."""
    found = []
    if without_cost(answer_of(work)) != without_cost(answer_of(undisturbed)):
        found.append("the answer")
    expected, there = trials(undisturbed), trials(work)
    found += [f"trial {a['number']}" for a, b in zip(expected, there, strict=False) if a != b]
    if len(expected) != len(there):
        found.append(f"{len(there)} trials, not {len(expected)}")
    folders, own = run_folders(undisturbed), run_folders(work)
    found += [f"run {name} of only one of them" for name in folders.keys() ^ own.keys()]
    pruned = {trial["attrs"]["signature"] for trial in expected if trial["state"] == "PRUNED"}  # at no certain step
    for name in folders.keys() & own.keys() - pruned:
        if history(folders[name]) != history(own[name]):
            found.append(f"the journal of run {name}")
    columns = ["signature", "phase", "arm", "trial", "state", "AP", "seconds"]
    tables = [runs_table(default_uri(folder), EXPERIMENT)[columns] for folder in (undisturbed, work)]
    finished = [table[table["state"] == "finished"].reset_index(drop=True) for table in tables]
    if not finished[0].equals(finished[1]) or not tables[0][columns[:5]].equals(tables[1][columns[:5]]):
        found.append("the table of runs in MLflow")
    return found


def contradictions(work: Path) -> list[str]:
    """Where the folders, the study and MLflow of a finished sweep contradict each other, or the formula.

    Every trial and every run is compared with its own replay: what the formula gives for its spec.
    """
    return [*_of_runs(work), *_of_trials(work), *_of_tracking(work)]


def trials(work: Path) -> list[dict[str, Any]]:
    """The study's trials that were asked, whole."""
    (name,) = optuna.get_all_study_names(default_url(work))
    stored = optuna.load_study(study_name=name, storage=default_url(work)).get_trials()
    return [
        {
            "number": trial.number,
            "state": trial.state.name,
            "value": trial.value,
            "params": trial.params,
            "reports": trial.intermediate_values,
            "attrs": trial.user_attrs,
        }
        for trial in stored
        if trial.state.name != "WAITING"
    ]


def run_folders(work: Path) -> dict[str, Path]:
    return {folder.name: folder for folder in (work / "runs").iterdir()}


def history(folder: Path) -> list[Event]:
    """What a run did, as if it had never been interrupted."""
    events = [
        {key: value for key, value in event.items() if key != "time"} for event in latest(JournalReader(folder).read())
    ]
    return [event for event in events if event["kind"] in ("step", "eval")]


def _of_runs(work: Path) -> Iterator[str]:
    for name, folder in run_folders(work).items():
        spec = RunSpec.from_json(json.loads((folder / "spec.json").read_text()))
        if spec.signature != name:
            yield f"run {name} holds the spec of {spec.signature}"
        events = list(JournalReader(folder).read())
        ends = [index for index, event in enumerate(events) if event.get("status") == "finished"]
        if ends and ends != [len(events) - 1]:
            yield f"run {name} was trained again"
        for event in events:
            if event["kind"] == "eval" and event["metrics"][METRIC] != _formula(spec, event["epoch"]) / 100:
                yield f"run {name} was evaluated otherwise at epoch {event['epoch']}"
        if left := [file.name for file in folder.iterdir() if file.name.startswith(".")]:
            yield f"run {name} still has {', '.join(left)}"
        result = folder / "result.json"
        if result.exists():
            if json.loads(result.read_text())["ap"] != _formula(spec, spec.epochs):
                yield f"run {name} has another AP than its replay"
            steps = [event["step"] for event in history(folder) if event["kind"] == "step"]
            if steps != list(range(1, spec.epochs * synthetic_training.STEPS_PER_EPOCH + 1)):
                yield f"run {name} has lost steps of its journal, or has them twice"


def _of_trials(work: Path) -> Iterator[str]:
    faults.check_database(work / "optuna.db")
    folders = run_folders(work)
    for trial in trials(work):
        name = f"trial {trial['number']}"
        folder = folders.get(trial["attrs"].get("signature", ""))
        if folder is None:
            yield f"{name} has no run"
            continue
        spec = RunSpec.from_json(json.loads((folder / "spec.json").read_text()))
        if trial["state"] not in STATES:
            yield f"{name} is {trial['state']}"
        if any(value != 100 * (_formula(spec, epoch) / 100) for epoch, value in trial["reports"].items()):
            yield f"{name} was told other values than its replay has"
        if trial["state"] == "COMPLETE" and trial["value"] != _formula(spec, spec.epochs):
            yield f"{name} has another objective than its replay"
        if (trial["state"] == "COMPLETE") != (folder / "result.json").exists() and trial["state"] != "PRUNED":
            yield f"{name} is {trial['state']}, and its folder says otherwise"


def _of_tracking(work: Path) -> Iterator[str]:
    faults.check_database(work / "mlflow" / "mlflow.db")
    table = runs_table(default_uri(work), EXPERIMENT)
    folders = run_folders(work)
    if sorted(set(table["signature"])) != sorted(folders):
        yield "MLflow and the work folder do not have the same runs"
    searched = table[table["phase"] == "search"].set_index("trial")
    for trial in trials(work):
        state = searched["state"].get(trial["number"])
        if state != STATES.get(trial["state"]):
            yield f"trial {trial['number']} is {trial['state']} in Optuna and {state} in MLflow"
    losses = curves_table(default_uri(work), EXPERIMENT, metrics=["train/loss"])
    for signature, state, ap in table[["signature", "state", "AP"]].drop_duplicates().itertuples(index=False):
        result = folders[signature] / "result.json"
        if (state == "finished") != result.exists() and state != "pruned":
            yield f"run {signature} is {state} in MLflow, and its folder says otherwise"
        if state != "finished":
            continue
        if not math.isclose(ap, json.loads(result.read_text())["ap"], rel_tol=1e-12):
            yield f"run {signature} has another AP in MLflow than in its folder"
        expected = {e["step"]: e["metrics"]["train/loss"] for e in history(folders[signature]) if e["kind"] == "step"}
        if _curve(losses, signature) != expected:
            yield f"run {signature} has another curve in MLflow than in its journal"


def _curve(losses: pd.DataFrame, signature: str) -> dict[int, float]:
    own = losses[losses["signature"] == signature].drop_duplicates()
    return dict(zip(own["step"].tolist(), own["value"].tolist(), strict=True))


def _formula(spec: RunSpec, epoch: int) -> float:
    task: Any = SimpleNamespace(spec=spec)
    return synthetic_training.average_precision(task, epoch / spec.epochs)

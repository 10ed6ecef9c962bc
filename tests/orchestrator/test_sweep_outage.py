"""A sweep whose tracking server is killed while it runs: nothing waits, and all of it is there at the end."""

import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import store_contents
import synthetic_runs
from real_servers import free_port, mlflow_server
from synthetic_runs import answer_of, play, without_cost

from workspace.journal import JournalReader, latest
from workspace.tracking.sync import sync

SWEEP = "fcos_fp16_sweep"
EFFORT = ("--trials", "20", "--seeds", "3")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),  # of MLflow's models
]


def finished_runs(work: Path) -> int:
    return len(list(work.glob("runs/*/result.json")))


def wait_for(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def of_finished(contents: dict[tuple[str, str], dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """Without clocks, and without pruned trials, which end a few steps after they are told to."""
    return {
        key: {name: run[name] for name in ("params", "points", "child")}
        for key, run in contents.items()
        if run["status"] == "FINISHED"
    }


def losses(work: Path, signature: str) -> list[tuple[int, str]]:
    events = latest(JournalReader(work / "runs" / signature).read())
    return [(event["step"], repr(event["metrics"]["train/loss"])) for event in events if event["kind"] == "step"]


def test_a_server_that_is_killed_twice_has_everything_at_the_end(tmp_path: Path) -> None:
    work, port = tmp_path / "work", free_port()
    uri = f"http://127.0.0.1:{port}"
    options = (*EFFORT, "--tracking-uri", uri, "--json", str(work.with_suffix(".json")))
    sweep = subprocess.Popen(
        synthetic_runs.command(SWEEP, work, *options), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    ends = iter((3, 9))
    for _ in range(2):
        with mlflow_server(tmp_path, port):
            more = next(ends)
            wait_for(lambda more=more: finished_runs(work) >= more)
            assert sweep.poll() is None
        done = finished_runs(work)
        wait_for(lambda done=done: finished_runs(work) > done)  # training does not wait for the server
        assert sweep.poll() is None
    with mlflow_server(tmp_path, port):
        said = sweep.communicate()[1]
        assert sweep.returncode == 0, said
        assert "cannot be reached; training goes on" in said
        assert "lacks" not in said
        tracked = store_contents.contents(uri, tmp_path / "tracked")

    undisturbed = tmp_path / "undisturbed"
    play(SWEEP, undisturbed, *EFFORT)
    embedded = store_contents.contents(f"sqlite:///{undisturbed}/mlflow/mlflow.db", tmp_path / "embedded")
    assert without_cost(answer_of(work)) == without_cost(answer_of(undisturbed))
    assert of_finished(tracked) == of_finished(embedded)
    children = [run for run in tracked.values() if run["child"]]
    assert len(children) == len(list(work.glob("runs/*")))
    for run in children:
        assert run["points"].get("train/loss", []) == losses(work, run["tags"]["signature"])

    copy, empty = tmp_path / "another machine", tmp_path / "empty"
    shutil.copytree(work, copy)
    shutil.rmtree(work)
    empty.mkdir()
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    with mlflow_server(empty, port):
        sync(copy, uri, SWEEP)
        assert store_contents.contents(uri, tmp_path / "synced") == tracked
        before = store_contents.rows(empty / "server.db"), store_contents.files(empty / "files")
        assert sync(copy, uri, SWEEP).points == 0
        assert (store_contents.rows(empty / "server.db"), store_contents.files(empty / "files")) == before

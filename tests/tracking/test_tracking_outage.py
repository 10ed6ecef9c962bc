"""A tracking server that is not there, goes away and comes back: training never waits for it, and nothing is lost."""

import logging
import math
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tracked_runs import METRIC, START, FakeRun, children, curve, parents, track

from workspace.tracking.record import Publication

MakeRun = Callable[..., FakeRun]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def mlflow_server(folder: Path, port: int) -> Iterator[None]:
    """A real server on loopback, over a store that outlives it."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder}/server.db",
        "--artifacts-destination",
        str(folder / "files"),
    ]
    env = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    process = subprocess.Popen(
        command, env=env, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 120
        while True:
            assert process.poll() is None
            assert time.monotonic() < deadline
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
                break
            except OSError:
                time.sleep(0.2)
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_without_a_server_training_goes_on(work_dir: Path, make_run: MakeRun, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    run = make_run()
    run.train(1, 20)
    run.end(at=START + 60)
    tracker = track(f"http://someone:hunter2@127.0.0.1:{free_port()}", work_dir, patience=2.0)
    begin = time.monotonic()
    tracker.follow(run.spec, name="baseline seed 0", metric=METRIC, tags={})
    tracker.settle(run.spec.signature, "finished")
    tracker.publish(Publication(metrics={"gap": 0.1}))
    assert time.monotonic() - begin < 0.5
    deadline = time.monotonic() + 30
    while not caplog.records:  # the import of MLflow comes first
        assert time.monotonic() < deadline
        time.sleep(0.05)
    begin = time.monotonic()
    tracker.close("finished")
    assert time.monotonic() - begin < 5.0

    first, last = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "cannot be reached" in first
    assert "lacks 1 of 1 runs" in last
    assert last == tracker.unshipped
    assert "hunter2" not in caplog.text
    assert "someone" not in caplog.text


@pytest.mark.slow
def test_a_server_that_comes_back_gets_everything_once(
    work_dir: Path, tmp_path: Path, make_run: MakeRun, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    first, second = make_run(seed=0), make_run(seed=1)
    first.train(1, 50)
    with mlflow_server(tmp_path, port):
        tracker = track(uri, work_dir, patience=2.0)
        tracker.follow(first.spec, name="seed 0", metric=METRIC, tags={})
        wait_for(lambda: children(uri) and len(curve(uri, children(uri)[0], "train/loss")) == 50)
    # The server is gone: the run goes on and ends, another one starts.
    first.train(51, 100)
    first.end(at=START + 60)
    tracker.settle(first.spec.signature, "finished")
    second.train(1, 30)
    tracker.follow(second.spec, name="seed 1", metric=METRIC, tags={})
    wait_for(lambda: "cannot be reached" in caplog.text)
    with mlflow_server(tmp_path, port):
        wait_for(lambda: "answers again" in caplog.text)
    tracker.close("interrupted")
    assert tracker.unshipped is not None

    with mlflow_server(tmp_path, port):
        second.train(31, 40)
        second.write("step", time=START + 50, step=41, epoch=4, metrics={"train/loss": math.nan})
        second.end(at=START + 60)
        tracker = track(uri, work_dir)
        for run in (first, second):
            tracker.follow(run.spec, name=f"seed {run.spec.seed}", metric=METRIC, tags={})
            tracker.settle(run.spec.signature, "finished")
        tracker.close("finished")
        assert tracker.unshipped is None
        assert len(parents(uri)) == 1
        by_seed = {run.data.tags["seed"]: run for run in children(uri)}
        assert {run.info.status for run in by_seed.values()} == {"FINISHED"}
        assert curve(uri, by_seed["0"], "train/loss") == [(step, 3.0 / step) for step in range(1, 101)]
        told = curve(uri, by_seed["1"], "train/loss")
        assert told[:-1] == [(step, 3.0 / step) for step in range(1, 41)]
        assert math.isnan(told[-1][1])
        assert len(list((tmp_path / "files").rglob("result.json"))) == 2


def wait_for(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)

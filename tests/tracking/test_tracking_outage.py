"""A tracking server that is not there, goes away and comes back: training never waits for it, and nothing is lost."""

import logging
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from real_servers import IllServer, PostgreSQL, free_port, mlflow_server
from tracked_runs import METRIC, START, FakeRun, children, curve, parents, track

from workspace.tracking.record import Publication
from workspace.tracking.sync import sync

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")  # of MLflow's models
MakeRun = Callable[..., FakeRun]


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


@pytest.mark.parametrize("answers", [True, False], ids=["500", "hangs"])
def test_an_ill_server_costs_patience_and_nothing_else(
    answers: bool, work_dir: Path, uri: str, make_run: MakeRun, caplog: pytest.LogCaptureFixture
) -> None:
    run = make_run()
    run.train(1, 20)
    run.end(at=START + 60)
    with IllServer(answers=answers) as ill:
        tracker = track(ill.uri, work_dir, patience=2.0)
        begin = time.monotonic()
        tracker.follow(run.spec, name="seed 0", metric=METRIC, tags={})
        tracker.settle(run.spec.signature, "finished")
        assert time.monotonic() - begin < 0.5
        wait_for(lambda: ill.asked)
        begin = time.monotonic()
        tracker.close("finished")
        assert time.monotonic() - begin < 5.0
        assert tracker.unshipped is not None
        assert "lacks 1 of 1 runs" in tracker.unshipped
    assert sync(work_dir, uri, "fcos_fp16_sweep").runs == 1
    assert curve(uri, children(uri)[0], "train/loss") == [(step, 3.0 / step) for step in range(1, 21)]


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


@pytest.mark.slow
def test_a_database_that_is_killed_gets_everything_when_it_is_back(
    work_dir: Path, make_run: MakeRun, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    run = make_run()
    run.train(1, 50)
    with tempfile.TemporaryDirectory(prefix="postgresql-") as folder:
        server = PostgreSQL(Path(folder))
        uri = f"{server.url}/mlflow"
        tracker = track(uri, work_dir)
        tracker.follow(run.spec, name="seed 0", metric=METRIC, tags={})
        wait_for(lambda: "cannot be reached" in caplog.text)  # before its first answer
        with server.running(["mlflow"]):
            wait_for(lambda: "answers again" in caplog.text)
            assert curve(uri, children(uri)[0], "train/loss") == [(step, 3.0 / step) for step in range(1, 51)]
        caplog.clear()
        run.train(51, 100)
        run.end(at=START + 60)
        tracker.settle(run.spec.signature, "finished")
        wait_for(lambda: "cannot be reached" in caplog.text)  # over connections that were open
        with server.running():
            tracker.close("finished")
            assert tracker.unshipped is None
            (stored,) = children(uri)
            assert stored.info.status == "FINISHED"
            assert curve(uri, stored, "train/loss") == [(step, 3.0 / step) for step in range(1, 101)]


def wait_for(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)

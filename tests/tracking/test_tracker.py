"""The tracker on MLflow's real SQLite store: what stands there after starts, kills and restarts."""

import logging
import math
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tracked_runs import DATA, FP16, METRIC, START, FakeRun, children, curve, parents, points, track

from workspace.tracking import tracker as tracker_module
from workspace.tracking.record import Publication, State
from workspace.tracking.runs import STATUS
from workspace.tracking.store import connect, default_uri
from workspace.tracking.tracker import Tracker

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")  # of MLflow's models
MakeRun = Callable[..., FakeRun]


def sweep(uri: str, work_dir: Path, *runs: FakeRun, state: State = "finished") -> Tracker:
    """One start of an orchestrator that tracks these runs to their end."""
    tracker = track(uri, work_dir)
    for run in runs:
        tracker.follow(
            run.spec,
            name=f"baseline seed {run.spec.seed}",
            metric=METRIC,
            tags={"phase": "baseline", "arm": "baseline"},
        )
        tracker.settle(run.spec.signature, state)
    tracker.close("finished")
    return tracker


def finished(run: FakeRun, steps: int = 100) -> FakeRun:
    run.train(1, steps)
    run.end(at=START + 60)
    return run


def test_a_finished_run_is_tracked_with_all_that_identifies_it(uri: str, work_dir: Path, make_run: MakeRun) -> None:
    run = finished(make_run(seed=3, precision=FP16))
    assert sweep(uri, work_dir, run).unshipped is None

    (parent,), (child,) = parents(uri), children(uri)
    assert parent.info.status == child.info.status == "FINISHED"
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert child.info.run_name == "baseline seed 3"
    expected = {
        **{"signature": run.spec.signature, "phase": "baseline", "arm": "baseline", "precision": "fp16", "seed": "3"},
        **{"state": "finished", "device": "cpu", "mlflow.source.git.commit": "c0ffee", "version.torch": "2.13.0"},
    }
    assert expected.items() <= child.data.tags.items()
    expected = {"lr": "0.003", "clip_norm": "10.0", "loss_scale": "dynamic 65536/2000", "fp32_islands": "losses"}
    assert expected.items() <= child.data.params.items()
    assert len(child.data.params) < 20
    assert child.inputs is not None
    (data,) = child.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("shapes", DATA.digest[:36])
    assert [(tag.key, tag.value) for tag in data.tags] == [("mlflow.data.context", "eval")]
    assert (child.info.start_time, child.info.end_time) == (START * 1000, (START + 60) * 1000)


def test_every_step_and_evaluation_is_a_point(uri: str, work_dir: Path, make_run: MakeRun) -> None:
    sweep(uri, work_dir, finished(make_run()))
    (child,) = children(uri)
    assert curve(uri, child, "train/loss") == [(step, 3.0 / step) for step in range(1, 101)]
    assert curve(uri, child, METRIC) == [(step, 0.5 + step / 10_000) for step in range(10, 101, 10)]
    assert curve(uri, child, "AP") == [(s, pytest.approx(50 + s / 100)) for s in range(10, 101, 10)]
    assert child.data.metrics["seconds"] == 61.5


def test_not_a_number_and_infinity_reach_the_store(uri: str, work_dir: Path, make_run: MakeRun) -> None:
    run = make_run()
    run.write("step", time=START, step=1, epoch=0, metrics={"train/loss": math.nan, "precision/grad_norm": math.inf})
    run.write("end", time=START + 1, status="failed", reason="loss is nan")
    sweep(uri, work_dir, run, state="failed")
    (child,) = children(uri)
    assert math.isnan(curve(uri, child, "train/loss")[0][1])
    assert curve(uri, child, "precision/grad_norm")[0][1] > 1e308
    assert child.data.tags["reason"] == "loss is nan"


def test_files_of_a_run_are_artifacts_in_the_work_folder(uri: str, work_dir: Path, make_run: MakeRun) -> None:
    sweep(uri, work_dir, finished(make_run()))
    (child,) = children(uri)
    names = {artifact.path for artifact in connect(uri).list_artifacts(child.info.run_id)}
    assert names == {"spec.json", "config.py", "audit.json", "result.json"}
    assert len(list((work_dir / "mlflow" / "artifacts").rglob("result.json"))) == 1


@pytest.mark.parametrize("state", ["finished", "failed", "pruned"])
def test_trial_state_and_run_status_agree(uri: str, work_dir: Path, make_run: MakeRun, state: State) -> None:
    sweep(uri, work_dir, finished(make_run()), state=state)
    (child,) = children(uri)
    assert (child.data.tags["state"], child.info.status) == (state, STATUS[state])


def test_a_restart_finds_parent_and_children_again(uri: str, work_dir: Path, make_run: MakeRun) -> None:
    runs = [finished(make_run(seed=seed), steps=20) for seed in range(3)]
    sweep(uri, work_dir, *runs[:2])
    before = {run.info.run_id for run in children(uri)}
    sweep(uri, work_dir, *runs)
    assert len(parents(uri)) == 1
    assert len(children(uri)) == 3
    assert before < {run.info.run_id for run in children(uri)}
    assert {run.data.tags["mlflow.parentRunId"] for run in children(uri)} == {parents(uri)[0].info.run_id}


@pytest.mark.parametrize("many", [0, 50])
def test_shipping_again_changes_nothing(
    many: int, uri: str, work_dir: Path, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the store is asked for each run or for all that it has."""
    monkeypatch.setattr(tracker_module, "_MANY", many)
    runs = [finished(make_run(seed=seed), steps=30) for seed in range(2)]
    sweep(uri, work_dir, *runs)
    told = points(uri), [run.data.tags | run.data.params for run in children(uri)]
    sweep(uri, work_dir, *runs)
    assert (points(uri), [run.data.tags | run.data.params for run in children(uri)]) == told
    assert [len(run.inputs.dataset_inputs) for run in children(uri) if run.inputs] == [1, 1]


def test_another_experiment_gets_its_own_child_of_a_shared_run(uri: str, work_dir: Path, make_run: MakeRun) -> None:
    run = finished(make_run(), steps=10)
    sweep(uri, work_dir, run)
    tracker = Tracker(uri, "fcos_seed_noise", work_dir, interval=0.05)
    tracker.start(scale="demo", data=DATA, params={}, tags={})
    tracker.follow(run.spec, name="baseline seed 0", metric=METRIC, tags={})
    tracker.settle(run.spec.signature, "finished")
    tracker.close("finished")
    client = connect(uri)
    noise = client.get_experiment_by_name("fcos_seed_noise")
    assert noise is not None
    signatures = [r.data.tags.get("signature") for r in client.search_runs([noise.experiment_id])]
    assert sorted(signatures, key=str) == sorted([run.spec.signature, None], key=str)
    assert len(children(uri)) == 1


def test_a_run_is_shipped_while_it_trains(uri: str, work_dir: Path, make_run: MakeRun) -> None:
    run = make_run()
    run.train(1, 15)
    tracker = track(uri, work_dir)
    tracker.follow(run.spec, name="trial 1", metric=METRIC, tags={"trial": 1})
    child = wait_for(lambda: next(iter(children(uri)), None))
    wait_for(lambda: len(curve(uri, child, "train/loss")) == 15)
    assert child.info.status == "RUNNING"
    run.train(16, 30)
    wait_for(lambda: len(curve(uri, child, "train/loss")) == 30)
    tracker.settle(run.spec.signature, "pruned")
    tracker.close("finished")
    assert children(uri)[0].info.status == "KILLED"


@pytest.mark.parametrize("shipped_before_kill", [False, True])
def test_steps_trained_again_after_a_kill_stand_once(
    uri: str, work_dir: Path, make_run: MakeRun, shipped_before_kill: bool
) -> None:
    """Killed at step 18, resumed from the checkpoint at 10; on a CPU the second attempt has the same values."""
    run = make_run()
    run.train(1, 18)
    if shipped_before_kill:
        killed = track(uri, work_dir)
        killed.follow(run.spec, name="baseline seed 0", metric=METRIC, tags={})
        killed.close("interrupted")
        assert (children(uri)[0].data.tags["state"], children(uri)[0].info.status) == ("interrupted", "KILLED")
    run.train(11, 40, at=START + 1000)
    run.end(at=START + 2000)
    sweep(uri, work_dir, run)
    (child,) = children(uri)
    assert curve(uri, child, "train/loss") == [(step, 3.0 / step) for step in range(1, 41)]
    assert [step for step, _ in curve(uri, child, "AP")] == [10, 20, 30, 40]
    assert child.info.status == "FINISHED"


def test_of_values_that_differ_the_last_attempt_counts(uri: str, work_dir: Path, make_run: MakeRun) -> None:
    """Where arithmetic is not deterministic: what was not shipped before the kill comes from the last attempt."""
    run = make_run()
    run.train(1, 18)
    run.train(11, 20, at=START + 1000, shift=0.25)
    sweep(uri, work_dir, run)
    (child,) = children(uri)
    expected = [(step, 3.0 / step + (0.25 if step > 10 else 0.0)) for step in range(1, 21)]
    assert curve(uri, child, "train/loss") == expected


def test_an_evaluation_waits_for_its_checkpoint(uri: str, work_dir: Path, make_run: MakeRun) -> None:
    """It was trained and judged again after the kill, so the tracked AP must be the one in the run's result."""
    run = make_run()
    run.train(1, 10)
    run.train(11, 19)
    run.evaluate(19, ap=0.3)
    killed = track(uri, work_dir)
    killed.follow(run.spec, name="baseline seed 0", metric=METRIC, tags={})
    killed.close("interrupted")
    assert [step for step, _ in curve(uri, children(uri)[0], "AP")] == [10]
    run.train(11, 19, at=START + 1000)
    run.evaluate(19, ap=0.4)
    run.end(at=START + 2000)
    sweep(uri, work_dir, run)
    assert curve(uri, children(uri)[0], "AP")[-1] == (19, pytest.approx(40.0))


def test_mlflow_drops_exact_duplicates(uri: str, work_dir: Path, make_run: MakeRun) -> None:
    """What a batch whose answer was lost relies on: the same lines again add nothing."""
    from mlflow.entities import Metric

    sweep(uri, work_dir, finished(make_run(), steps=10))
    (child,) = children(uri)
    client = connect(uri)
    before = points(uri)
    again = [
        Metric(point.key, point.value, point.timestamp, point.step)
        for name in ("train/loss", "precision/grad_norm")
        for point in client.get_metric_history(child.info.run_id, name)
    ]
    client.log_batch(child.info.run_id, metrics=[*again, Metric("train/loss", 9.0, int(START * 1000), 11)])
    assert points(uri) == before + 1


def test_the_experiment_shows_its_verdict_once(uri: str, work_dir: Path, tmp_path: Path) -> None:
    figure = tmp_path / "gap.png"
    figure.write_bytes(b"\x89PNG")
    publication = Publication(
        metrics={"gap.tuned.mean": -0.1, "gap.tuned.low": math.nan},
        tags={"verdict": "closed"},
        summary="FP16 costs nothing.",
        files=[figure],
    )
    for _ in range(2):
        tracker = track(uri, work_dir)
        tracker.publish(publication)
        tracker.close("finished")
        assert tracker.unshipped is None
    (parent,) = parents(uri)
    assert len(curve(uri, parent, "gap.tuned.mean")) == len(curve(uri, parent, "gap.tuned.low")) == 1
    assert parent.data.tags["mlflow.note.content"] == "FP16 costs nothing."
    assert parent.data.params["margin"] == "1.0"
    assert parent.inputs is not None
    assert parent.inputs.dataset_inputs[0].dataset.digest == DATA.digest[:36]
    client = connect(uri)
    names = {artifact.path for artifact in client.list_artifacts(parent.info.run_id)}
    assert names == {"gap.png"}


def test_a_run_deleted_in_the_store_disturbs_no_other(
    uri: str, work_dir: Path, make_run: MakeRun, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    doomed, other = make_run(seed=0), make_run(seed=1)
    doomed.train(1, 10)
    tracker = track(uri, work_dir)
    tracker.follow(doomed.spec, name="doomed", metric=METRIC, tags={})
    child = wait_for(lambda: next(iter(children(uri)), None))
    wait_for(lambda: len(curve(uri, child, "train/loss")) == 10)
    connect(uri).delete_run(child.info.run_id)
    doomed.train(11, 20)
    finished(other, steps=10)
    tracker.follow(other.spec, name="other", metric=METRIC, tags={})
    tracker.settle(other.spec.signature, "finished")
    tracker.close("finished")
    assert [run.info.run_name for run in children(uri)] == ["other"]
    assert children(uri)[0].info.status == "FINISHED"
    assert "refuses the run 'doomed'" in caplog.text
    assert "answers again" not in caplog.text
    assert tracker.unshipped is not None
    assert "lacks 1 of 2 runs" in tracker.unshipped


def test_a_deleted_experiment_is_said_in_one_line(
    uri: str, work_dir: Path, make_run: MakeRun, caplog: pytest.LogCaptureFixture
) -> None:
    sweep(uri, work_dir, finished(make_run(), steps=10))
    experiment = connect(uri).get_experiment_by_name("fcos_fp16_sweep")
    assert experiment is not None
    connect(uri).delete_experiment(experiment.experiment_id)
    tracker = track(uri, work_dir)
    tracker.close("finished")
    assert f"mlflow experiments restore -x {experiment.experiment_id}" in caplog.text
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2


def test_who_interrupts_does_not_wait_for_all_of_it(uri: str, work_dir: Path, make_run: MakeRun) -> None:
    tracker = track(uri, work_dir, patience=0.5)
    for seed in range(50):
        run = finished(make_run(seed=seed), steps=20)
        tracker.follow(run.spec, name=f"seed {seed}", metric=METRIC, tags={})
        tracker.settle(run.spec.signature, "finished")
    tracker.close("interrupted")
    assert tracker.unshipped is not None
    assert "of 50 runs" in tracker.unshipped


@pytest.mark.slow
def test_processes_that_start_together_share_one_parent(work_dir: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from tracked_runs import track; from workspace.tracking.store import *\n"
        "work = Path(sys.argv[1]); tracker = track(default_uri(work), work); tracker.close('finished')\n"
        "sys.exit(tracker.unshipped)"
    )
    together = [
        subprocess.Popen([sys.executable, "-c", script, str(work_dir)], env=environment(), stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    assert [(process.communicate()[1], process.returncode) for process in together] == [(b"", 0)] * 2
    assert len(parents(default_uri(work_dir))) == 1


def environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def wait_for(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """The first true value of the condition."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return value


def test_a_run_that_the_store_has_can_be_followed_again(uri: str, work_dir: Path, make_run: MakeRun) -> None:
    """The tuned arm's runs may be the default arm's, found again when the search is over."""
    run = finished(make_run(), steps=10)
    tracker = track(uri, work_dir)
    tracker.follow(run.spec, name="default seed 0", metric=METRIC, tags={"arm": "default"})
    tracker.settle(run.spec.signature, "finished")
    deadline = time.monotonic() + 30
    while tracker._children and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not tracker._children, "it is not let go of"
    tracker.follow(run.spec, name="tuned seed 0", metric=METRIC, tags={"also": "tuned"})
    tracker.settle(run.spec.signature, "finished")
    tracker.close("finished")
    assert tracker.unshipped is None
    (child,) = children(uri)
    assert (child.info.run_name, child.info.status) == ("default seed 0", "FINISHED")
    assert (child.data.tags["arm"], child.data.tags["also"]) == ("default", "tuned")

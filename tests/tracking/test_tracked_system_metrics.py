"""Samples of the hardware in MLflow's real SQLite store, under the names that its UI shows as system metrics."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tracked_runs import METRIC, START, FakeRun, children, curve, track

from workspace.tracking.store import connect

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")  # of MLflow's models
MakeRun = Callable[..., FakeRun]
HEAT = "npu_0_temperature_celsius"


def ship(uri: str, work_dir: Path, run: FakeRun, *, over: bool = True) -> None:
    """One start of an orchestrator that tracks the run, to its end or to its own."""
    tracker = track(uri, work_dir)
    tracker.follow(run.spec, name="baseline seed 0", metric=METRIC, tags={})
    if over:
        tracker.settle(run.spec.signature, "finished")
    tracker.close("finished" if over else "interrupted")
    assert tracker.unshipped is None or not over


def test_samples_are_system_metrics_of_the_run(uri: str, work_dir: Path, make_run: MakeRun) -> None:
    run = make_run()
    run.sample(at=START, npu_0_utilization_percentage=0, npu_0_power_usage_watts=90.5)
    run.train(1, 20)
    run.sample(at=START + 10, npu_0_utilization_percentage=97, npu_0_power_usage_watts=301.25)
    run.end(at=START + 12)
    ship(uri, work_dir, run)
    (child,) = children(uri)
    system = {name: value for name, value in child.data.metrics.items() if name.startswith("system/")}
    assert system == {"system/npu_0_utilization_percentage": 97, "system/npu_0_power_usage_watts": 301.25}
    history = connect(uri).get_metric_history(child.info.run_id, "system/npu_0_power_usage_watts")
    assert [(p.step, p.value, p.timestamp) for p in sorted(history, key=lambda p: p.step)] == [
        (0, 90.5, START * 1000),
        (1, 301.25, (START + 10) * 1000),
    ]
    assert curve(uri, child, "train/loss") == [(step, 3.0 / step) for step in range(1, 21)]
    assert child.info.start_time == START * 1000


@pytest.mark.parametrize("shipped_before_kill", [False, True])
def test_samples_of_all_attempts_stand_once(
    uri: str, work_dir: Path, make_run: MakeRun, shipped_before_kill: bool
) -> None:
    """Steps that were trained again replace the first ones; time on a device that was spent stays spent."""
    run = make_run()
    run.sample(at=START, npu_0_temperature_celsius=40)
    run.train(1, 18)
    run.sample(at=START + 10, npu_0_temperature_celsius=60)
    if shipped_before_kill:
        ship(uri, work_dir, run, over=False)
    run.sample(at=START + 1000, npu_0_temperature_celsius=45)
    run.train(11, 20, at=START + 1002)
    run.sample(at=START + 1010, npu_0_temperature_celsius=61)
    run.end(at=START + 1012)
    for _ in range(2):
        ship(uri, work_dir, run)
    (child,) = children(uri)
    assert curve(uri, child, f"system/{HEAT}") == [(0, 40), (1, 60), (2, 45), (3, 61)]
    assert [step for step, _ in curve(uri, child, "train/loss")] == list(range(1, 21))


def test_a_reading_that_comes_and_goes_keeps_its_samples(uri: str, work_dir: Path, make_run: MakeRun) -> None:
    run = make_run()
    run.sample(at=START, npu_0_temperature_celsius=40)
    run.sample(at=START + 10, npu_0_memory_usage_megabytes=1000)
    run.sample(at=START + 20, npu_0_temperature_celsius=42, npu_0_memory_usage_megabytes=1001)
    run.train(1, 10, at=START + 21)
    run.end(at=START + 30)
    ship(uri, work_dir, run)
    (child,) = children(uri)
    assert curve(uri, child, f"system/{HEAT}") == [(0, 40), (2, 42)]
    assert curve(uri, child, "system/npu_0_memory_usage_megabytes") == [(1, 1000), (2, 1001)]


def test_a_journal_shipped_from_another_machine_has_its_own_times(
    uri: str, work_dir: Path, make_run: MakeRun, tmp_path: Path
) -> None:
    run = make_run()
    run.train(1, 10)
    run.sample(at=START + 10, npu_0_temperature_celsius=60)
    run.end(at=START + 12)
    elsewhere = tmp_path / "elsewhere"
    shutil.move(work_dir / "runs", elsewhere / "runs")
    run.folder = elsewhere / run.folder.relative_to(work_dir)
    ship(uri, elsewhere, run)
    (child,) = children(uri)
    (point,) = connect(uri).get_metric_history(child.info.run_id, f"system/{HEAT}")
    assert point.timestamp == (START + 10) * 1000

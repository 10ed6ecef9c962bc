"""A worker that samples its NPUs while it trains. The command ``npu-smi`` is a script that prints a recorded table."""

import dataclasses
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from workspace import devices
from workspace.devices.cpu import Cpu
from workspace.devices.interface import Monitor
from workspace.journal import Event, JournalReader, JournalWriter
from workspace.tracking import DataSet, Tracker, default_uri
from workspace.tracking.store import connect
from workspace.training import run, system_metrics
from workspace.training.task import Task

MakeTask = Callable[..., Task]
RECORDED = Path(__file__).parents[1] / "devices" / "npu_smi"


def monitored_by(monkeypatch: pytest.MonkeyPatch, monitor: Monitor) -> None:
    monkeypatch.setattr(Cpu, "monitor", lambda self, names: monitor)


def samples(folder: Path) -> list[Event]:
    return [event for event in JournalReader(folder).read() if event["kind"] == "system"]


def known(metrics: Mapping[str, float]) -> dict[str, float]:
    """What npu-smi says, without what a torch_npu that is here adds."""
    return {name: value for name, value in metrics.items() if not name.endswith("memory_peak_megabytes")}


def sampling() -> bool:
    return any(thread.name == "system-metrics" for thread in threading.enumerate())


def until(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + 20
    while not (value := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
    return value


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")  # of MLflow's models
def test_a_worker_on_npus_samples_them(make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From npu-smi to MLflow. The training is the CPU's; what samples, and what is sampled, is an NPU's."""
    command = tmp_path / "bin" / "npu-smi"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\n[ "$*" = info ] && cat "{RECORDED}/910_93-25.2.0.txt"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}:/usr/bin:/bin")
    monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", "8,9,10,11")
    monkeypatch.setattr(system_metrics, "INTERVAL", 0.2)
    monkeypatch.setattr(Cpu, "monitor", lambda self, names: devices.device("npu").monitor(["npu:0", "npu:3"]))
    task = make_task(epochs=2)
    run.train(task)
    found = samples(task.folder)
    assert len(found) > 3
    assert found[0]["devices"] == ["cpu"]
    # npu:0 is the ninth chip of the table and npu:3 the twelfth, with whose card's power the eleventh stands.
    expected = {
        "npu_0_utilization_percentage": 8,
        "npu_0_memory_usage_percentage": pytest.approx(100 * 61602 / 65536),
        "npu_0_memory_usage_megabytes": pytest.approx(61602 * 1.048576),
        "npu_0_power_usage_watts": 219.9,
        "npu_0_temperature_celsius": 43,
        "npu_1_utilization_percentage": 7,
        "npu_1_memory_usage_percentage": pytest.approx(100 * 61603 / 65536),
        "npu_1_memory_usage_megabytes": pytest.approx(61603 * 1.048576),
        "npu_1_temperature_celsius": 45,
    }
    assert all(known(sample["metrics"]) == expected for sample in found)
    kinds = [event["kind"] for event in JournalReader(task.folder).read()]
    assert kinds[-1] == "end"
    assert kinds.count("step") == 6

    uri = default_uri(tmp_path / "work")
    tracker = Tracker(uri, "system_metrics", tmp_path / "work", patience=120.0)
    data = DataSet(name="shapes", digest="few", source="embedded")
    tracker.start(scale="demo", data=data, params={}, tags={})
    tracker.follow(task.spec, name="baseline seed 0", metric="coco/bbox_mAP", tags={})
    tracker.settle(task.spec.signature, "finished")
    tracker.close("finished")
    assert tracker.unshipped is None
    client = connect(uri)
    experiment = client.get_experiment_by_name("system_metrics")
    assert experiment is not None
    (tracked,) = client.search_runs([experiment.experiment_id], "tags.kind = 'run'")
    shown = known({name: value for name, value in tracked.data.metrics.items() if name.startswith("system/")})
    assert shown == {f"system/{name}": value for name, value in expected.items()}
    history = client.get_metric_history(tracked.info.run_id, "system/npu_0_power_usage_watts")
    assert sorted(point.timestamp for point in history) == [int(1000 * sample["time"]) for sample in found]


def test_nothing_is_sampled_on_other_devices(make_task: MakeTask) -> None:
    task = make_task(epochs=1)
    task.folder.mkdir(parents=True)
    before = threading.active_count()
    journal = JournalWriter(task.folder)
    with system_metrics.system_metrics(task, journal):
        assert threading.active_count() == before
    journal.close()
    assert samples(task.folder) == []
    assert devices.device("cpu").monitor(["cpu"]) is devices.device("cuda").monitor(["cuda:0"]) is None


@pytest.fixture
def sampled(make_task: MakeTask) -> Task:
    task = make_task()
    task.folder.mkdir(parents=True)
    return task


def test_the_first_sample_is_taken_at_once(sampled: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monitored_by(monkeypatch, lambda: {"npu_0_temperature_celsius": 45.0})
    journal = JournalWriter(sampled.folder)
    with system_metrics.system_metrics(sampled, journal):
        (sample,) = until(lambda: samples(sampled.folder))
    journal.close()
    assert sample["metrics"] == {"npu_0_temperature_celsius": 45.0}
    assert abs(sample["time"] - time.time()) < 60


def test_devices_that_say_nothing_leave_no_event(sampled: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def silent() -> Mapping[str, float]:
        asked.append(True)
        return {}

    monitored_by(monkeypatch, silent)
    monkeypatch.setattr(system_metrics, "INTERVAL", 0.01)
    journal = JournalWriter(sampled.folder)
    with system_metrics.system_metrics(sampled, journal):
        until(lambda: len(asked) > 2)
    journal.close()
    assert samples(sampled.folder) == []


def test_a_sample_that_hangs_is_not_waited_for(sampled: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    hanging, released = threading.Event(), threading.Event()

    def hang() -> Mapping[str, float]:
        hanging.set()
        released.wait(60)
        return {"npu_0_temperature_celsius": 45.0}

    monitored_by(monkeypatch, hang)
    journal = JournalWriter(sampled.folder)
    begun = time.monotonic()
    with system_metrics.system_metrics(sampled, journal):
        hanging.wait(20)
    journal.close()
    assert time.monotonic() - begun < 30
    released.set()
    until(lambda: not sampling())
    assert samples(sampled.folder) == [], "a sample was written after the end of the run"


def test_a_training_that_fails_ends_the_sampling(make_task: MakeTask, monkeypatch: pytest.MonkeyPatch) -> None:
    monitored_by(monkeypatch, lambda: {"npu_0_temperature_celsius": 45.0})
    monkeypatch.setattr(system_metrics, "INTERVAL", 0.01)
    task = make_task()
    broken = dataclasses.replace(task, train=dataclasses.replace(task.train, annotations=task.folder / "none.json"))
    with pytest.raises(FileNotFoundError):
        run.train(broken)
    kinds = [event["kind"] for event in JournalReader(task.folder).read()]
    assert kinds[-1] == "end"
    assert "system" in kinds
    until(lambda: not sampling())
    assert [event["kind"] for event in JournalReader(task.folder).read()] == kinds


def test_threads_and_processes_share_a_journal(sampled: Task) -> None:
    """A run's first process writes steps, and the worker that holds it samples, both to one file."""
    first, second = JournalWriter(sampled.folder), JournalWriter(sampled.folder)

    def write(writer: JournalWriter, kind: str) -> None:
        for number in range(500):
            writer.write(kind, step=number, metrics={f"metric_{i}": 0.1 for i in range(50)})

    threads = [threading.Thread(target=write, args=(w, kind)) for kind in ("step", "system") for w in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first.close()
    second.close()
    events = list(JournalReader(sampled.folder).read())
    assert len(events) == 2000
    assert all(len(event["metrics"]) == 50 for event in events)

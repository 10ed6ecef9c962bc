"""A run on several NPUs up to its process group, which is gloo's: what each of its processes is told."""

import dataclasses
import json
import multiprocessing.forkserver
import os
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import hccl_targets as targets
import pytest

from workspace.devices import hccl
from workspace.errors import UserError
from workspace.journal import JournalReader
from workspace.training import processes, run
from workspace.training.processes import BACKENDS, on_all_devices
from workspace.training.task import Task, preload

MakeTask = Callable[..., Task]


@pytest.fixture
def fork_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """A server with this test's environment, which a run's processes inherit; gone afterwards."""
    server = multiprocessing.forkserver._forkserver  # type: ignore[attr-defined]
    server._stop()
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    for name in hccl.DEFAULTS:
        monkeypatch.delenv(name, raising=False)
    yield monkeypatch
    server._stop()


@pytest.fixture
def npu_task(make_task: MakeTask) -> Task:
    task = make_task()
    spec = dataclasses.replace(task.spec, device="npu", devices=2)
    folder = task.folder.parent / spec.signature
    folder.mkdir(parents=True)
    return dataclasses.replace(task, spec=spec, folder=folder, devices=("npu:4", "npu:5"))


def told(task: Task) -> list[dict[str, str]]:
    return [json.loads((task.folder / f"told.{rank}").read_text()) for rank in range(len(task.devices))]


def test_npus_talk_through_hccl() -> None:
    assert BACKENDS["npu"] == "hccl"
    assert preload("npu") == ()


def test_each_process_is_told_what_hccl_needs(npu_task: Task, fork_server: pytest.MonkeyPatch) -> None:
    fork_server.setattr(processes, "_process", targets.process_on_cpu)
    fork_server.setenv("HCCL_CONNECT_TIMEOUT", "1800")
    fork_server.setenv("HCCL_IF_BASE_PORT", "50000")
    on_all_devices(targets.witness_environment, npu_task)
    first, second = told(npu_task)
    assert [first["device"], second["device"]] == ["npu:4", "npu:5"]
    assert [first["RANK"], second["RANK"]] == [first["LOCAL_RANK"], second["LOCAL_RANK"]] == ["0", "1"]
    for process in (first, second):
        assert process["WORLD_SIZE"] == process["LOCAL_WORLD_SIZE"] == "2"
        assert process["MASTER_ADDR"] == "localhost"
        assert {name: value for name, value in process.items() if name.startswith("HCCL_")} == {
            "HCCL_DETERMINISTIC": "true",
            "HCCL_CONNECT_TIMEOUT": "1800",
            "HCCL_IF_BASE_PORT": "50000",
        }
    assert first["MASTER_PORT"] == second["MASTER_PORT"]


def test_a_run_on_cpus_is_told_nothing_of_hccl(npu_task: Task, fork_server: pytest.MonkeyPatch) -> None:
    fork_server.setattr(processes, "_process", targets.process_on_cpu)
    spec = dataclasses.replace(npu_task.spec, device="cpu")
    on_all_devices(targets.witness_environment, dataclasses.replace(npu_task, spec=spec, devices=("cpu", "cpu")))
    assert not any(name.startswith("HCCL_") for process in told(npu_task) for name in process)


def test_a_rank_table_of_another_run_stops_it_at_once(
    npu_task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "ranks.json"
    device = {"device_id": "0", "device_ip": "192.168.1.8", "rank_id": "0"}
    servers = [{"server_id": "node_0", "device": [device]}]
    table.write_text(json.dumps({"status": "completed", "version": "1.0", "server_list": servers}))
    monkeypatch.setenv("RANK_TABLE_FILE", str(table))
    with pytest.raises(UserError, match="lists 1 devices, and the run has 2"):
        run.train(npu_task)
    (end,) = [event for event in JournalReader(npu_task.folder).read() if event["kind"] == "end"]
    assert end["status"] == "failed"
    assert "unset RANK_TABLE_FILE" in end["reason"]


@pytest.mark.skipif(find_spec("torch_npu") is not None, reason="there may be NPUs")
def test_npus_that_are_not_there_are_one_line(npu_task: Task, fork_server: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"^device npu: torch_npu is not installed"):
        on_all_devices(targets.witness_environment, npu_task)


@pytest.mark.skipif("NPU_SIM_HALF" not in os.environ, reason="needs the simulated NPU")
def test_torch_npu_makes_the_group_and_calls_hccl_at_the_first_sum(
    npu_task: Task, fork_server: pytest.MonkeyPatch
) -> None:
    """The real torch_npu as far as it goes without HCCL, which the simulated NPU refuses."""
    with pytest.raises(RuntimeError, match=r"hcclGetRootInfo.*error code is 5"):
        on_all_devices(targets.sum_over_processes, npu_task)
    expected = {"backend": "hccl", "size": "2", **hccl.DEFAULTS}
    assert told(npu_task) == [{**expected, "device": "npu:4"}, {**expected, "device": "npu:5"}]

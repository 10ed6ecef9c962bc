"""What is Ray's own: devices, nodes that are lost, memory, and clusters that cannot be used."""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import executor_targets as targets
import pytest
from executor_waiting import PATIENCE, only_end, read_pid, running, until

from workspace.errors import UserError
from workspace.execution import Ended, RayExecutor, host

ray = pytest.importorskip("ray", reason="Ray comes with the extra `cluster`")

from pretended_cluster import PretendedCluster  # noqa: E402


def on_npus(work_dir: Path, **changes: Any) -> RayExecutor:
    return RayExecutor(**{"kind": "npu", "devices": 2, "threads": 1, "work_dir": work_dir, "grace": 0.5, **changes})


@pytest.fixture(scope="module")
def npus(cluster: PretendedCluster) -> Iterator[None]:
    """A node with four pretended NPUs."""
    node = cluster.add_node(resources={"NPU": 4})
    yield
    cluster.remove(node)


def test_each_job_has_devices_of_its_own(npus: None, tmp_path: Path) -> None:
    with on_npus(tmp_path) as executor:
        assert executor.slots_free == 2
        for name in ("a", "b"):
            executor.start(name, targets.report_devices, (tmp_path / name,), tmp_path / "log")
        ended = executor.wait(PATIENCE)
        while len(ended) < 2:
            ended += executor.wait(PATIENCE)
    assert sorted((tmp_path / name).read_text() for name in ("a", "b")) == ["0,1", "2,3"]


def test_jobs_of_a_lost_node_are_killed_and_said_to_be(
    cluster: PretendedCluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    node = cluster.add_node(num_gpus=1)
    with RayExecutor(kind="cuda", devices=1, threads=1, work_dir=tmp_path) as executor:
        executor.start("a", targets.announce_and_sleep, (tmp_path / "pid",), tmp_path / "log")
        pid = read_pid(tmp_path / "pid")
        cluster.kill(node)
        end = only_end(executor)
        until(lambda: not running(pid))
        assert (end.exitcode, end.signal) == (-signal.SIGKILL, "SIGKILL")
        assert end.reason is not None
        assert "lost" in end.reason
        assert (tmp_path / "log").read_text() == f"{end.reason}\n"
        assert "no node with 1 GPU is left; runs wait for one" in caplog.text
        executor.start("a", targets.write, (tmp_path / "out", "elsewhere"), tmp_path / "log")
        assert executor.wait(0.5) == []
        other = cluster.add_node(num_gpus=1)
        assert only_end(executor) == Ended("a", 0, None)
    cluster.remove(other)
    assert (tmp_path / "out").read_text() == "elsewhere"


def test_a_job_that_waits_for_devices_can_be_cancelled(npus: None, tmp_path: Path) -> None:
    with on_npus(tmp_path, devices=4, workers=2) as executor:
        executor.start("a", targets.announce_and_sleep, (tmp_path / "pid",), tmp_path / "log")
        read_pid(tmp_path / "pid")
        executor.start("b", targets.write, (tmp_path / "b", ""), tmp_path / "log")
        executor.cancel("b")
        assert only_end(executor) == Ended("b", -signal.SIGTERM, "SIGTERM")
    assert not (tmp_path / "b").exists()


def test_what_ray_kills_for_its_memory_is_said_to_be(cluster: PretendedCluster, npus: None, tmp_path: Path) -> None:
    with on_npus(tmp_path, devices=4, workers=2) as executor:
        executor.start("a", targets.announce_and_sleep, (tmp_path / "pid",), tmp_path / "log")
        read_pid(tmp_path / "pid")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RAY_memory_usage_threshold", "0.01")  # any machine uses more
            node = cluster.add_node(resources={"NPU": 4})
        executor.start("b", targets.announce_and_sleep, (tmp_path / "b",), tmp_path / "b.log")
        end = only_end(executor)
    cluster.remove(node)
    assert (end.job_id, end.signal) == ("b", "SIGKILL")
    assert end.reason is not None
    assert "memory" in end.reason
    assert (tmp_path / "b.log").read_text() == f"{end.reason}\n"


def test_a_cluster_without_such_devices_is_refused(cluster: PretendedCluster, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no node of the Ray cluster has 5 NPU"):
        on_npus(tmp_path, devices=5)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("elsewhere", "node .* does not see the work folder .*storage that all nodes have mounted"),
        ("unlocked", "node .* does not see locks of other machines"),
        ("unread", "node .* does not see .*/weights.pth"),
        ("code", "node .* has another version of this project"),
        ("no project", "a node of the Ray cluster cannot run this project: .*No module named 'gone_by_then'.*install"),
        ("python", "node .* has Python 3.*, this machine 2.7"),
    ],
)
def test_a_node_that_cannot_run_jobs_is_named_at_the_start(
    change: str, said: str, npus: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = host.surroundings

    def changed(marker: Path, token: str, reads: tuple[Path, ...]) -> Any:
        if change == "no project":
            return targets.refer_to_a_missing_module()
        if change == "unlocked":
            marker = tmp_path / "marker"
            marker.write_text(token)
        values = vars(whole(marker, token, reads))
        return host.Surroundings(
            **{
                **values,
                **{
                    "elsewhere": {"marker": tmp_path / "not mounted" / "marker"},
                    "unread": {"reads": (tmp_path / "weights.pth",)},
                    "code": {"code": "older"},
                    "python": {"python": "2.7"},
                }.get(change, {}),
            }
        )

    monkeypatch.setattr("workspace.execution.cluster.surroundings", changed)
    with pytest.raises(UserError, match=said):
        on_npus(tmp_path)
    assert not list(tmp_path.glob(".shared-*"))


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("ray://10.0.0.1:10001", "give the HOST:PORT that `ray start --head` named"),
        ("10.0.0.1", "give the HOST:PORT"),
        ("127.0.0.1:1", "nothing answers there .*ray start --head --port=1"),
    ],
)
def test_addresses_that_cannot_be_used(address: str, said: str, tmp_path: Path) -> None:
    was_connected = ray.is_initialized()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray, "is_initialized", lambda: False)
        patch.setattr(ray, "shutdown", lambda: None)
        with pytest.raises(UserError, match=f"--address {address}: .*{said}|{said}"):
            on_npus(tmp_path, address=address)
    assert ray.is_initialized() == was_connected


def test_without_ray_the_cure_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match="ray is not installed; make setup EXTRAS=dev,cluster"):
        on_npus(tmp_path)

import multiprocessing.forkserver
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import executor_targets as targets
import pytest
from executor_waiting import PATIENCE, only_end, read_pid, running, until

from workspace.errors import UserError
from workspace.execution import Ended, LocalExecutor


@pytest.fixture
def executor() -> Iterator[LocalExecutor]:
    with LocalExecutor(workers=2, threads=3, preload=["preload_witness"]) as executor:
        yield executor


def test_the_parent_preloads_with_one_thread_and_tells_workers_theirs(executor: LocalExecutor, tmp_path: Path) -> None:
    before = dict(os.environ)
    executor.start("a", targets.report_surroundings, (tmp_path / "facts",), tmp_path / "log")
    assert os.environ == before
    assert only_end(executor).exitcode == 0, (tmp_path / "log").read_text()
    assert eval((tmp_path / "facts").read_text()) == {
        "preloaded_by_parent": True,
        "threads": "3",
        "threads_at_preload": "1",
    }


def test_an_import_error_of_a_preloaded_module_is_in_the_log(tmp_path: Path) -> None:
    with LocalExecutor(workers=1, threads=1, preload=["workspace.no_such_room"]) as executor:
        executor.start("a", targets.talk, (), tmp_path / "log")
        assert only_end(executor).exitcode == 1
    assert "No module named 'workspace.no_such_room'" in (tmp_path / "log").read_text()


def test_a_package_that_is_not_installed_is_named() -> None:
    with pytest.raises(UserError, match="'no_such_package' is not installed"):
        LocalExecutor(workers=1, threads=1, preload=["no_such_package.inner"])


def test_many_short_jobs_leave_no_process_and_no_descriptor(executor: LocalExecutor, tmp_path: Path) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    executor.start("first", targets.write, (tmp_path / "first", ""), tmp_path / "log")
    assert only_end(executor).exitcode == 0
    before = descriptors()
    waiting = [f"job {n}" for n in range(50)]
    ended: list[Ended] = []
    while len(ended) < 50:
        while waiting and executor.slots_free:
            job = waiting.pop()
            executor.start(job, targets.write, (tmp_path / job, str(os.getpid())), tmp_path / "log")
        ended += executor.wait(PATIENCE)
    assert sorted(end.job_id for end in ended) == sorted(f"job {n}" for n in range(50))
    assert {end.exitcode for end in ended} == {0}
    assert descriptors() == before
    server = multiprocessing.forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    assert Path(f"/proc/{server}/task/{server}/children").read_text() == ""  # no zombies either


def test_no_worker_outlives_a_fork_server_that_was_killed(executor: LocalExecutor, tmp_path: Path) -> None:
    executor.start("a", targets.announce_and_sleep, (tmp_path / "a",), tmp_path / "log")
    worker = read_pid(tmp_path / "a")
    os.kill(multiprocessing.forkserver._forkserver._forkserver_pid, signal.SIGKILL)  # type: ignore[attr-defined]
    assert only_end(executor) == Ended("a", -9, "SIGKILL")
    assert not running(worker)
    executor.start("a", targets.write, (tmp_path / "out", "done"), tmp_path / "log")
    assert only_end(executor) == Ended("a", 0, None)


def test_a_fork_server_that_was_killed_is_replaced(executor: LocalExecutor, tmp_path: Path) -> None:
    server = multiprocessing.forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    executor.start("a", targets.announce_and_sleep, (tmp_path / "a",), tmp_path / "log")
    orphan = read_pid(tmp_path / "a")
    os.kill(server, signal.SIGKILL)
    assert only_end(executor).exitcode != 0
    until(lambda: not running(orphan))
    executor.start("b", targets.report_surroundings, (tmp_path / "b",), tmp_path / "log")
    assert only_end(executor) == Ended("b", 0, None)
    assert eval((tmp_path / "b").read_text())["threads_at_preload"] == "1"

import multiprocessing.forkserver
import os
import signal
from collections.abc import Callable, Iterator
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


def test_a_job_runs_and_its_end_is_handed_out_once(executor: LocalExecutor, tmp_path: Path) -> None:
    executor.start("a", targets.write, (tmp_path / "out", "done"), tmp_path / "log")
    assert executor.slots_free == 1
    assert only_end(executor) == Ended("a", 0, None)
    assert (tmp_path / "out").read_text() == "done"
    assert executor.slots_free == 2
    assert executor.poll() == executor.wait(PATIENCE) == []


def test_poll_and_a_timeout_return_while_a_job_runs(executor: LocalExecutor, tmp_path: Path) -> None:
    executor.start("a", targets.announce_and_sleep, (tmp_path / "pid",), tmp_path / "log")
    assert executor.poll() == []
    assert executor.wait(0.05) == []
    assert executor.slots_free == 1


def test_output_of_a_job_and_of_its_children_is_appended_to_the_log(executor: LocalExecutor, tmp_path: Path) -> None:
    log = tmp_path / "runs" / "worker.log"
    for _ in range(2):
        executor.start("a", targets.talk, (), log)
        assert only_end(executor).exitcode == 0
    assert log.read_text() == "said\ncomplained\nechoed by a child\n" * 2


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


@pytest.mark.parametrize(
    ("target", "args", "end", "in_log"),
    [
        (targets.fail, (), Ended("a", 1, None), "ValueError: broken on purpose"),
        (targets.leave, (7,), Ended("a", 7, None), ""),
        (targets.print_and_die, (signal.SIGKILL,), Ended("a", -9, "SIGKILL"), "last words"),
        (targets.print_and_die, (signal.SIGTERM,), Ended("a", -15, "SIGTERM"), "last words"),
        (targets.crash, (), Ended("a", -11, "SIGSEGV"), "executor_targets.py"),
    ],
)
def test_how_a_job_ended(
    tmp_path: Path, target: Callable[..., None], args: tuple[int, ...], end: Ended, in_log: str
) -> None:
    with LocalExecutor(workers=1, threads=1) as executor:
        executor.start("a", target, args, tmp_path / "log")
        assert only_end(executor) == end
    assert in_log in (tmp_path / "log").read_text()


def test_a_worker_that_is_killed_is_seen_while_waiting(executor: LocalExecutor, tmp_path: Path) -> None:
    executor.start("a", targets.announce_and_sleep, (tmp_path / "a",), tmp_path / "log")
    executor.start("b", targets.announce_and_sleep, (tmp_path / "b",), tmp_path / "log")
    os.kill(read_pid(tmp_path / "a"), signal.SIGKILL)
    assert only_end(executor) == Ended("a", -9, "SIGKILL")
    assert executor.slots_free == 1
    assert running(read_pid(tmp_path / "b"))


def test_an_import_error_of_a_preloaded_module_is_in_the_log(tmp_path: Path) -> None:
    with LocalExecutor(workers=1, threads=1, preload=["workspace.no_such_room"]) as executor:
        executor.start("a", targets.talk, (), tmp_path / "log")
        assert only_end(executor).exitcode == 1
    assert "No module named 'workspace.no_such_room'" in (tmp_path / "log").read_text()


def test_a_package_that_is_not_installed_is_named() -> None:
    with pytest.raises(UserError, match="'no_such_package' is not installed"):
        LocalExecutor(workers=1, threads=1, preload=["no_such_package.inner"])


def test_a_worker_may_have_children(executor: LocalExecutor, tmp_path: Path) -> None:
    executor.start("a", targets.start_a_child, (tmp_path / "out",), tmp_path / "log")
    assert only_end(executor).exitcode == 0, (tmp_path / "log").read_text()
    assert (tmp_path / "out").read_text() == "written by a child"


def test_cancel_terminates_and_then_kills(tmp_path: Path) -> None:
    with LocalExecutor(workers=2, threads=1, grace=0.2) as executor:
        executor.start("polite", targets.announce_and_sleep, (tmp_path / "polite",), tmp_path / "log")
        executor.start("stubborn", targets.announce_and_ignore_sigterm, (tmp_path / "stubborn",), tmp_path / "log")
        read_pid(tmp_path / "polite")
        read_pid(tmp_path / "stubborn")
        executor.cancel("polite")
        executor.cancel("stubborn")
        executor.cancel("of no job")
        ended = executor.wait(PATIENCE)
        while len(ended) < 2:
            ended += executor.wait(PATIENCE)
    assert {end.job_id: end.signal for end in ended} == {"polite": "SIGTERM", "stubborn": "SIGKILL"}


def test_close_leaves_no_worker(tmp_path: Path) -> None:
    with LocalExecutor(workers=2, threads=1, grace=0.2) as executor:
        executor.start("a", targets.announce_and_sleep, (tmp_path / "a",), tmp_path / "log")
        executor.start("b", targets.announce_and_ignore_sigterm, (tmp_path / "b",), tmp_path / "log")
        pids = [read_pid(tmp_path / "a"), read_pid(tmp_path / "b")]
    assert not any(running(pid) for pid in pids)
    assert executor.slots_free == 2


def test_slots_and_ids_are_guarded(executor: LocalExecutor, tmp_path: Path) -> None:
    executor.start("a", targets.announce_and_sleep, (tmp_path / "a",), tmp_path / "log")
    with pytest.raises(ValueError, match="'a' is already running"):
        executor.start("a", targets.talk, (), tmp_path / "log")
    executor.start("b", targets.announce_and_sleep, (tmp_path / "b",), tmp_path / "log")
    with pytest.raises(RuntimeError, match="all 2 slots are taken"):
        executor.start("c", targets.talk, (), tmp_path / "log")


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

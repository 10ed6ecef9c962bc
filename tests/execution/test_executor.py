"""What every executor does, wherever its jobs run."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import executor_targets as targets
import pytest
from executor_waiting import PATIENCE, MakeExecutor, only_end, read_pid, running

from workspace.execution import Ended, Executor


@pytest.fixture
def executor(make_executor: MakeExecutor) -> Iterator[Executor]:
    with make_executor(workers=2, threads=3) as executor:
        yield executor


def test_a_job_runs_and_its_end_is_handed_out_once(executor: Executor, tmp_path: Path) -> None:
    executor.start("a", targets.write, (tmp_path / "out", "done"), tmp_path / "log")
    assert executor.slots_free == 1
    assert only_end(executor) == Ended("a", 0, None)
    assert (tmp_path / "out").read_text() == "done"
    assert executor.slots_free == 2
    assert executor.poll() == executor.wait(PATIENCE) == []


def test_poll_and_a_timeout_return_while_a_job_runs(executor: Executor, tmp_path: Path) -> None:
    executor.start("a", targets.announce_and_sleep, (tmp_path / "pid",), tmp_path / "log")
    assert executor.poll() == []
    assert executor.wait(0.05) == []
    assert executor.slots_free == 1


def test_output_of_a_job_and_of_its_children_is_appended_to_the_log(executor: Executor, tmp_path: Path) -> None:
    log = tmp_path / "runs" / "worker.log"
    for _ in range(2):
        executor.start("a", targets.talk, (), log)
        assert only_end(executor).exitcode == 0
    assert log.read_text() == "said\ncomplained\nechoed by a child\n" * 2


@pytest.mark.parametrize(
    ("call", "end", "in_log"),
    [
        ((targets.fail,), Ended("a", 1, None), "ValueError: broken on purpose"),
        ((targets.leave, 7), Ended("a", 7, None), ""),
        ((targets.print_and_die, signal.SIGKILL), Ended("a", -9, "SIGKILL"), "last words"),
        ((targets.print_and_die, signal.SIGTERM), Ended("a", -15, "SIGTERM"), "last words"),
        ((targets.crash,), Ended("a", -11, "SIGSEGV"), "executor_targets.py"),
    ],
)
def test_how_a_job_ended(executor: Executor, tmp_path: Path, call: tuple[Any, ...], end: Ended, in_log: str) -> None:
    executor.start("a", call[0], call[1:], tmp_path / "log")
    assert only_end(executor) == end
    assert in_log in (tmp_path / "log").read_text()


def test_a_worker_that_is_killed_is_seen_while_waiting(executor: Executor, tmp_path: Path) -> None:
    executor.start("a", targets.announce_and_sleep, (tmp_path / "a",), tmp_path / "log")
    executor.start("b", targets.announce_and_sleep, (tmp_path / "b",), tmp_path / "log")
    os.kill(read_pid(tmp_path / "a"), signal.SIGKILL)
    assert only_end(executor) == Ended("a", -9, "SIGKILL")
    assert executor.slots_free == 1
    assert running(read_pid(tmp_path / "b"))


def test_a_worker_may_have_children(executor: Executor, tmp_path: Path) -> None:
    executor.start("a", targets.start_a_child, (tmp_path / "out",), tmp_path / "log")
    assert only_end(executor).exitcode == 0, (tmp_path / "log").read_text()
    assert (tmp_path / "out").read_text() == "written by a child"


def test_cancel_terminates_and_then_kills(make_executor: MakeExecutor, tmp_path: Path) -> None:
    with make_executor(workers=2, grace=0.2) as executor:
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


def test_close_leaves_no_worker(make_executor: MakeExecutor, tmp_path: Path) -> None:
    with make_executor(workers=2, grace=0.2) as executor:
        executor.start("a", targets.announce_and_sleep, (tmp_path / "a",), tmp_path / "log")
        executor.start("b", targets.announce_and_ignore_sigterm, (tmp_path / "b",), tmp_path / "log")
        pids = [read_pid(tmp_path / "a"), read_pid(tmp_path / "b")]
    assert not any(running(pid) for pid in pids)
    assert executor.slots_free == 2


def test_slots_and_ids_are_guarded(executor: Executor, tmp_path: Path) -> None:
    executor.start("a", targets.announce_and_sleep, (tmp_path / "a",), tmp_path / "log")
    with pytest.raises(ValueError, match="'a' is already running"):
        executor.start("a", targets.talk, (), tmp_path / "log")
    executor.start("b", targets.announce_and_sleep, (tmp_path / "b",), tmp_path / "log")
    with pytest.raises(RuntimeError, match="all 2 slots are taken"):
        executor.start("c", targets.talk, (), tmp_path / "log")


def test_a_worker_is_told_its_threads(executor: Executor, tmp_path: Path) -> None:
    executor.start("a", targets.report_surroundings, (tmp_path / "facts",), tmp_path / "log")
    assert only_end(executor).exitcode == 0, (tmp_path / "log").read_text()
    assert eval((tmp_path / "facts").read_text())["threads"] == "3"


def test_an_import_error_of_the_target_is_in_the_log(executor: Executor, tmp_path: Path) -> None:
    executor.start("a", targets.refer_to_a_missing_module(), (), tmp_path / "log")
    assert only_end(executor) == Ended("a", 1, None)
    assert "No module named 'gone_by_then'" in (tmp_path / "log").read_text()


def test_more_jobs_than_slots(make_executor: MakeExecutor, tmp_path: Path) -> None:
    with make_executor(workers=2) as executor:
        waiting = [f"job {n}" for n in range(4)]
        ended: list[Ended] = []
        while len(ended) < 4:
            while waiting and executor.slots_free:
                job = waiting.pop()
                executor.start(job, targets.write, (tmp_path / job, job), tmp_path / "log")
            ended += executor.wait(PATIENCE)
    assert sorted(end.job_id for end in ended) == [f"job {n}" for n in range(4)]
    assert {end.exitcode for end in ended} == {0}

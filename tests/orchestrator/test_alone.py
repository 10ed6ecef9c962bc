"""One orchestrator an experiment: who is refused, who takes over, and what a host tells of another one's lock."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from workspace.errors import UserError
from workspace.orchestrator import alone as module
from workspace.orchestrator.alone import alone, parts_at_work

HOLD = (
    "import sys, time; from pathlib import Path; from workspace.orchestrator.alone import alone\n"
    "with alone(Path(sys.argv[1]), sys.argv[2]): print('held', flush=True); time.sleep(600)"
)


def held(work: Path, name: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(work), name], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def foreign(work: Path, name: str) -> Path:
    """The lock file of an orchestrator on another host whose locks are not seen here."""
    path = work / "experiments" / name / "lock"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"pid": 7, "host": "elsewhere", "kernel": "another", "doing": "running"}))
    return path


def test_pid_and_host_of_the_first_are_told_until_it_is_killed(tmp_path: Path) -> None:
    first = held(tmp_path, "sweep")
    try:
        with pytest.raises(UserError) as caught, alone(tmp_path, "sweep"):
            pass
        assert f"(pid {first.pid} on {socket.gethostname()})" in str(caught.value)
        with alone(tmp_path, "another"):
            pass
    finally:
        first.send_signal(signal.SIGKILL)
        first.communicate()
    begin = time.monotonic()
    with alone(tmp_path, "sweep"):  # the kernel let go: no waiting for signs of life
        assert time.monotonic() - begin < 1.0


def test_runs_by_themselves_are_told_apart(tmp_path: Path) -> None:
    first = held(tmp_path, "train/abc")
    try:
        with alone(tmp_path, "train/def"):
            assert parts_at_work(tmp_path, "train") == [
                f"pid {first.pid} on {socket.gethostname()}",
                f"pid {os.getpid()} on {socket.gethostname()}",
            ]
    finally:
        first.kill()
        first.communicate()
    assert parts_at_work(tmp_path, "train") == []


def test_another_host_that_gives_signs_of_life_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process keeps changing the file, as the orchestrator there would; its lock is not to be seen."""
    monkeypatch.setattr(module, "_SIGN_SECONDS", 0.2)
    path = foreign(tmp_path, "sweep")
    code = "import os, sys, time\nwhile True: os.utime(sys.argv[1]); time.sleep(0.1)"
    alive = subprocess.Popen([sys.executable, "-c", code, str(path)])
    try:
        seen = path.stat().st_mtime_ns
        while path.stat().st_mtime_ns == seen:
            time.sleep(0.05)
        with pytest.raises(UserError, match=r"already running in .*\(pid 7 on elsewhere\)"), alone(tmp_path, "sweep"):
            pass
    finally:
        alive.kill()
        alive.wait()
    assert json.loads(path.read_text())["pid"] == 7


def test_another_host_that_gives_none_is_succeeded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SIGN_SECONDS", 0.1)
    path = foreign(tmp_path, "sweep")
    with alone(tmp_path, "sweep"):
        assert json.loads(path.read_text())["pid"] == os.getpid()
        seen = path.stat().st_mtime_ns
        deadline = time.monotonic() + 20
        while path.stat().st_mtime_ns == seen:  # and gives signs itself
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert path.read_text() == ""


def test_a_lock_file_of_an_earlier_version_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "experiments" / "sweep" / "lock"
    path.parent.mkdir(parents=True)
    path.write_text("pid 12 on elsewhere")
    with alone(tmp_path, "sweep"):
        assert json.loads(path.read_text())["pid"] == os.getpid()

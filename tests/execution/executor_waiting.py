"""Waiting for what processes do."""

import time
from collections.abc import Callable
from pathlib import Path

from workspace.execution import Ended, Executor

PATIENCE = 30.0  # seconds; an upper bound for a busy machine, not an expectation


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def only_end(executor: Executor) -> Ended:
    (ended,) = executor.wait(PATIENCE)
    return ended


def running(pid: int) -> bool:
    """False for a zombie too."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def read_pid(path: Path) -> int:
    until(lambda: path.exists() and path.read_text() != "")
    return int(path.read_text())

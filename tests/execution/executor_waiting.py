"""Starting processes, and waiting for what they do."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from workspace.execution import Ended, Executor

PATIENCE = 120.0  # seconds; an upper bound for a busy machine, not an expectation


class MakeExecutor(Protocol):
    """Makes an executor of the kind that is being tested."""

    def __call__(self, *, workers: int, threads: int = 1, grace: float = 5.0) -> AbstractContextManager[Executor]: ...


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


@contextmanager
def launch(*command: str | Path, cwd: Path) -> Iterator["subprocess.Popen[str]"]:
    """A Python process in a session of its own."""
    with subprocess.Popen(
        [sys.executable, "-W", "error", *command],
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()

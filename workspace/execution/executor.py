"""`Executor`: what the orchestrator needs of a place where runs are trained."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class Ended:
    """A job that is over.

    Attributes:
        exitcode: 0 after a clean end, the exit status of the process otherwise, ``-n`` when signal ``n`` killed it.
        signal: name of the signal that killed it (``SIGKILL``), ``None`` where none did. A job whose machine was lost
            counts as killed by ``SIGKILL``.
        reason: why it was killed, where the executor knows; also the last line of its log then.
    """

    job_id: str
    exitcode: int
    signal: str | None
    reason: str | None = None


class Executor(Protocol):
    """Runs jobs, each in a process of its own, at most as many at a time as it has slots.

    A slot stays taken until the end of its job was handed out by :meth:`poll` or :meth:`wait`. No job outlives the
    process that holds the executor, however that process ends.
    """

    @property
    def slots_free(self) -> int: ...

    def start(self, job_id: str, target: Callable[..., object], args: tuple[Any, ...], log: Path) -> None:
        """Calls ``target(*args)`` in a fresh process, whose standard output and error are appended to ``log``.

        ``target`` is a function of a module and ``args`` can be pickled. An exception in it ends up as a traceback in
        the log and exit code 1.

        Raises:
            RuntimeError: no slot is free.
            ValueError: a job of that id is running.
            UserError: jobs cannot be started here at all; `poll` and `wait` may find that later.
        """

    def poll(self) -> list[Ended]:
        """The jobs that ended since the last call; never blocks."""

    def wait(self, timeout: float | None = None) -> list[Ended]:
        """Blocks until a job ends, or for ``timeout`` seconds; returns at once when none is running."""

    def cancel(self, job_id: str) -> None:
        """Asks a job to stop, and kills it after a grace; its end is handed out like any other.

        Does not block. Nothing happens if the job has ended.
        """

    def close(self) -> None:
        """Cancels what runs and waits for it to be gone."""

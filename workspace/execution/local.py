"""Runs on this machine: processes forked from one parent that has imported the heavy libraries once.

The parent is the standard library's fork server. It is forked from before any thread exists in it, so a run starts
in milliseconds and without the hazards of forking the orchestrator, which has threads and open databases.
"""

import contextlib
import importlib.util
import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import connection, forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from workspace.errors import UserError
from workspace.execution import worker
from workspace.execution.executor import Ended

_DYING_SECONDS = 0.5
"""More than a killed process takes from the end of its connections to its own."""


def default_workers() -> int:
    """One worker for each core that this process may use."""
    return len(os.sched_getaffinity(0))


@dataclass
class _Job:
    process: BaseProcess
    worker: psutil.Process | None  # the same, whoever is its parent; None: it had ended by then
    kill_at: float | None = None  # on the monotonic clock, once cancelled


class LocalExecutor:
    """An :class:`~workspace.execution.Executor` over the cores of this machine.

    Args:
        workers: number of slots.
        threads: of each worker, for OpenMP and its kin. A worker finds the number in ``OMP_NUM_THREADS``; a library
            that was imported by the parent has read that variable already and must be told (``torch.set_num_threads``).
        preload: modules that the parent imports before the first run. It starts to do so at once, in the background;
            the first :meth:`start` waits for it. One parent serves all executors of a process: the first one's modules
            are the ones preloaded, any other is imported by each worker that asks for it.
        grace: seconds from a cancelled job's SIGTERM to its SIGKILL.

    Raises:
        UserError: a module to preload belongs to a package that is not installed.
    """

    def __init__(self, *, workers: int, threads: int, preload: Sequence[str] = (), grace: float = 5.0) -> None:
        if workers < 1 or threads < 1:
            raise UserError(f"{workers} workers with {threads} threads: at least 1 of each is needed")
        for module in preload:
            package = module.partition(".")[0]  # looking further would import the package, here, in the orchestrator
            if importlib.util.find_spec(package) is None:
                raise UserError(f"cannot start workers: the package {package!r} is not installed; run the set-up again")
        self._workers = workers
        self._threads = threads
        self._preload = tuple(preload)
        self._grace = grace
        self._jobs: dict[str, _Job] = {}
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([worker.__name__, *preload])
        with _stdout_discarded():  # some libraries print when they are imported
            _ensure_server()

    @property
    def slots_free(self) -> int:
        return self._workers - len(self._jobs)

    def start(self, job_id: str, target: Callable[..., object], args: tuple[Any, ...], log: Path) -> None:
        if job_id in self._jobs:
            raise ValueError(f"job {job_id!r} is already running")
        if self.slots_free < 1:
            raise RuntimeError(f"job {job_id!r}: all {self._workers} slots are taken")
        log.parent.mkdir(parents=True, exist_ok=True)
        process = self._context.Process(
            target=worker.run,
            args=(log, self._threads, self._preload, pickle.dumps((target, args))),
            name=job_id,
            daemon=True,  # when the orchestrator exits without close(), workers are terminated, not waited for
        )
        try:
            _start(process)
        except (EOFError, ConnectionError) as error:
            raise UserError(
                f"cannot start workers: the process that imports {', '.join(self._preload)} for them died; "
                "what it said stands above"
            ) from error
        self._jobs[job_id] = _Job(process, _identified(process))

    def poll(self) -> list[Ended]:
        return self.wait(timeout=0)

    def wait(self, timeout: float | None = None) -> list[Ended]:
        deadline = None if timeout is None else time.monotonic() + timeout
        while self._jobs:
            self._kill_overdue()
            pauses = [moment for job in self._jobs.values() if (moment := job.kill_at) is not None]
            if deadline is not None:
                pauses.append(deadline)
            pause = max(0.0, min(pauses) - time.monotonic()) if pauses else None
            if connection.wait([job.process.sentinel for job in self._jobs.values()], timeout=pause):
                return self._collect()
            if deadline is not None and time.monotonic() >= deadline:
                break
        return []

    def cancel(self, job_id: str) -> None:
        job = self._jobs.get(job_id)
        if job is not None and job.kill_at is None:
            job.process.terminate()
            job.kill_at = time.monotonic() + self._grace

    def close(self) -> None:
        for job_id in self._jobs:
            self.cancel(job_id)
        while self._jobs:
            self.wait()

    def __enter__(self) -> "LocalExecutor":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _kill_overdue(self) -> None:
        for job in self._jobs.values():
            if job.kill_at is not None and time.monotonic() >= job.kill_at:
                job.process.kill()
                job.kill_at = None

    def _collect(self) -> list[Ended]:
        ended = []
        for job_id, job in list(self._jobs.items()):
            code = job.process.exitcode
            if code is not None:
                if _kill_orphan(job.worker):
                    code = -signal.SIGKILL
                del self._jobs[job_id]
                job.process.close()
                ended.append(Ended(job_id, code, signal.Signals(-code).name if code < 0 else None))
        return ended


def _start(process: BaseProcess) -> None:
    """Starts it from the fork server; one that was killed is replaced, with the same environment."""
    _ensure_server()
    try:
        process.start()
    except (EOFError, ConnectionError):
        time.sleep(_DYING_SECONDS)  # the kill was so recent that it still counted as running
        _ensure_server()
        process.start()


def _identified(process: BaseProcess) -> psutil.Process | None:
    # Not by a pidfd: kernels before 5.3 have none, and the Pythons of conda no call for it.
    try:
        return psutil.Process(process.pid)
    except psutil.NoSuchProcess:
        return None


def _kill_orphan(worker: psutil.Process | None) -> bool:
    """Kills a process that only seems to have ended, because the fork server that tells of ends was killed.

    It would train on beside the attempt that replaces it. Whether there was such a process.
    """
    if worker is None:
        return False
    try:
        worker.kill()
    except psutil.NoSuchProcess:
        return False
    with contextlib.suppress(psutil.NoSuchProcess):
        while worker.status() != psutil.STATUS_ZOMBIE:  # in a container there may be nobody to reap it
            time.sleep(0.01)
    return True


def _ensure_server() -> None:
    """Starts the fork server unless it is running.

    It stays single-threaded, as whoever forks must, because the libraries it imports are told to use one thread; and
    Ctrl-C, which a terminal sends to it too, does not interrupt its imports.
    """
    # mmengine asks for GPUs when it is imported. Asked through NVML, CUDA stays uninitialised, and children can use it.
    settings = {**worker.thread_settings(1), "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
    with _environment(settings), _sigint_ignored():
        forkserver.ensure_running()


@contextlib.contextmanager
def _environment(settings: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _stdout_discarded() -> Iterator[None]:
    stdout = os.dup(1)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    try:
        yield
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)
        os.close(nothing)


@contextlib.contextmanager
def _sigint_ignored() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # only the main thread may change handlers
        yield
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)

"""The inside of a worker process of :class:`~workspace.execution.LocalExecutor`."""

import faulthandler
import importlib
import io
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path


def thread_settings(threads: int) -> dict[str, str]:
    """The environment variables by which numerical libraries learn how many threads they may use."""
    return dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))


def run(log: Path, threads: int, preload: Sequence[str], call: bytes) -> None:
    """Calls the pickled ``(target, args)`` with its output in ``log``, for as long as the orchestrator lives."""
    _end_with_orchestrator()
    # Ctrl-C reaches every process of the terminal's group; it is the orchestrator that stops its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _redirect_output(log)
    faulthandler.enable()  # the stack of a crash in compiled code goes to the log
    os.environ.update(thread_settings(threads))
    # The orchestrator's view of this process is that of a daemon, which may have no children; loaders of pictures may.
    multiprocessing.current_process().daemon = False
    for module in preload:
        importlib.import_module(module)  # already there; the fork server hides why when it could not import one
    target, args = pickle.loads(call)  # only now, so that an import error is in the log
    target(*args)


def _end_with_orchestrator() -> None:
    """Exits this process as soon as the orchestrator is gone, even if it was killed.

    Only the orchestrator holds the other end of the pipe that ``join`` reads, so its end is seen without polling.
    """
    orchestrator = multiprocessing.parent_process()
    assert orchestrator is not None, "a worker is started by LocalExecutor"

    def watch() -> None:
        orchestrator.join()
        os._exit(1)

    threading.Thread(target=watch, name="orchestrator-watch", daemon=True).start()


def _redirect_output(log: Path) -> None:
    sys.stdout.flush()  # what the fork server printed and had not yet written is not this run's
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    for stream in (sys.stdout, sys.stderr):
        assert isinstance(stream, io.TextIOWrapper)
        stream.reconfigure(line_buffering=True)  # nothing printed is lost when the worker is killed

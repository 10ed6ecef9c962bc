"""How busy a run's devices are, from time to time in its journal; see ``docs/decisions/011-system-metrics.md``."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from workspace import devices
from workspace.journal import JournalWriter
from workspace.training.task import Task

INTERVAL = 10.0
"""Seconds from one sample to the next, as in MLflow."""


@contextmanager
def system_metrics(task: Task, journal: JournalWriter) -> Iterator[None]:
    """Samples the task's devices in the background, the first time at once, and writes what they say to the journal.

    Devices that nothing reads (all but NPUs) cost nothing, not even a thread. Training neither waits for a sample nor
    hears of one that fails.
    """
    read = devices.of(task.devices[0]).monitor(task.devices)
    if read is None:
        yield
        return
    ended = threading.Event()
    writing = threading.Lock()

    def sample() -> None:
        while True:
            metrics = read()
            with writing:
                if ended.is_set():
                    return
                if metrics:
                    with suppress(OSError):  # a full disk is for the training to find
                        journal.write("system", devices=task.devices, metrics=metrics)
            if ended.wait(INTERVAL):
                return

    threading.Thread(target=sample, name="system-metrics", daemon=True).start()
    try:
        yield
    finally:
        with writing:  # a sample that is being taken, perhaps by a command that hangs, is not waited for
            ended.set()

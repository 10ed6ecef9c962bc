"""The journal of a run: ``events.jsonl`` in its folder, one JSON object a line, only ever appended to.

A worker writes it, the orchestrator follows it while the run trains, and tracking ships it, then or later. Kinds:

=============  ===========================================================================================
``start``      ``step``, ``epoch``: where this attempt begins, above 0 when it goes on from a checkpoint
``step``       ``step`` (1-based, over the whole run), ``epoch``, ``metrics``: name to float
``eval``       ``step``, ``epoch`` (completed), ``metrics``; AP under MMDetection's keys, as fractions (0 to 1)
``checkpoint`` ``step``, ``epoch``
``system``     ``devices``: torch's names of the run's devices; ``metrics``: how busy they were
``end``        ``status``: ``finished`` or ``failed``; ``reason`` when failed
=============  ===========================================================================================

Every event has ``time``, seconds since the epoch. After an interruption the events between the last checkpoint and
the kill stand twice; :func:`latest` keeps the ones of the last attempt. Samples of the hardware belong to no step: they
come from a thread or a process of their own, may precede their attempt's start, and all of them are kept.
"""

import errno
import json
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

Event = dict[str, Any]
EVENTS = "events.jsonl"


class JournalWriter:
    """Appends events to a run's journal; each line reaches the operating system before :meth:`write` returns.

    Threads and processes may write to one journal: a line is a single write to a file opened to append.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / EVENTS
        self._torn = path.exists() and path.stat().st_size > 0 and not _ends_with_newline(path)
        self._file = path.open("ab", buffering=0)

    def write(self, kind: str, **fields: Any) -> None:
        """Raises:
        OSError: the disk takes nothing more, and the event is not in the journal.
        """
        event = {"kind": kind, "time": time.time(), **fields}
        line = json.dumps(event, allow_nan=True).encode() + b"\n"
        if self._torn:  # a line cut by a kill or a full disk stays where it is, and alone: readers skip it
            line = b"\n" + line
        self._torn = self._file.write(line) < len(line)
        if self._torn:  # by a disk that became full just then, of which the system says nothing before the next write
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._file.name)

    def sync(self) -> None:
        """What was written is on the disk, should the machine lose its power."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


class JournalReader:
    """Follows a journal: each :meth:`read` yields the complete events since the last one."""

    def __init__(self, folder: Path, offset: int = 0) -> None:
        self._path = folder / EVENTS
        self.offset = offset

    def read(self) -> Iterator[Event]:
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self.offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return  # still being written
                self.offset += len(line)
                try:
                    event = json.loads(line)
                except ValueError:
                    continue  # cut by a kill
                if isinstance(event, dict) and "kind" in event:
                    yield event


def latest(events: Iterable[Event]) -> list[Event]:
    """The events of a run as if it had never been interrupted: of what stands twice, the last attempt's."""
    kept: list[Event] = []
    for event in events:
        if event["kind"] == "start":
            resumed_at = event.get("step", 0)
            kept = [e for e in kept if e.get("step", 0) <= resumed_at and e["kind"] != "end"]
        kept.append(event)
    return kept


def device_seconds(folder: Path) -> float:
    """Seconds that a run's attempts held a device; work lost to interruptions included."""
    total = 0.0
    last: float | None = None
    for event in JournalReader(folder).read():
        if event["kind"] == "system":
            continue
        if event["kind"] == "start":
            last = event["time"]
        elif last is not None:  # an attempt that fails before its training begins has an end and no start
            total += event["time"] - last
            last = None if event["kind"] == "end" else event["time"]
    return total


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"

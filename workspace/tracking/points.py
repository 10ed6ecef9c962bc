"""What of a run's journal becomes points of metrics, and which of them the tracking store lacks."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from workspace.journal import Event, JournalReader, latest

AP = "AP"
SYSTEM = "system/"
"""Begins the names that MLflow's UI shows under "System metrics"."""


class Point(NamedTuple):
    """One value of a metric; ``timestamp`` in milliseconds since the epoch, as MLflow counts."""

    name: str
    value: float
    timestamp: int
    step: int


class Points:
    """Follows a journal and holds the points that its tracked run lacks.

    A store cannot change a point once it has it, and after an interruption a journal tells some steps twice. So a
    metric only ever moves forward: a point is due when its step lies above the last one that the store has of that
    metric. Lines shipped twice, lost bookkeeping and steps trained again all reduce to that one rule.

    Evaluations wait for a checkpoint at their step or later, or the run's end: what is trained again after a kill is
    evaluated again, and the AP in the store must be the one in the run's result.

    The step of a sample of the hardware is its number in the journal, counted from 0 over all attempts, as in MLflow.

    Args:
        folder: of the run.
        metric: MMDetection's key of the AP, a fraction; shipped in points under ``AP`` as well.

    Attributes:
        started, ended: times of the journal's first and last event, in milliseconds; ``None`` before the first.
        last_step: of the last event that has one.
        reason: why the run failed, once its journal says so.
    """

    def __init__(self, folder: Path, metric: str) -> None:
        self._reader = JournalReader(folder)
        self._metric = metric
        self._stored: dict[str, int] = {}
        self._waiting: list[Event] = []
        self._checkpoint = 0
        self._samples = 0
        self.started: int | None = None
        self.ended: int | None = None
        self.last_step = 0
        self.reason: str | None = None

    def read(self) -> None:
        """Takes in what the journal has gained."""
        for event in self._reader.read():
            if event["kind"] == "system":
                event["sample"] = self._samples
                self._samples += 1
            self._waiting.append(event)
            self.ended = _milliseconds(event)
            self.started = self.started or self.ended
            self.last_step = event.get("step", self.last_step)
            if event["kind"] in ("start", "checkpoint"):
                self._checkpoint = event["step"]
            if event["kind"] == "end":
                self.reason = event.get("reason")
        self._waiting = latest(self._waiting)

    def due(self, *, complete: bool) -> list[Point]:
        """The points that the store lacks, in the order of their steps.

        Args:
            complete: the run is over, so no evaluation waits for a checkpoint any more.
        """
        self._waiting = [event for event in self._waiting if self._is_waiting(event)]
        found: dict[tuple[str, int], Point] = {}
        for event in self._waiting:
            if event["kind"] == "eval" and not complete and event["step"] > self._checkpoint:
                continue
            for name, value in self._values(event):
                found[name, _step(event)] = Point(name, value, _milliseconds(event), _step(event))
        return sorted((p for p in found.values() if self._lacks(p.name, p.step)), key=lambda p: p.step)

    def stored(self, last_steps: Mapping[str, int]) -> None:
        """The store has each of these metrics up to that step."""
        for name, step in last_steps.items():
            self._stored[name] = max(step, self._stored.get(name, -1))

    def _lacks(self, name: str, step: int) -> bool:
        return step > self._stored.get(name, -1)

    def _is_waiting(self, event: Event) -> bool:
        return event["kind"] in ("step", "eval", "system") and any(
            self._lacks(name, _step(event)) for name, _ in self._values(event)
        )

    def _values(self, event: Event) -> list[tuple[str, float]]:
        metrics = event.get("metrics", {})
        room = SYSTEM if event["kind"] == "system" else ""
        values = [(room + _metric_name(name), float(value)) for name, value in metrics.items()]
        if event["kind"] == "eval" and self._metric in metrics:
            values.append((AP, 100.0 * metrics[self._metric]))
        return values


def _step(event: Event) -> int:
    return int(event["sample" if event["kind"] == "system" else "step"])


def _milliseconds(event: Event) -> int:
    return int(event["time"] * 1000)


def _metric_name(name: str) -> str:
    """MLflow allows letters, digits and ``_ - . : / space`` in a name; classes of a data set may have others."""
    return re.sub(r"[^\w\-./: ]", "_", name, flags=re.ASCII)

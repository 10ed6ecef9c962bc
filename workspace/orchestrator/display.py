"""Live progress on a terminal, silence elsewhere; a table for the plan."""

import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table

from workspace.orchestrator.bill import Bill
from workspace.orchestrator.listing import ListedRun
from workspace.orchestrator.plan import Job

_MAY_BE_PRUNED = "search"

_LONGEST_TABLE = 500
"""Rows; of 10,000, rich would take seconds to draw the frame."""


class LiveDisplay:
    """Bars for the experiment and for each run in training.

    Args:
        total: runs that the experiment is expected to need.
        slots: runs at the same time.
    """

    def __init__(self, console: Console, total: int, slots: int) -> None:
        self._progress = Progress(
            TextColumn("{task.description:<28}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._total = self._progress.add_task("runs", total=total, note="")
        self._tasks: dict[str, TaskID] = {}
        self._begun: dict[str, float] = {}
        self._slots = slots
        self._seconds: list[float] = []
        self._left = total
        self._best: tuple[int, float] | None = None

    def __enter__(self) -> "LiveDisplay":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def started(self, job: Job, steps: int) -> None:
        signature = job.spec.signature
        self._begun[signature] = time.monotonic()
        note = f"{job.spec.precision.name} {signature}"
        self._tasks[signature] = self._progress.add_task(f"  {job.name}", total=steps, note=note)
        self._progress.update(self._total, description=job.phase)

    def stepped(self, job: Job, step: int) -> None:
        self._progress.update(self._tasks[job.spec.signature], completed=step)

    def ended(self, job: Job, state: str, ap: float | None) -> None:
        signature = job.spec.signature
        if signature in self._tasks:
            self._progress.remove_task(self._tasks.pop(signature))
        took = time.monotonic() - self._begun.pop(signature, time.monotonic())
        if took > 1:  # found finished otherwise
            self._seconds.append(took)
        self._left = max(0, self._left - 1)
        if job.trial is not None and job.full is None and ap is not None and (self._best is None or ap > self._best[1]):
            self._best = job.trial, ap
        self._progress.update(self._total, advance=1, note=self._note())
        if self._progress.console.is_terminal:
            word = f"{ap:.1f} AP" if ap is not None else state
            self._progress.console.print(f"{job.name:<24} {job.spec.precision.name:<5} {word}", highlight=False)

    def _note(self) -> str:
        words = []
        if self._seconds:
            mean = sum(self._seconds) / len(self._seconds)
            words.append(f"about {self._left * mean / self._slots / 60:.0f} min left")
        if self._best is not None:
            words.append(f"best trial {self._best[0]}: {self._best[1]:.1f} AP")
        return "  ".join(words)


def print_plan(console: Console, title: str, runs: Sequence[ListedRun], to_pay: Sequence[Bill]) -> None:
    """The runs in a table, and below it what those that are not finished are expected to cost on each device."""
    rows = [(run.job.name, run.signature or "-", run.state) for run in runs]
    if len(rows) <= _LONGEST_TABLE:
        table = Table("run", "signature", "state", title=title)
        for row in rows:
            table.add_row(*row)
        console.print(table)
    else:
        width = max(len(name) for name, _, _ in rows)
        lines = (f"{name:<{width}}  {signature:<16}  {state}" for name, signature, state in rows)
        console.out("\n".join((title, *lines)), highlight=False)
    for bill in to_pay:
        console.print(_bill_table(bill))
        notes = [
            *(f"published figures, of training alone: {page}" for page in bill.pages),
            *(f"unknown; to measure it, let this run for some minutes: {command}" for command in bill.probes),
        ]
        for note in notes:
            console.print(note, highlight=False, soft_wrap=True)
    if not to_pay:
        console.print("nothing is left to train")


def _bill_table(bill: Bill) -> Table:
    together = "one run at a time" if bill.slots == 1 else f"{bill.slots} runs at a time"
    table = Table(title=f"still to train on {bill.device}, {together}", show_footer=True)
    searches = any(line.phase == _MAY_BE_PRUNED for line in bill.lines)
    limit = "over" if bill.probes else ("at most" if searches else "")
    table.add_column("phase", footer="total")
    table.add_column("arm")
    table.add_column("precision")
    table.add_column("runs", footer=str(bill.total.runs), justify="right")
    table.add_column("steps", footer=f"{bill.total.steps:,}", justify="right")
    table.add_column("device time", footer=_limited(limit, bill.total.device_seconds), justify="right")
    table.add_column("wall time", footer=_limited(limit, bill.total.wall_seconds), justify="right")
    table.add_column("source")
    for line in bill.lines:
        limit = "at most" if line.phase == _MAY_BE_PRUNED else ""
        times = _limited(limit, line.device_seconds), _limited(limit, line.wall_seconds)
        table.add_row(line.phase, line.arm, line.precision, str(line.runs), f"{line.steps:,}", *times, line.source)
    return table


def _limited(limit: str, seconds: float | None) -> str:
    return "unknown" if seconds is None else f"{limit} {_duration(seconds)}".strip()


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:,.1f} h"

"""Live progress on a terminal, silence elsewhere; tables for the plan and the result."""

import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table

from workspace.orchestrator.listing import ListedRun
from workspace.orchestrator.plan import Job
from workspace.orchestrator.report import Report


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
        if job.trial is not None and ap is not None and (self._best is None or ap > self._best[1]):
            self._best = job.trial, ap
        self._progress.update(self._total, advance=1, note=self._note())
        if self._progress.console.is_terminal:
            word = f"{ap:.1f} AP" if ap is not None else state
            self._progress.console.print(f"{job.name:<18} {job.spec.precision.name:<5} {word}", highlight=False)

    def _note(self) -> str:
        words = []
        if self._seconds:
            mean = sum(self._seconds) / len(self._seconds)
            words.append(f"about {self._left * mean / self._slots / 60:.0f} min left")
        if self._best is not None:
            words.append(f"best trial {self._best[0]}: {self._best[1]:.1f} AP")
        return "  ".join(words)


def result_table(report: Report) -> Table:
    """The arms with their AP, and each candidate's gap with its interval and verdict."""
    table = Table(title=f"{report.experiment} ({report.scale}), {report.metric} in AP points")
    for column in ("arm", "precision", "seeds", "AP", "gap", "90 % interval", f"verdict at {report.margin:g}"):
        table.add_column(column, justify="left" if column in ("arm", "precision") else "right")
    for name, arm in report.arms.items():
        values = list(arm.ap.values())
        mean = sum(values) / len(values)
        spread = f" ({min(values):.1f} to {max(values):.1f})" if len(values) > 1 else ""
        gap = report.gaps.get(name)
        cells = ("", "", "")
        if gap is not None:
            interval = "none" if gap.low is None or gap.high is None else f"{gap.low:+.2f} to {gap.high:+.2f}"
            cells = (f"{gap.mean:+.2f}", interval, gap.verdict)
        table.add_row(name, arm.precision, str(len(values)), f"{mean:.1f}{spread}", *cells)
    return table


def print_plan(console: Console, title: str, runs: Sequence[ListedRun]) -> None:
    """The runs in a table, and what those that are not finished are expected to take."""
    table = Table(title=title)
    for column in ("run", "signature", "state", "device time"):
        table.add_column(column, justify="right" if column == "device time" else "left")
    for run in runs:
        table.add_row(run.name, run.signature or "-", run.state, _duration(run.seconds))
    console.print(table)
    due = [run.seconds for run in runs if run.is_due]
    known = [seconds for seconds in due if seconds is not None]
    total = _duration(sum(known) if len(known) == len(due) else None)
    console.print(f"still to train: {len(due)} runs, {total} of device time at most (trials may be pruned)")


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

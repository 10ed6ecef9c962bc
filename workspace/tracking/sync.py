"""What a work folder holds of an experiment, shipped to a store: later, from a copy of the folder, or to another one.

Any number of times with the same result, for the store itself says what it has. What it knows better is left alone: an
experiment of which it has seen a later end, and the end of a run that here looks interrupted.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from workspace.errors import UserError
from workspace.redaction import redact
from workspace.spec import run_folder
from workspace.tracking.points import Points
from workspace.tracking.record import Publication, Record, RecordedRun, read_records
from workspace.tracking.runs import Runs, known_until
from workspace.tracking.store import check_uri, connect, is_refusal, reason_of
from workspace.tracking.tracked import TrackedRun


@dataclass(frozen=True)
class Synced:
    """What became of one experiment.

    Attributes:
        runs: that the store has now.
        points: of metrics that it did not have before.
        refused: what it does not take, and why; a line each.
        is_newer: it has seen a later end of the experiment, whose results were therefore left alone.
    """

    experiment: str
    runs: int
    points: int
    refused: tuple[str, ...]
    is_newer: bool


def sync(work_dir: Path, uri: str, experiment: str, *, progress: Callable[[], None] = lambda: None) -> Synced:
    """Brings the store to what the work folder says of the experiment; nobody may be playing it meanwhile.

    Args:
        progress: called whenever the store has taken something.

    Raises:
        UserError: the URI names no store, the store cannot be reached, or it keeps the experiment as deleted.
    """
    check_uri(uri)
    try:
        runs = Runs(connect(uri), uri, experiment, work_dir, progress=progress)
        shipped = [_Sync(work_dir, runs, record) for record in read_records(work_dir, experiment)]
        for part in shipped:
            part.ship()
    except UserError:
        raise
    except Exception as error:  # of whichever database driver or HTTP library is behind it
        raise UserError(
            f"{experiment}: {redact(uri)} does not take it: {reason_of(error)}; what it has stays, sync again goes on"
        ) from error
    return Synced(
        experiment,
        runs=sum(part.runs for part in shipped),
        points=sum(part.points for part in shipped),
        refused=tuple(line for part in shipped for line in part.refused),
        is_newer=any(part.is_newer for part in shipped),
    )


class _Sync:
    """One record on its way."""

    def __init__(self, work_dir: Path, store: Runs, record: Record) -> None:
        self._work_dir, self._store, self._record = work_dir, store, record
        self.runs = self.points = 0
        self.refused: list[str] = []
        self.is_newer = False

    def ship(self) -> None:
        record, store = self._record, self._store
        parent = store.parent(record.parent, start_time=record.started)
        parent_id = parent.info.run_id
        self.is_newer = known_until(parent) > record.until
        if not self.is_newer:
            store.describe_parent(parent, record.parent, record.source)
        for signature, run in record.runs.items():
            self._child(parent_id, signature, run)
        if not self.is_newer:
            *earlier, last = record.publications or [Publication()]
            for publication in earlier:  # their files were written over since
                self._publish(parent_id, replace(publication, files=()))
            self._publish(parent_id, last)
            # An orchestrator that was killed left no word; it would have set its runs and itself to this.
            store.close(parent_id, record.state or "interrupted", record.until)

    def _child(self, parent_id: str, signature: str, run: RecordedRun) -> None:
        folder = run_folder(self._work_dir, run.spec)
        child = TrackedRun(run.spec, folder, run.name, run.source, Points(folder, run.metric), run.tags)
        try:
            self.points += child.bring_up_to_date(
                self._store,
                parent_id,
                self._record.parent.data,
                wanted="interrupted" if run.state == "running" else run.state,
                tags=run.tags,
                refused=self._refuse,
            )
        except Exception as error:
            if not is_refusal(error):
                raise
            self._refuse(f"the run {run.name!r} ({signature})", error)
        else:
            self.runs += 1

    def _publish(self, parent_id: str, publication: Publication) -> None:
        work_dir = self._work_dir.resolve()
        there = [file for file in publication.files if file.exists() and file.resolve().is_relative_to(work_dir)]
        self.refused += [
            f"{file}: not in the work folder, or not any more" for file in publication.files if file not in there
        ]
        try:
            self._store.publish(parent_id, replace(publication, files=there))
        except Exception as error:
            if not is_refusal(error):
                raise
            self._refuse("the experiment's results", error)

    def _refuse(self, what: str, error: Exception) -> None:
        self.refused.append(f"{what}: {reason_of(error)}")

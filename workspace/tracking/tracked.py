"""A training run on its way into a store: what is wanted of it, and what the store was seen to have."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workspace.spec import RunSpec
from workspace.tracking.fields import DataSet
from workspace.tracking.points import Points
from workspace.tracking.record import Source, State
from workspace.tracking.runs import Runs, last_steps, state_of
from workspace.tracking.store import is_refusal

if TYPE_CHECKING:
    from mlflow.entities import Run

_OVER = ("finished", "failed", "pruned")


@dataclass
class TrackedRun:
    """``tags`` and ``wanted`` are set from outside; what stands below them, by :meth:`bring_up_to_date` alone."""

    spec: RunSpec
    folder: Path
    name: str
    source: Source
    points: Points
    tags: dict[str, str]
    wanted: State = "running"
    run_id: str = ""
    described: dict[str, str] | None = None
    shown: str | None = None
    refused: bool = False

    @property
    def is_done(self) -> bool:
        return self.refused or (self.wanted != "running" and self.shown == self.wanted and self.described == self.tags)

    def bring_up_to_date(
        self,
        runs: Runs,
        parent: str,
        data: DataSet,
        *,
        wanted: State,
        tags: dict[str, str],
        refused: Callable[[str, Exception], None],
        found: "Run | None" = None,
    ) -> int:
        """Brings the store to where the run is. Whatever it raises, the next call can start from anywhere.

        Args:
            parent: id of the parent's run.
            wanted, tags: as they were set last.
            found: the run in the store, where that is known already.
            refused: told of files that the store does not take, which keep nothing else from it.

        Returns:
            Points that the store did not have.
        """
        self.points.read()
        if self.described != tags:
            run = runs.child(
                parent,
                self.spec,
                name=self.name,
                data=data,
                tags=tags,
                source=self.source,
                start_time=self.points.started,
                found=found,
            )
            self.points.stored(last_steps(run))
            self.run_id, self.shown, self.described = run.info.run_id, state_of(run), tags
        is_over = wanted not in ("running", "interrupted")
        due = self.points.due(complete=is_over)
        if not due and (wanted == self.shown != "running" or (wanted == "interrupted" and self.shown in _OVER)):
            return 0
        if due and self.shown != "running":
            runs.reopen(self.run_id)
            self.shown = "running"
        runs.ship(self.run_id, self.points, due)
        if is_over:
            try:
                runs.upload(self.run_id, self.folder)
            except Exception as error:
                if not is_refusal(error):
                    raise
                refused(f"the files of the run {self.name!r}", error)
        if wanted != "running":
            runs.settle(self.run_id, wanted, self.folder, self.points)
            self.shown = wanted
        return len(due)

"""A loop over the runs of a small plan, with a tracking store that nobody serves and a display that nobody looks at."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from small_plan import conditions

from workspace import tracking
from workspace.execution import LocalExecutor
from workspace.orchestrator.loop import Loop
from workspace.orchestrator.plan import Job
from workspace.spec import RunSpec


class Silent:
    """A display that nobody looks at."""

    def started(self, job: Job, steps: int) -> None: ...
    def stepped(self, job: Job, step: int) -> None: ...
    def ended(self, job: Job, state: str, ap: float | None) -> None: ...


def small_loop(
    work_dir: Path, executor: LocalExecutor, launch: Callable[[str, RunSpec, Path, int], None], **changes: Any
) -> Loop:
    """One slot, and no study, unless told otherwise."""
    tracker = tracking.Tracker("http://127.0.0.1:9", "small", work_dir)  # nobody listens
    data = tracking.DataSet(name="dots", digest="0", source="none")
    tracker.start(scale="demo", data=data, params={}, tags={})
    fields = {"slots": 1, "place": None, "study": None, **changes}
    return Loop(
        conditions=conditions(),
        work_dir=work_dir,
        executor=executor,
        launch=launch,
        tracker=tracker,
        display=Silent(),
        **fields,
    )

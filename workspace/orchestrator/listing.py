"""The runs of a plan, what is known of each, and what is still to be paid for: the answer to ``--plan``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from workspace.orchestrator.cost import expected_seconds, finished_runs
from workspace.orchestrator.plan import Job, Plan
from workspace.orchestrator.runs import run_state
from workspace.search import Study
from workspace.spec import run_folder


@dataclass(frozen=True)
class ListedRun:
    """A run of a plan.

    Attributes:
        signature: ``None`` while the recipe is the search's to choose.
        seconds: of device time that it is expected to take, or ``None`` when nothing is known of such runs.
        is_due: whether the next start would train it; a failed run of the verdict is tried again, a failed trial not.
    """

    name: str
    signature: str | None
    state: str
    seconds: float | None
    is_due: bool


def list_runs(plan: Plan, work_dir: Path, study: Study | None) -> Sequence[ListedRun]:
    """All runs that the plan needs, in the order in which they are played.

    Args:
        study: where the search is stored, if it has begun.
    """
    measured = finished_runs(work_dir)

    def listed(job: Job, *, known: bool = True, lost: str | None = None) -> ListedRun:
        state = lost or (run_state(run_folder(work_dir, job.spec)) if known else "new")
        return ListedRun(
            name=job.name,
            signature=job.spec.signature if known else None,
            state=state,
            seconds=expected_seconds(plan, job.spec, measured),
            is_due=lost is None and state != "finished",
        )

    runs = [listed(job) for job in (*plan.baseline(), *plan.default())]
    if not plan.experiment.space or not plan.trials:
        return runs
    rows = {} if study is None else {row.number: row for row in study.trials()}
    settled = 0
    for number in range(plan.trials):
        row = rows.get(number)
        # A trial that was cut off while it was being asked has some of its parameters only.
        if study is None or row is None or row.labels.keys() != study.space.words.keys():
            runs.append(listed(plan.trial(number, {}), known=number == 0))
            continue
        job = plan.trial(number, study.space.decode(row.labels))
        runs.append(listed(job, lost=row.state if row.state in ("pruned", "failed") else None))
        settled += row.state in ("finished", "pruned", "failed")
    best = study.best(plan.trials) if study is not None and settled == plan.trials else None
    confirm = plan.confirm(best.params if best is not None else {})
    return [*runs, *(listed(job, known=best is not None) for job in confirm)]

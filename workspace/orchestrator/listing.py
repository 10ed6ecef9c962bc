"""The runs of a plan and what is known of each: the first half of the answer to ``--plan``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from workspace.orchestrator.plan import ComparisonPlan, Job, Plan
from workspace.orchestrator.runs import run_state
from workspace.search import Study
from workspace.spec import run_folder


@dataclass(frozen=True)
class ListedRun:
    """A run of a plan.

    Attributes:
        job: with the default recipe while the recipe is the search's to choose.
        signature: ``None`` while it is.
        steps: of the optimizer.
        is_due: whether the next start would train it; a failed run of the verdict is tried again, a failed trial not.
    """

    job: Job
    signature: str | None
    state: str
    steps: int
    is_due: bool


def list_experiment(plan: Plan, work_dir: Path, study: Study | None) -> Sequence[ListedRun]:
    """All runs that the plan needs, in the order in which they are played.

    Args:
        study: where the search is stored, if it has begun.
    """

    def listed(job: Job, *, known: bool = True, lost: str | None = None) -> ListedRun:
        return _listed(plan, job, work_dir, known=known, lost=lost)

    runs = [listed(job) for job in (*plan.baseline(), *plan.default())]
    if not plan.has_search:
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


def list_comparison(plan: ComparisonPlan, work_dir: Path) -> Sequence[ListedRun]:
    """All runs that the plan needs, arm by arm."""
    return [_listed(plan, job, work_dir) for jobs in plan.arms().values() for job in jobs]


def _listed(
    plan: Plan | ComparisonPlan, job: Job, work_dir: Path, *, known: bool = True, lost: str | None = None
) -> ListedRun:
    state = lost or (run_state(run_folder(work_dir, job.spec)) if known else "new")
    return ListedRun(
        job=job,
        signature=job.spec.signature if known else None,
        state=state,
        steps=plan.conditions.steps(job.spec),
        is_due=lost is None and state != "finished",
    )

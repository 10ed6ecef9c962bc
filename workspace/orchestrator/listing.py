"""The runs of a plan and what is known of each: the first half of the answer to ``--plan``."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from workspace.orchestrator.looks import seeds_to_come
from workspace.orchestrator.plan import ComparisonPlan, Job, Plan
from workspace.orchestrator.runs import RunRecord, run_state
from workspace.search import Study, Trial
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


def list_experiment(
    plan: Plan, work_dir: Path, study: Study | None = None, baseline_study: Study | None = None
) -> Sequence[ListedRun]:
    """All runs that the plan needs, in the order in which they are played; at most, where seeds are added.

    Args:
        study: where the search is stored, if it has begun.
        baseline_study: the same of the baseline's search.
    """
    at_least = plan.seeds
    plan = plan.at(plan.max_seeds or plan.seeds)
    arms: dict[str, Sequence[Job]] = {"baseline": plan.baseline(), "default": plan.default()}
    known = set(arms)
    trials: list[ListedRun] = []
    for searching, found in zip(plan.searches, (study, baseline_study), strict=False):
        runs, best = _list_search(searching, work_dir, found)
        trials += runs
        confirm = searching.confirm(best.params if best is not None else {})
        arms[confirm[0].arm] = confirm
        if best is not None:
            known.add(confirm[0].arm)
    if plan.max_seeds is not None:
        finished = {arm: _finished(jobs, work_dir) if arm in known else {} for arm, jobs in arms.items()}
        needed = seeds_to_come(plan, finished)
        arms = {arm: jobs[: max(needed[arm], at_least)] for arm, jobs in arms.items()}
    listed = {arm: [_listed(plan, job, work_dir, known=arm in known) for job in jobs] for arm, jobs in arms.items()}
    return [*listed.pop("baseline"), *listed.pop("default"), *trials, *itertools.chain(*listed.values())]


def _list_search(plan: Plan, work_dir: Path, study: Study | None) -> tuple[list[ListedRun], Trial | None]:
    """The trials of a search, and its winner once all of them are settled."""
    runs = []
    rows = {} if study is None else {row.number: row for row in study.trials()}
    settled = 0
    for number in range(plan.trials):
        row = rows.get(number)
        # A trial that was cut off while it was being asked has some of its parameters only.
        if study is None or row is None or row.labels.keys() != study.space.words.keys():
            runs.append(_listed(plan, plan.trial(number, {}), work_dir, known=number == 0))
            continue
        job = plan.trial(number, study.space.decode(row.labels))
        runs.append(_listed(plan, job, work_dir, lost=row.state if row.state in ("pruned", "failed") else None))
        settled += row.state in ("finished", "pruned", "failed")
    return runs, study.best(plan.trials) if study is not None and settled == plan.trials else None


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


def _finished(jobs: Sequence[Job], work_dir: Path) -> dict[int, float]:
    """AP in points by seed, of an arm's first runs up to one that is not finished."""
    folders = {job.spec.seed: run_folder(work_dir, job.spec) for job in jobs}
    first = itertools.takewhile(lambda item: run_state(item[1]) == "finished", folders.items())
    return {seed: RunRecord.load(folder).ap for seed, folder in first}

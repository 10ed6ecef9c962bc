"""The runs of a plan and what is known of each: the first half of the answer to ``--plan``."""

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from workspace.orchestrator.comparison_plan import ComparisonPlan
from workspace.orchestrator.diagnosed import Progress, rules
from workspace.orchestrator.looks import seeds_to_come
from workspace.orchestrator.plan import PROPOSED, Job, Plan
from workspace.orchestrator.promotion import had_cheap_run, is_begun, is_promoted
from workspace.orchestrator.proposed import closes, given_up_after
from workspace.orchestrator.runs import RunRecord, run_state
from workspace.search import Study, Trial, TrialRow
from workspace.spec import RunSpec, run_folder


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
    is_closed = False
    if proposed := plan.proposed():
        aps = {arm: _finished(runs, work_dir) for arm, runs in {**arms, PROPOSED: proposed}.items()}
        given_up = given_up_after(plan, aps["baseline"], aps[PROPOSED])
        arms[PROPOSED], is_closed = proposed[:given_up], closes(plan, aps)
    known = set(arms)
    trials: list[ListedRun] = []
    searches = () if is_closed else plan.searches
    for searching, found in zip(searches, (study, baseline_study), strict=False):
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
    before = [listed.pop(arm, []) for arm in ("baseline", "default", PROPOSED)]
    return [*itertools.chain(*before), *trials, *itertools.chain(*listed.values())]


def _list_search(plan: Plan, work_dir: Path, study: Study | None) -> tuple[list[ListedRun], Trial | None]:
    """The trials of a search, and its winner once all of them are settled."""
    trials: list[list[ListedRun]] = []
    selection = None if study is None else study.selection()
    is_given_up = selection is not None and selection.is_given_up
    rows = {} if study is None else {row.number: row for row in study.trials()}
    first = [*plan.start.first, {}] if plan.start else [{}]
    settled = 0
    for number in range(plan.trials):
        row = rows.get(number)
        # A trial that was cut off while it was being asked has some of its parameters only.
        if study is None or row is None or row.labels.keys() != study.space.words.keys():
            job = plan.trial(number, first[number] if number < len(first) else {})
            cheap = None if is_given_up else plan.cheap(job)
            jobs = [job] if cheap is None else [cheap, job]
            trials.append([_listed(plan, job, work_dir, known=number < len(first)) for job in jobs])
            continue
        trials.append(_list_trial(plan, row, study, work_dir, is_given_up=is_given_up))
        settled += row.state in ("finished", "pruned", "failed")
    if plan.start is not None:
        return _list_diagnosed(plan, work_dir, study, trials)
    best = study.best(plan.trials) if study is not None and settled == plan.trials else None
    return list(itertools.chain(*trials)), best


def _list_trial(plan: Plan, row: TrialRow, study: Study, work_dir: Path, *, is_given_up: bool) -> list[ListedRun]:
    """The runs of a trial that the study has asked: its cheap one, where it has one, and its full one."""
    job = plan.trial(row.number, study.space.decode(row.labels))
    lost = row.state if row.state in ("pruned", "failed") else None
    cheap = plan.cheap(job) if had_cheap_run(row) or not (is_begun(row) or is_given_up) else None
    lost_early = "failed" if lost == "failed" and not is_promoted(row) else None
    runs = [] if cheap is None else [_listed(plan, cheap, work_dir, lost=lost_early)]
    return [*runs, _listed(plan, job, work_dir, lost=lost)]


def _list_diagnosed(
    plan: Plan, work_dir: Path, study: Study | None, trials: list[list[ListedRun]]
) -> tuple[list[ListedRun], Trial | None]:
    """The reference's runs, the trials, and further seeds of their recipes, at most; the winner once the search ended.

    Its recipes' further seeds are not known before: as many as may be are listed.
    """
    reference = [_listed(plan, plan.searched_for(seed), work_dir) for seed in range(rules(plan).seeds)]
    if study is not None:
        progress = Progress.of(plan, study, lambda spec: _ap(work_dir, spec))
        step = rules(plan).next_step(progress.points, progress.reference, asked=progress.asked, trials=plan.trials)
        if step == "stop" and not progress.running:
            chosen = rules(plan).chosen(progress.points)
            further = [
                _listed(plan, plan.further(at.number, study.trial(at.number).params, seed), work_dir)
                for at in progress.points
                for seed in range(1, len(at.values))
            ]
            asked = itertools.chain(*trials[: progress.asked])
            known = [*reference[: len(progress.reference)], *asked, *further]
            return known, None if chosen is None else study.trial(chosen.number)
    unknown = [
        dataclasses.replace(plan.further(0, {}, seed), name=f"further seed {seed}")
        for seed in range(1, rules(plan).further + 1)
    ]
    return [
        *reference,
        *itertools.chain(*trials),
        *(_listed(plan, job, work_dir, known=False) for job in unknown),
    ], None


def _ap(work_dir: Path, spec: RunSpec) -> float | None:
    folder = run_folder(work_dir, spec)
    return RunRecord.load(folder).ap if run_state(folder) == "finished" else None


def list_comparison(plan: ComparisonPlan, work_dir: Path) -> Sequence[ListedRun]:
    """All runs that the plan needs, arm by arm; at most, where seeds are added."""
    at_least = plan.seeds
    arms: dict[str, Sequence[Job]] = {**plan.at(plan.max_seeds or plan.seeds).arms()}
    if plan.max_seeds is not None:
        needed = seeds_to_come(plan, {arm: _finished(jobs, work_dir) for arm, jobs in arms.items()})
        arms = {arm: jobs[: max(needed[arm], at_least)] for arm, jobs in arms.items()}
    return [_listed(plan, job, work_dir) for jobs in arms.values() for job in jobs]


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

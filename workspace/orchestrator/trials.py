"""The jobs of a search, and its study."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypedDict

from workspace.orchestrator.loop import Settled
from workspace.orchestrator.plan import Job, Plan
from workspace.orchestrator.promotion import begin, had_cheap_run, is_begun, is_promoted
from workspace.search import Fidelity, Label, Space, Study, Trial, resolve

_SAMPLER_SEED = 0
"""Each trial's own draw is seeded from it and the trial's number."""

_PRUNE_FROM = 0.4
"""Share of a trial's epochs before which none is pruned: early AP ranks recipes badly."""


class _Question(TypedDict):
    identity: Any
    space: Space
    seed: int
    prune_from: int
    first: Sequence[Mapping[str, Label]]
    ranked: bool
    fidelity: Fidelity | None


def open_study(plan: Plan, url: str) -> Study:
    """The study of that plan, made if it is new."""
    return Study(plan.name, **_question(plan), url=url)


def study_exists(plan: Plan, url: str) -> bool:
    """Whether :func:`open_study` would go on with a study, and not make one."""
    return Study.is_stored(plan.name, **_question(plan), url=url)


def search(plan: Plan, study: Study, recall: Callable[[Job, Settled], None]) -> Iterator[Job]:
    """The jobs of the search: trials that were interrupted, then new ones up to the plan's number.

    Args:
        recall: is told of each run of a trial that a past start has settled.
    """
    recall_settled(plan, study, recall)
    for trial in interrupted(plan, study):
        yield trial_job(plan, study, trial)
    while sum(row.state != "waiting" for row in study.trials()) < plan.trials:
        yield trial_job(plan, study, study.ask())


def recall_settled(plan: Plan, study: Study, recall: Callable[[Job, Settled], None]) -> None:
    """Tells of each run of a trial that a past start has settled: also of the cheap one before a full one that runs."""
    for row in study.trials():
        if not is_begun(row):
            continue
        trial = plan.trial(row.number, study.space.decode(row.labels))
        state = row.state if row.state in ("finished", "pruned", "failed") else None
        if had_cheap_run(row) and (cheap := plan.cheap(trial)) is not None and (state or is_promoted(row)):
            recall(cheap, "failed" if state == "failed" and not is_promoted(row) else "finished")
        if state is not None and is_promoted(row):
            recall(trial, state)


def interrupted(plan: Plan, study: Study) -> list[Trial]:
    """The plan's trials that were running when a past start ended."""
    return [trial for trial in study.resume() if trial.number < plan.trials]


def trial_job(plan: Plan, study: Study, trial: Trial) -> Job:
    """The run that a trial begins or goes on with: its cheap one first, where it has one. The study is told of it."""
    job = plan.trial(trial.number, trial.params)
    cheap = plan.cheap(job)
    if cheap is not None:
        row, selection = study.trials()[trial.number], study.selection()
        is_given_up = selection is not None and selection.is_given_up
        if not is_promoted(row) and (had_cheap_run(row) or not is_given_up):
            job = cheap
    begin(study, job)
    return job


def _question(plan: Plan) -> _Question:
    space = resolve(plan.space, plan.default_values)
    return {
        "identity": plan.study_identity,
        "space": space,
        "seed": _SAMPLER_SEED,
        "prune_from": math.ceil(_PRUNE_FROM * plan.trial(0, {}).spec.epochs),
        "first": [space.encode(point) for point in plan.start.first] if plan.start else [],
        "ranked": plan.start is not None,
        "fidelity": plan.fidelity,
    }

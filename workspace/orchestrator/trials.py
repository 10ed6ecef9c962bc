"""The jobs of a search, and its study."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypedDict

from workspace.orchestrator.loop import Settled
from workspace.orchestrator.plan import Job, Plan
from workspace.search import Label, Space, Study, Trial, resolve

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


def open_study(plan: Plan, url: str) -> Study:
    """The study of that plan, made if it is new."""
    return Study(plan.name, **_question(plan), url=url)


def study_exists(plan: Plan, url: str) -> bool:
    """Whether :func:`open_study` would go on with a study, and not make one."""
    return Study.is_stored(plan.name, **_question(plan), url=url)


def search(plan: Plan, study: Study, recall: Callable[[Job, Settled], None]) -> Iterator[Job]:
    """The jobs of the search: trials that were interrupted, then new ones up to the plan's number.

    Args:
        recall: is told of each trial that a past start has settled.
    """
    recall_settled(plan, study, recall)
    for trial in interrupted(plan, study):
        yield trial_job(plan, study, trial)
    while sum(row.state != "waiting" for row in study.trials()) < plan.trials:
        yield trial_job(plan, study, study.ask())


def recall_settled(plan: Plan, study: Study, recall: Callable[[Job, Settled], None]) -> None:
    """Tells of each trial that a past start has settled."""
    for row in study.trials():
        if row.state in ("finished", "pruned", "failed") and "signature" in row.attrs:
            recall(plan.trial(row.number, study.space.decode(row.labels)), row.state)


def interrupted(plan: Plan, study: Study) -> list[Trial]:
    """The plan's trials that were running when a past start ended."""
    return [trial for trial in study.resume() if trial.number < plan.trials]


def trial_job(plan: Plan, study: Study, trial: Trial) -> Job:
    """The run of a trial, which the study is told of."""
    job = plan.trial(trial.number, trial.params)
    study.annotate(trial.number, signature=job.spec.signature)
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
    }

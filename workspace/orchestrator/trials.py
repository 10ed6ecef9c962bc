"""The jobs of a search, and its study."""

import math
from collections.abc import Callable, Iterator
from typing import Any, TypedDict

from workspace.orchestrator.loop import Settled
from workspace.orchestrator.plan import Job, Plan
from workspace.search import Space, Study, Trial, resolve

_SAMPLER_SEED = 0
"""Each trial's own draw is seeded from it and the trial's number."""

_PRUNE_FROM = 0.4
"""Share of a trial's epochs before which none is pruned: early AP ranks recipes badly."""


class _Question(TypedDict):
    identity: Any
    space: Space
    seed: int
    prune_from: int


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
    for row in study.trials():
        if row.state in ("finished", "pruned", "failed") and "signature" in row.attrs:
            recall(plan.trial(row.number, study.space.decode(row.labels)), row.state)
    for trial in study.resume():
        if trial.number < plan.trials:
            yield _job(plan, study, trial)
    while sum(row.state != "waiting" for row in study.trials()) < plan.trials:
        yield _job(plan, study, study.ask())


def _job(plan: Plan, study: Study, trial: Trial) -> Job:
    job = plan.trial(trial.number, trial.params)
    study.annotate(trial.number, signature=job.spec.signature)
    return job


def _question(plan: Plan) -> _Question:
    return {
        "identity": plan.study_identity,
        "space": resolve(plan.space, plan.default_values),
        "seed": _SAMPLER_SEED,
        "prune_from": math.ceil(_PRUNE_FROM * plan.trial(0, {}).spec.epochs),
    }

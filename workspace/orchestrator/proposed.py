"""The recipe that a diagnosis proposes first: judged before anything is searched, and given up when it cannot close.

A diagnosis has seen no AP, so what it proposes needs no search split to be chosen on: the first runs that it takes are
the verdict's own. Where it is *closed*, nothing is searched.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial

from workspace.gap import FUTILE, LOOKS, Gap, chance_of_closing, measure_gap, measure_sequentially
from workspace.orchestrator.comparison_plan import ComparisonPlan
from workspace.orchestrator.plan import PROPOSED, Job, Plan

AP = Mapping[int, float]  # in points, by seed


def gap_of(plan: Plan | ComparisonPlan, name: str, reference: AP, candidate: AP) -> Gap:
    """The verdict of that name as the plan gives it: at one look or at several, allowing for all recipes it judges."""
    measure = measure_gap if plan.max_seeds is None else measure_sequentially
    return measure(reference, candidate, plan.margin, recipes=plan.recipes_for(name))


def proposed_jobs(plan: Plan, ap: Callable[[Iterable[Job]], AP]) -> Iterator[Job]:
    """The runs of the proposed recipe, seed by seed, until it is given up.

    Args:
        ap: of an arm's first runs, up to one that is not finished.
    """
    baseline, runs = plan.baseline(), plan.proposed()
    for job in runs:
        if given_up_after(plan, ap(baseline), ap(runs)) is not None:
            return
        yield job


def given_up_after(plan: Plan, baseline: AP, proposed: AP) -> int | None:
    """Seeds after which the proposed recipe can hardly be called closed any more; ``None`` while it can.

    The first seeds alone are looked at, whatever else has finished meanwhile, so that more workers and a restart come
    to the same answer. Where seeds are added from look to look, it is a look's question.

    Args:
        baseline, proposed: AP of the runs that are finished.
    """
    if plan.max_seeds is None:
        counts, final = list(range(1, plan.seeds)), plan.seeds
        if len(baseline) < plan.seeds:
            return None
    else:
        counts, final = [look for look in LOOKS if look < plan.max_seeds], plan.max_seeds
    chance = partial(
        chance_of_closing,
        margin=plan.margin,
        seeds=final,
        recipes=plan.recipes_for(PROPOSED),
        sequential=plan.max_seeds is not None,
    )
    for count in counts:
        first = _first(proposed, count)
        beside = baseline if plan.max_seeds is None else _first(baseline, count)
        if first is None or beside is None:
            return None
        if chance(beside, first) < FUTILE:
            return count
    return None


def closes(plan: Plan, aps: Mapping[str, AP]) -> bool:
    """Whether the proposed recipe is *closed*, so that nothing is left to search for.

    Args:
        aps: AP of the runs that are finished, by arm.
    """
    arms = [aps.get(arm, {}) for arm in ("baseline", PROPOSED)]
    if plan.max_seeds is None and min(map(len, arms)) < plan.seeds:
        return False
    return all(arms) and gap_of(plan, PROPOSED, *arms).verdict == "closed"


def _first(arm: AP, seeds: int) -> AP | None:
    """The first seeds by number, where there are so many."""
    return {seed: arm[seed] for seed in sorted(arm)[:seeds]} if len(arm) >= seeds else None

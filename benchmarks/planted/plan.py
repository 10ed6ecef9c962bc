"""Which runs are made of each planted cause."""

import itertools
from collections.abc import Sequence
from pathlib import Path

from benchmarks.planted.causes import Cause
from benchmarks.planted.diagnosed import PROPOSALS, proposals
from benchmarks.planted.known import Known
from benchmarks.planted.pool import draw_recipe, held_draws
from benchmarks.planted.runs import Job
from workspace.gap import FUTILE, chance_of_closing
from workspace.search.strategy import Rules

CHEAPER = 1 / 3
"""Share of the schedule that recipes are compared at for less."""

COMPRESSED_UP_TO = 10
"""Recipes of a pool that are trained in the cheaper schedule too: enough to tell how it ranks them."""

MARGIN = 5.0
"""AP points that a mended run may lose: twice the spread of seeds."""

_SEARCH_SEEDS_FROM = 1000
_PROPOSAL_SEEDS_FROM = 1100


def gap_jobs(causes: Sequence[Cause], seeds: int) -> list[Job]:
    """FP32, FP16 and FP16 mended; the first seed of all causes before the second of any."""
    arms = ("default", "fp32", "mended")
    return [
        Job(cause, arm, cause.mend if arm == "mended" else {}, 1.0, seed, "eval")
        for seed, cause, arm in itertools.product(range(seeds), causes, arms)
    ]


def pool_jobs(causes: Sequence[Cause], places: range) -> list[Job]:
    """On the search split, in full and compressed: the default recipe, FP32, then recipes drawn at random.

    Args:
        places: which of these; causes take turns at each.
    """
    return [
        Job(cause, *_recipe(cause, place), fidelity, _SEARCH_SEEDS_FROM + place, "search")
        for place, cause, fidelity in itertools.product(places, causes, (1.0, CHEAPER))
        if fidelity == 1 or place < 2 + COMPRESSED_UP_TO
    ]


def held_jobs(causes: Sequence[Cause], count: int) -> list[Job]:
    """In full on the search split: further draws whose FP32 island holds the planted module, so many of each cause."""
    places = {cause.name: [2 + index for index in held_draws(cause, count)] for cause in causes}
    return [
        Job(cause, *_recipe(cause, place), 1.0, _SEARCH_SEEDS_FROM + place, "search")
        for row in itertools.zip_longest(*places.values())
        for cause, place in zip(causes, row, strict=True)
        if place is not None
    ]


def _recipe(cause: Cause, place: int) -> tuple[str, dict[str, object]]:
    if place < 2:
        return ("default", "fp32")[place], {}
    return f"pool{place - 2:02d}", draw_recipe(cause, place - 2)


def proposal_jobs(causes: Sequence[Cause], work_dir: Path, seeds: int) -> list[Job]:
    """What the diagnosis proposes: the first over the evaluation seeds, the others too where they look closed."""
    found = []
    for cause in causes:
        diagnosis = proposals(cause, work_dir)
        for place, proposal in enumerate(diagnosis.proposals[:PROPOSALS] if diagnosis else (), start=1):
            job = Job(cause, f"proposal{place}", proposal.changes, 1.0, _PROPOSAL_SEEDS_FROM + place, "search")
            found += [job, job.compressed(CHEAPER)]
            if place == 1:
                found += job.judged(seeds)
    return found


def judged(jobs: Sequence[Job], known: Known, seeds: int) -> list[Job]:
    """The next evaluation run of each recipe that looks closed on the search split, as a search would judge it.

    One that loses more than half the margin there does not look so, and one that keeps less than half of its
    operations in half is not worth it. Of the others, seed follows seed until all are
    there or closing has become improbable.
    """
    trained = [job for job in jobs if job.fidelity == 1 and job.split == "search"]
    reference = {job.cause.name: run.ap for job in trained if job.recipe == "fp32" and (run := known.run(job))}
    due = []
    for job in trained:
        run = known.run(job)
        if run is None or job.recipe in ("fp32", "default") or job.cause.name not in reference:
            continue
        if run.ap < reference[job.cause.name] - MARGIN / 2 or known.in_half(job) < Rules(margin=MARGIN).least_in_half:
            continue
        arms = [known.ap(arm.judged(seeds)) for arm in (Job(job.cause, "fp32", {}, 1.0, 0, "eval"), job)]
        if len(arms[0]) < seeds or len(arms[1]) == seeds:
            continue
        if not arms[1] or chance_of_closing(*arms, MARGIN, seeds=seeds) >= FUTILE:
            due.append(job.judged(seeds)[len(arms[1])])
    return due

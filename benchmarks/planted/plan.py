"""Which runs are made of each planted cause."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.planted.causes import Cause
from benchmarks.planted.diagnosed import PROPOSALS, proposals
from benchmarks.planted.pool import draw_recipes
from benchmarks.planted.runs import Job, spec_of
from workspace.orchestrator.conditions import Conditions
from workspace.orchestrator.runs import RunRecord, run_state
from workspace.spec import run_folder

CHEAPER = 1 / 3
"""Share of the schedule that recipes are compared at for less."""

LOOKS_CLOSED = 10.0
"""AP points below FP32, in full on the search split, up to which a recipe is run over the evaluation seeds."""

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
    ]


def _recipe(cause: Cause, place: int) -> tuple[str, dict[str, object]]:
    if place < 2:
        return ("default", "fp32")[place], {}
    return f"pool{place - 2:02d}", draw_recipes(cause, place - 1)[-1]


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


def promising(jobs: Sequence[Job], given: Conditions, work_dir: Path, seeds: int) -> list[Job]:
    """The evaluation runs of recipes that came near FP32 in full on the search split."""
    aps = list(_finished([job for job in jobs if job.fidelity == 1 and job.split == "search"], given, work_dir))
    reference = {job.cause.name: ap for job, ap in aps if job.recipe == "fp32"}
    near = [
        job
        for job, ap in aps
        if job.recipe not in ("fp32", "default") and ap >= reference.get(job.cause.name, 100.0) - LOOKS_CLOSED
    ]
    return [judged for job in near for judged in job.judged(seeds)]


def _finished(jobs: Sequence[Job], given: Conditions, work_dir: Path) -> Iterator[tuple[Job, float]]:
    for job in jobs:
        folder = run_folder(work_dir, spec_of(job, given))
        if run_state(folder) == "finished":
            yield job, RunRecord.load(folder).ap

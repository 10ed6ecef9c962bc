"""Gaps whose cause is known: how large are they, what mends them, and what does a search without a diagnosis meet?

  python -m benchmarks.planted gaps  [--causes NAME ...] [--seeds 3] [--work-dir DIR] [--workers 2]
  python -m benchmarks.planted pool  [--pool 20]
  python -m benchmarks.planted table [--output benchmarks/results/planted_runs.csv]

``gaps`` trains FP32, FP16 and FP16 mended as the cause says, over evaluation seeds. ``pool`` trains recipes drawn at
random, each once in full and once in a third of the schedule, on the search split, and those that look closed over the
evaluation seeds too. Run it again to go on: what is finished is not trained again. ``table`` writes all finished runs.
"""

import argparse
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.planted.causes import CAUSES, Cause, register_causes
from benchmarks.planted.pool import draw_recipes
from benchmarks.planted.runs import Job, conditions, play, spec_of
from benchmarks.planted.table import write_table
from workspace.orchestrator.conditions import Conditions
from workspace.orchestrator.runs import RunRecord, run_state
from workspace.spec import run_folder

CHEAPER = 1 / 3
SEARCH_SEEDS_FROM = 1000
LOOKS_CLOSED = 10.0
"""AP points below FP32 up to which a recipe of the pool is run over the evaluation seeds."""


def gap_jobs(causes: Sequence[Cause], seeds: int) -> list[Job]:
    """FP32, FP16 and FP16 mended; the first seed of all causes before the second of any."""
    arms = ("default", "fp32", "mended")
    return [
        Job(cause, arm, cause.mend if arm == "mended" else {}, 1.0, seed, "eval")
        for seed, cause, arm in itertools.product(range(seeds), causes, arms)
    ]


def pool_jobs(causes: Sequence[Cause], count: int) -> list[Job]:
    """The default recipe, FP32 and the pool on the search split, in full and compressed; causes take turns."""
    jobs = []
    for place in range(count + 2):
        for cause in causes:
            recipe, changes = ("default", "fp32", *(f"pool{n:02d}" for n in range(count)))[place], {}
            if place >= 2:
                changes = draw_recipes(cause, count)[place - 2]
            for fidelity in (1.0, CHEAPER):
                jobs.append(Job(cause, recipe, changes, fidelity, SEARCH_SEEDS_FROM + place, "search"))
    return jobs


def promising(jobs: Sequence[Job], given: Conditions, work_dir: Path, seeds: int) -> list[Job]:
    """The evaluation runs of the pool's recipes that came near FP32 in full on the search split."""
    aps = list(_finished([job for job in jobs if job.fidelity == 1], given, work_dir))
    reference = {job.cause.name: ap for job, ap in aps if job.recipe == "fp32"}
    near = [
        job
        for job, ap in aps
        if job.recipe.startswith("pool") and ap >= reference.get(job.cause.name, 100.0) - LOOKS_CLOSED
    ]
    return [Job(job.cause, job.recipe, job.changes, 1.0, seed, "eval") for seed in range(seeds) for job in near]


def _finished(jobs: Sequence[Job], given: Conditions, work_dir: Path) -> Iterator[tuple[Job, float]]:
    for job in jobs:
        folder = run_folder(work_dir, spec_of(job, given))
        if run_state(folder) == "finished":
            yield job, RunRecord.load(folder).ap


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("gaps", "pool", "table"))
    parser.add_argument("--causes", nargs="+", choices=[cause.name for cause in CAUSES], metavar="NAME")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--pool", type=int, default=20)
    parser.add_argument("--work-dir", type=Path, default=Path("work/planted"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/planted_runs.csv"))
    chosen = parser.parse_args()
    register_causes()
    causes = [cause for cause in CAUSES if chosen.causes is None or cause.name in chosen.causes]
    work_dir = chosen.work_dir.resolve()
    given = conditions(work_dir)
    gaps, pool = gap_jobs(causes, chosen.seeds), pool_jobs(causes, chosen.pool)
    if chosen.what == "gaps":
        play(gaps, given, work_dir, workers=chosen.workers)
    elif chosen.what == "pool":
        play(pool, given, work_dir, workers=chosen.workers)
        play(promising(pool, given, work_dir, chosen.seeds), given, work_dir, workers=chosen.workers)
    else:
        found = [*gaps, *pool, *promising(pool, given, work_dir, chosen.seeds)]
        print(f"{write_table(found, given, work_dir, chosen.output)} runs in {chosen.output}")


if __name__ == "__main__":
    main()

"""Gaps whose cause is known: how large are they, does the diagnosis name the cause, what closes them, at what cost?

  python -m benchmarks.planted gaps      [--causes NAME ...] [--seeds 4] [--work-dir DIR] [--workers 2]
  python -m benchmarks.planted diagnose
  python -m benchmarks.planted pool      [--pool 12] [--held 8]
  python -m benchmarks.planted report    [--output benchmarks/results]

``gaps`` trains FP32, FP16, and FP16 mended as the cause says, over the evaluation seeds. ``diagnose`` diagnoses each
losing run as a user would, and trains what the diagnosis proposes. ``pool`` trains recipes drawn at random from what a
user without a diagnosis would try, each in full and the first ten in a third of the schedule too, on the search split,
and further ones whose FP32 island holds the planted module. Those that look closed there are judged over the evaluation
seeds, seed by seed, as long as closing is not improbable. ``report`` writes ``planted.csv`` and ``planted.md``, and all
finished runs as ``planted_runs.csv``, in which ``search_efficiency.py`` replays searches among the FP32 islands of
``planted_islands.csv``.

Each goes on from where it was stopped, and what is finished is not trained again: neither what lies in the work folder
nor what the table of runs has already. A row counts where its signature is the run's; another ``--output`` begins anew.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.planted.causes import CAUSES, register_causes
from benchmarks.planted.diagnosed import diagnose_all
from benchmarks.planted.known import Known
from benchmarks.planted.plan import gap_jobs, held_jobs, judged, pool_jobs, proposal_jobs
from benchmarks.planted.report import write_report
from benchmarks.planted.runs import Job, conditions, play
from benchmarks.planted.table import write_islands, write_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("gaps", "diagnose", "pool", "report"))
    parser.add_argument("--causes", nargs="+", choices=[cause.name for cause in CAUSES], metavar="NAME")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--pool", type=int, default=12)
    parser.add_argument("--held", type=int, default=8)
    parser.add_argument("--work-dir", type=Path, default=Path("work/planted"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    chosen = parser.parse_args()
    register_causes()
    causes = [cause for cause in CAUSES if chosen.causes is None or cause.name in chosen.causes]
    work_dir, seeds = chosen.work_dir.resolve(), chosen.seeds
    given = conditions(work_dir)
    table = chosen.output / "planted_runs.csv"
    known = Known(given, work_dir, table)

    def train(jobs: Sequence[Job]) -> None:
        if missing := known.missing(jobs):
            play(missing, given, work_dir, workers=chosen.workers)

    def train_and_judge(jobs: Sequence[Job]) -> None:
        train(jobs)
        while due := judged(jobs, known, seeds):
            train(due)

    places = range(chosen.pool + 2)
    if chosen.what == "gaps":
        train(gap_jobs(causes, seeds))
    elif chosen.what == "diagnose":
        diagnose_all(causes, work_dir, workers=chosen.workers)
        train_and_judge([*pool_jobs(causes, range(2)), *proposal_jobs(causes, work_dir, seeds)])
    elif chosen.what == "pool":
        train_and_judge([*pool_jobs(causes, places), *held_jobs(causes, chosen.held)])
    else:
        chosen.output.mkdir(parents=True, exist_ok=True)
        drawn = [*pool_jobs(causes, places), *held_jobs(causes, chosen.held)]
        searched = [*drawn, *proposal_jobs(causes, work_dir, seeds)]
        runs = [*gap_jobs(causes, seeds), *searched, *(run for job in searched for run in job.judged(seeds))]
        count = write_table(runs, causes, known, table)
        write_islands(causes, chosen.output / "planted_islands.csv")
        write_report(causes, known, work_dir, seeds, chosen.output)
        print(f"{count} runs of {len(causes)} causes in {chosen.output}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit("stopped; nothing is lost, the same command goes on from here") from None

"""Gaps whose cause is known: how large are they, does the diagnosis name the cause, what closes them, at what cost?

  python -m benchmarks.planted gaps      [--causes NAME ...] [--seeds 3] [--work-dir DIR] [--workers 2]
  python -m benchmarks.planted diagnose
  python -m benchmarks.planted pool      [--pool 20]
  python -m benchmarks.planted report    [--output benchmarks/results]

``gaps`` trains FP32, FP16, and FP16 mended as the cause says, over the evaluation seeds. ``diagnose`` diagnoses each
losing run as a user would, and trains what the diagnosis proposes. ``pool`` trains recipes drawn at random from what a
user without a diagnosis would try, each in full and in a third of the schedule on the search split, and those that look
closed over the evaluation seeds. Each goes on from where it was stopped: what is finished is not trained again.
``report`` writes ``planted.csv`` and ``planted.md``, and all finished runs as ``planted_runs.csv``, in which
``search_efficiency.py`` replays searches.
"""

import argparse
from pathlib import Path

from benchmarks.planted.causes import CAUSES, register_causes
from benchmarks.planted.diagnosed import diagnose_all
from benchmarks.planted.plan import gap_jobs, pool_jobs, promising, proposal_jobs
from benchmarks.planted.report import write_report
from benchmarks.planted.runs import conditions, play
from benchmarks.planted.table import write_table

ROUND = 4
"""Recipes of each cause between two looks at which of them seem closed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("gaps", "diagnose", "pool", "report"))
    parser.add_argument("--causes", nargs="+", choices=[cause.name for cause in CAUSES], metavar="NAME")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--pool", type=int, default=20)
    parser.add_argument("--work-dir", type=Path, default=Path("work/planted"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    chosen = parser.parse_args()
    register_causes()
    causes = [cause for cause in CAUSES if chosen.causes is None or cause.name in chosen.causes]
    work_dir, seeds = chosen.work_dir.resolve(), chosen.seeds
    given = conditions(work_dir)
    places = range(chosen.pool + 2)
    if chosen.what == "gaps":
        play(gap_jobs(causes, seeds), given, work_dir, workers=chosen.workers)
    elif chosen.what == "diagnose":
        diagnose_all(causes, work_dir, workers=chosen.workers)
        proposed = [*pool_jobs(causes, range(2)), *proposal_jobs(causes, work_dir, seeds)]
        play(proposed, given, work_dir, workers=chosen.workers)
        play(promising(proposed, given, work_dir, seeds), given, work_dir, workers=chosen.workers)
    elif chosen.what == "pool":
        for start in places[::ROUND]:
            play(pool_jobs(causes, places[start : start + ROUND]), given, work_dir, workers=chosen.workers)
            seen = pool_jobs(causes, places[: start + ROUND])
            play(promising(seen, given, work_dir, seeds), given, work_dir, workers=chosen.workers)
    else:
        chosen.output.mkdir(parents=True, exist_ok=True)
        searched = [*pool_jobs(causes, places), *proposal_jobs(causes, work_dir, seeds)]
        runs = [*gap_jobs(causes, seeds), *searched, *promising(searched, given, work_dir, seeds)]
        count = write_table(runs, causes, given, work_dir, chosen.output / "planted_runs.csv")
        write_report(causes, given, work_dir, seeds, chosen.output)
        print(f"{count} runs of {len(causes)} causes in {chosen.output}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit("stopped; nothing is lost, the same command goes on from here") from None

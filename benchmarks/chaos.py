"""Do kills, broken writes, a full disk and a tracking server that is down change what a sweep finds?

  python benchmarks/chaos.py [--kills 100] [--out benchmarks/results/chaos.md]

Plays histories of small sweeps (a synthetic trainer; the orchestrator, its workers, Optuna and MLflow are real) that
are killed at random and broken otherwise until so many kills have hit. Three of four histories have one worker and
are compared with the undisturbed sweep; the others have two, and each trial is compared with its own replay. Exits
with 1 unless all are equal.
"""

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "faults"))

import faults  # noqa: E402, F401  finds the synthetic runs
from agreement import contradictions, differences  # noqa: E402
from histories import EXPERIMENT, SIZE, Told, live_through  # noqa: E402
from synthetic_runs import answer_of, play  # noqa: E402

KILLS_IN_A_HISTORY = 16
SEVERAL_WORKERS_EVERY = 4


@dataclass(frozen=True)
class Outcome:
    """One history: what happened, and what is not as it should be."""

    seed: int
    workers: int
    told: Told
    wrong: list[str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the first history; the others follow")
    parser.add_argument("--out", type=Path, help="where to write the report, too")
    options = parser.parse_args()
    begun = time.monotonic()
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        for outcome in histories(Path(folder), options.kills, options.seed):
            outcomes.append(outcome)
            kills = sum(o.told.kills.total() for o in outcomes)
            print(
                f"history {outcome.seed}: {'equal' if not outcome.wrong else outcome.wrong}; {kills} kills", flush=True
            )
            text = report(outcomes, time.monotonic() - begun)
            if options.out is not None:
                options.out.write_text(text)  # so far: it takes long
    print(text)
    sys.exit(any(outcome.wrong for outcome in outcomes))


def histories(folder: Path, kills: int, seed: int) -> Iterator[Outcome]:
    """Histories until so many kills have hit."""
    undisturbed = folder / "undisturbed"
    play(EXPERIMENT, undisturbed, *SIZE)
    if wrong := contradictions(undisturbed):
        raise SystemExit(f"the undisturbed sweep contradicts itself: {wrong}")
    left = kills
    while left > 0:
        work = folder / f"history-{seed}"
        workers = 2 if seed % SEVERAL_WORKERS_EVERY == SEVERAL_WORKERS_EVERY - 1 else 1
        try:
            told = live_through(work, seed, min(left, KILLS_IN_A_HISTORY), workers=workers)
            wrong = contradictions(work) + (
                differences(undisturbed, work) if workers == 1 else _other_arms(undisturbed, work)
            )
        except AssertionError as error:  # a process left behind, a start that fails
            told, wrong = Told(), [str(error)]
        yield Outcome(seed, workers, told, wrong)
        left -= max(1, told.kills.total())
        seed += 1


def report(outcomes: list[Outcome], seconds: float) -> str:
    hits: Counter[str] = sum((outcome.told.kills for outcome in outcomes), Counter())
    others: Counter[str] = sum((outcome.told.faults for outcome in outcomes), Counter())
    equal = [outcome for outcome in outcomes if not outcome.wrong]
    survived = sum(outcome.told.kills.total() for outcome in equal)
    lines = [
        "# Chaos",
        "",
        f"`make chaos KILLS={hits.total()}` on {len(os.sched_getaffinity(0))} cores: sweeps of {SIZE[1]} trials and "
        f"{SIZE[3]} seeds with the synthetic trainer of the tests.",
        "What has to be equal stands in `tests/faults/agreement.py`. The disk is full by `RLIMIT_FSIZE`: every write",
        "that makes a file longer fails, in all processes of the sweep.",
        "",
        "```",
        f"histories        {len(outcomes)}, of them {sum(o.workers > 1 for o in outcomes)} with two workers",
        f"equal            {len(equal)} of {len(outcomes)}",
        f"kills            {hits.total()}, of them in histories that are equal: {survived}",
        *(f"  {name:<24} {count:>4}" for name, count in sorted(hits.items())),
        "other faults",
        *(f"  {name:<24} {count:>4}" for name, count in sorted(others.items())),
        f"minutes          {seconds / 60:.1f}",
        "```",
        "",
        *(f"* history {o.seed}: {'; '.join(o.wrong)}" for o in outcomes if o.wrong),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _other_arms(undisturbed: Path, work: Path) -> list[str]:
    """Of several workers only the arms before the search are the same runs for certain."""
    expected, found = answer_of(undisturbed)["arms"], answer_of(work)["arms"]
    return [f"the arm {name}" for name in ("baseline", "default") if expected[name] != found[name]]


if __name__ == "__main__":
    main()

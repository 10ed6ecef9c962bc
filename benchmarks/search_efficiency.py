"""How many device-seconds until the gap is closed and confirmed: a diagnosed search against random search and Optuna.

  python benchmarks/search_efficiency.py [--runs benchmarks/results/planted_runs.csv] [--repetitions 10]

Replays searches of planted gaps in a table of real runs (``recorded_runs.py``), and writes figure, table and report
beside it. *Closed* is the same for every method: the workspace's verdict on the evaluation split against the FP32 arm,
and at least half of the operations in half. The verdict's runs are trained seed by seed, and no further once closing
has become improbable. Every method pays for them each time it asks for a verdict, and a search for an FP32 run on its
own split, by which it tells what looks closed. The diagnosed search pays for the diagnosis, and its verdicts allow for
two recipes; those of the others allow for one, however many they judge, which is in their favour. Not paid by any: the
FP32 and default arms on the evaluation split, without which nobody would know of a gap.

A repetition that never closes counts with all that it spent. What is compared is the expected running time,
all device-seconds over the number of repetitions that closed (A. Auger, N. Hansen, CEC 2005), which is what it takes on
average when one starts again until it closes.
"""

import argparse
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from recorded_runs import read_causes
from search_methods import VARIANTS
from search_outcomes import DIAGNOSED, METHODS, OPTUNA, RANDOM, RESAMPLES, UNDIAGNOSED, repeat
from search_report import report

from workspace.search.strategy import Rules

RUNS = Path(__file__).with_name("results") / "planted_runs.csv"
COLOURS = {DIAGNOSED: "#0072B2", RANDOM: "#D55E00", OPTUNA: "#E69F00", UNDIAGNOSED: "#009E73"}  # Okabe and Ito's
STYLES = {DIAGNOSED: "-", RANDOM: "--", OPTUNA: "-.", UNDIAGNOSED: ":"}


def closing_curves(ax: Axes, outcomes: pd.DataFrame, rng: np.random.Generator) -> Axes:
    """Share of repetitions that have closed against device-seconds, the mean of the causes, with 95 % bands."""
    grid = np.geomspace(outcomes.seconds.min() / 1.2, outcomes.seconds.max() * 1.2, 400)
    for method, rows in outcomes.groupby("method", sort=False):
        by_cause = [
            (np.where(part.closed, part.seconds, np.inf)[:, None] <= grid).mean(axis=0)
            for _, part in rows.groupby("cause")
        ]
        shares = np.array(by_cause)
        draws = rng.integers(0, len(shares), (RESAMPLES, len(shares)))
        low, high = np.quantile(shares[draws].mean(axis=1), (0.025, 0.975), axis=0)
        colour = COLOURS[str(method)]
        ax.fill_between(grid, 100 * low, 100 * high, color=colour, alpha=0.1, linewidth=0, step="post")
        ax.plot(
            grid,
            100 * shares.mean(axis=0),
            STYLES[str(method)],
            color=colour,
            linewidth=2,
            label=str(method),
            drawstyle="steps-post",
        )
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_ylim(0, 102)
    ax.set_xlabel("device-seconds, verdicts included (log)")
    ax.set_ylabel("repetitions that have closed (%)")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(color="#7F7F7F", alpha=0.25, linewidth=0.6)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, frameon=False, fontsize="small")
    return ax


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=RUNS)
    parser.add_argument("--repetitions", type=int, default=10)
    parser.add_argument("--margin", type=float, default=5.0, help="AP points [5]")
    parser.add_argument("--out", type=Path, default=RUNS.parent, help="folder of figure, table and report")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        causes = read_causes(options.runs)
    except FileNotFoundError as error:
        raise SystemExit(f"{error.filename}: not there; `python -m benchmarks.planted report` writes it") from None
    if not causes:
        raise SystemExit(f"{options.runs}: no cause has an FP32 arm, a default recipe, a diagnosis and a pool yet")
    rules = Rules(margin=options.margin)
    outcomes = pd.DataFrame(
        outcome
        for cause in causes
        for name, method in {**METHODS, **VARIANTS}.items()
        for outcome in repeat(cause, name, method, rules, options.repetitions)
    )
    outcomes.to_csv(options.out / "search_efficiency.csv", index=False, float_format="%.1f")
    figure = Figure(figsize=(8, 5), layout="constrained")
    closing_curves(figure.subplots(), outcomes[outcomes.method.isin(METHODS)], np.random.default_rng(0))
    figure.savefig(options.out / "search_efficiency.png", dpi=120)
    said = report(outcomes, causes, rules, "python benchmarks/search_efficiency.py")
    (options.out / "search_efficiency.md").write_text(said)
    print(said)


if __name__ == "__main__":
    main()

"""How many device-seconds until the gap is closed and confirmed: a diagnosed search against random search and Optuna.

  python benchmarks/search_efficiency.py [--runs benchmarks/results/planted_runs.csv] [--repetitions 20]

Replays searches of planted gaps in a table of real runs (``recorded_runs.py``), and writes figure, table and report
beside it. *Closed* is the same for every method: the workspace's verdict on the evaluation split against the FP32 arm,
and at least half of the operations in half. Every method pays for the runs of that verdict each time it asks for one,
and for one FP32 run on the search split, by which it tells what looks closed; the diagnosed search pays for the
diagnosis as well. Not paid by any: the FP32 and default arms on the evaluation split, without which nobody would know
of a gap. A repetition that never closes counts with all that it spent. What is compared is the expected running time,
all device-seconds over the number of repetitions that closed (A. Auger, N. Hansen, CEC 2005), which is what it takes on
average when one starts again until it closes.
"""

import argparse
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray
from recorded_runs import Cause, read_causes
from scipy.stats import kendalltau
from search_methods import Closed, Replay, diagnosed, plain_optuna, random_search, without_diagnosis

from workspace.search.strategy import Rules

RUNS = Path(__file__).with_name("results") / "planted_runs.csv"
RESAMPLES = 2000
DIAGNOSED, RANDOM, OPTUNA, UNDIAGNOSED = "diagnosed", "random", "plain Optuna", "ours, undiagnosed"
COLOURS = {DIAGNOSED: "#0072B2", RANDOM: "#D55E00", OPTUNA: "#E69F00", UNDIAGNOSED: "#009E73"}  # Okabe and Ito's
STYLES = {DIAGNOSED: "-", RANDOM: "--", OPTUNA: "-.", UNDIAGNOSED: ":"}


@dataclass(frozen=True)
class Outcome:
    """One repetition of a method on a cause: device-seconds until it closed, or all that it spent."""

    cause: str
    method: str
    repetition: int
    seconds: float
    closed: bool
    by: str
    unknown: int


def repeat(cause: Cause, name: str, method: Callable[[Replay, int], None], rules: Rules, count: int) -> list[Outcome]:
    """So many repetitions, each with a seed of its own."""
    found = []
    for repetition in range(count):
        replay = Replay(cause, rules)
        with suppress(Closed):
            method(replay, repetition)
        by = replay.by or ""
        found.append(Outcome(cause.name, name, repetition, replay.seconds, bool(by), by, replay.unknown))
    return found


def expected_seconds(outcomes: pd.DataFrame) -> float:
    """Device-seconds for each repetition that closed; infinite where none did."""
    closed = int(outcomes.closed.sum())
    return float(outcomes.seconds.sum() / closed) if closed else np.inf


def ratio_interval(
    outcomes: pd.DataFrame, method: str, *, rng: np.random.Generator, by_cause: bool
) -> tuple[float, float, float]:
    """Expected seconds of a method over those of the diagnosed search, with a 95 % bootstrap interval.

    Args:
        by_cause: draws causes with replacement, and repetitions within each; else repetitions alone.
    """
    arms = []
    for name in (method, DIAGNOSED):
        rows = outcomes[outcomes.method == name].sort_values(["cause", "repetition"])
        shape = rows.cause.nunique(), -1
        arms.append((rows.seconds.to_numpy().reshape(shape), rows.closed.to_numpy().reshape(shape)))
    causes, repetitions = arms[0][0].shape

    def ratio(cause: NDArray[np.int_], draws: Sequence[NDArray[np.int_]]) -> float:
        spent = [
            seconds[cause[:, None], draw].sum() / max(closed[cause[:, None], draw].sum(), 0.5)
            for (seconds, closed), draw in zip(arms, draws, strict=True)
        ]
        return float(spent[0] / spent[1])

    whole = np.arange(causes), [np.tile(np.arange(repetitions), (causes, 1))] * 2
    resampled = [
        ratio(
            rng.integers(0, causes, causes) if by_cause else np.arange(causes),
            [rng.integers(0, repetitions, (causes, repetitions)) for _ in arms],
        )
        for _ in range(RESAMPLES)
    ]
    low, high = np.quantile(resampled, (0.025, 0.975))
    return ratio(*whole), float(low), float(high)


def rank_correlation(cause: Cause, rng: np.random.Generator) -> tuple[int, float, float, float] | None:
    """Kendall's tau of a compressed schedule's AP with the full one's, with a 95 % bootstrap interval over recipes.

    Returns:
        Recipes that have both, tau, and the interval's ends; ``None`` with fewer than five.
    """
    both = [recipe for recipe in (cause.default, *cause.proposals, *cause.pool) if recipe.compressed]
    if len(both) < 5:
        return None
    short = np.array([recipe.compressed[0].ap for recipe in both])
    full = np.array([recipe.search[0].ap for recipe in both])
    draws = rng.integers(0, len(both), (RESAMPLES, len(both)))
    taus = [kendalltau(short[draw], full[draw]).statistic for draw in draws]
    low, high = np.nanquantile(taus, (0.025, 0.975))
    return len(both), float(kendalltau(short, full).statistic), float(low), float(high)


def closing_curves(ax: Axes, outcomes: pd.DataFrame, rng: np.random.Generator) -> Axes:
    """Share of repetitions that have closed against device-seconds, the mean of the causes, with 95 % bands."""
    grid = np.geomspace(outcomes.seconds.min() / 1.2, outcomes.seconds.max() * 1.2, 200)
    for method, rows in outcomes.groupby("method", sort=False):
        by_cause = [
            (np.where(part.closed, part.seconds, np.inf)[:, None] <= grid).mean(axis=0)
            for _, part in rows.groupby("cause")
        ]
        shares = np.array(by_cause)
        draws = rng.integers(0, len(shares), (RESAMPLES, len(shares)))
        low, high = np.quantile(shares[draws].mean(axis=1), (0.025, 0.975), axis=0)
        colour = COLOURS[str(method)]
        ax.fill_between(grid, 100 * low, 100 * high, color=colour, alpha=0.12, linewidth=0)
        ax.plot(grid, 100 * shares.mean(axis=0), STYLES[str(method)], color=colour, linewidth=2, label=str(method))
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: f"{seconds:g}"))
    ax.set_ylim(0, 102)
    ax.set_xlabel("device-seconds, verdicts included (log)")
    ax.set_ylabel("repetitions that have closed (%)")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(color="#7F7F7F", alpha=0.25, linewidth=0.6)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, frameon=False, fontsize="small")
    return ax


def report(outcomes: pd.DataFrame, causes: Sequence[Cause], rules: Rules, command: str) -> str:
    """The result in Markdown."""
    rng = np.random.default_rng(0)
    methods = list(dict.fromkeys(outcomes.method))
    others = [method for method in methods if method != DIAGNOSED]
    repetitions = outcomes.repetition.nunique()
    lines = [
        "# Device-seconds until a confirmed gap is closed",
        "",
        f"Made by `{command}`: {len(causes)} planted gaps, {repetitions} repetitions of each method on each, replayed "
        f"in a table of real runs; margin {rules.margin:g} AP, at least {100 * rules.least_in_half:.0f} % of "
        "operations in half. What is paid and what counts stands in the script. Intervals are of 95 %, by bootstrap.",
        "",
        "![Repetitions that have closed against device-seconds](search_efficiency.png)",
        "",
        "## All causes",
        "",
        "| method | closed | device-seconds for a closed gap | against the diagnosed search |",
        "|---|---:|---:|---:|",
    ]
    for method in methods:
        rows = outcomes[outcomes.method == method]
        cells = [method, f"{100 * rows.closed.mean():.0f} %", _seconds(expected_seconds(rows))]
        cells.append("" if method == DIAGNOSED else _ratio(outcomes, method, rng, by_cause=True))
        lines.append("| " + " | ".join(cells) + " |")
    heads = ["cause", "pool", "closed by"]
    for method in methods:
        heads += [method, "closed"]
    lines += ["", "## Each cause", "", "Device-seconds for a closed gap, and repetitions that closed.", ""]
    lines += [
        "| " + " | ".join([*heads, "random / diagnosed"]) + " |",
        "|---|---:|---|" + "---:|" * (2 * len(methods) + 1),
    ]
    for cause in causes:
        rows = outcomes[outcomes.cause == cause.name]
        found = rows[(rows.method == DIAGNOSED) & rows.closed].by
        cells = [cause.name, str(len(cause.pool)), ", ".join(dict.fromkeys(found)) or "-"]
        for method in methods:
            part = rows[rows.method == method]
            cells += [_seconds(expected_seconds(part)), f"{int(part.closed.sum())} of {len(part)}"]
        lines.append("| " + " | ".join([*cells, _ratio(rows, RANDOM, rng, by_cause=False)]) + " |")
    lines += _limits(outcomes, causes, others, rng)
    return "\n".join(lines) + "\n"


def _limits(
    outcomes: pd.DataFrame, causes: Sequence[Cause], others: Sequence[str], rng: np.random.Generator
) -> list[str]:
    lines = [
        "",
        "## What limits it",
        "",
        "* The pools are finite: a search that has run all of its pool without closing counts with what it spent. "
        "Where a method never closed, half a closed repetition stands in its place, so that its ratio is a lower bound "
        "(marked >).",
        "* Repetitions of one cause share its recorded runs; they differ in order and in what the samplers draw. The "
        "interval over all causes draws causes too.",
    ]
    if unknown := int(outcomes.unknown.sum()):
        lines.append(
            f"* {unknown} times a recipe looked closed that has no runs on the evaluation split: paid, and counted as "
            "not closed."
        )
    ranks = [(cause.name, found) for cause in causes if (found := rank_correlation(cause, rng)) is not None]
    if ranks:
        lines += ["", "## Does a compressed schedule rank recipes as the full one does?", ""]
        lines += ["| cause | recipes | Kendall's tau | interval |", "|---|---:|---:|---:|"]
        lines += [f"| {name} | {n} | {tau:.2f} | {low:.2f} to {high:.2f} |" for name, (n, tau, low, high) in ranks]
    return lines


def _seconds(value: float) -> str:
    return "never" if np.isinf(value) else f"{value:,.0f}"


def _ratio(outcomes: pd.DataFrame, method: str, rng: np.random.Generator, *, by_cause: bool) -> str:
    closed = outcomes[outcomes.method == DIAGNOSED].closed.any()
    if not closed:
        return "-"
    ratio, low, high = ratio_interval(outcomes, method, rng=rng, by_cause=by_cause)
    bound = "" if outcomes[outcomes.method == method].closed.any() else "> "
    return f"{bound}{ratio:.1f} ({low:.1f} to {high:.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=RUNS)
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--margin", type=float, default=3.0, help="AP points [3]")
    parser.add_argument("--out", type=Path, default=RUNS.parent, help="folder of figure, table and report")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    causes = read_causes(options.runs)
    rules = Rules(margin=options.margin)
    methods = {DIAGNOSED: diagnosed, UNDIAGNOSED: without_diagnosis, OPTUNA: plain_optuna, RANDOM: random_search}
    outcomes = pd.DataFrame(
        outcome
        for cause in causes
        for name, method in methods.items()
        for outcome in repeat(cause, name, method, rules, options.repetitions)
    )
    outcomes.to_csv(options.out / "search_efficiency.csv", index=False, float_format="%.1f")
    figure = Figure(figsize=(8, 5), layout="constrained")
    closing_curves(figure.subplots(), outcomes, np.random.default_rng(0))
    figure.savefig(options.out / "search_efficiency.png", dpi=120)
    said = report(outcomes, causes, rules, "python benchmarks/search_efficiency.py")
    (options.out / "search_efficiency.md").write_text(said)
    print(said)


if __name__ == "__main__":
    main()

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
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from numpy.typing import NDArray
from recorded_runs import Cause, read_causes
from scipy.stats import kendalltau
from search_methods import (
    TRIALS,
    VARIANTS,
    Closed,
    Method,
    Replay,
    diagnosed,
    plain_optuna,
    random_search,
    without_diagnosis,
)

from workspace.search.strategy import Rules

RUNS = Path(__file__).with_name("results") / "planted_runs.csv"
RESAMPLES = 2000
COMPRESSED, BEGUN = "a compressed schedule", "the full run's own first part"
_FIRST_PART = 0.4  # of the epochs: from there on a trial may be pruned
Floats = NDArray[np.float64]
DIAGNOSED, RANDOM, OPTUNA, UNDIAGNOSED = "diagnosed", "random", "plain Optuna", "ours, undiagnosed"
METHODS: dict[str, Method] = {
    DIAGNOSED: diagnosed,
    UNDIAGNOSED: without_diagnosis,
    OPTUNA: plain_optuna,
    RANDOM: random_search,
}
COLOURS = {DIAGNOSED: "#0072B2", RANDOM: "#D55E00", OPTUNA: "#E69F00", UNDIAGNOSED: "#009E73"}  # Okabe and Ito's
STYLES = {DIAGNOSED: "-", RANDOM: "--", OPTUNA: "-.", UNDIAGNOSED: ":"}


@dataclass(frozen=True)
class Outcome:
    """One repetition of a method on a cause.

    Attributes:
        seconds: device-seconds until it closed, or all that it spent.
        judging: of these, for runs of the verdict.
        by: name of the recipe that closed it.
        unknown: recipes that looked closed and have no runs on the evaluation split.
    """

    cause: str
    method: str
    repetition: int
    seconds: float
    judging: float
    closed: bool
    by: str
    unknown: int


def repeat(cause: Cause, name: str, method: Method, rules: Rules, count: int) -> list[Outcome]:
    """So many repetitions, each with a seed of its own."""
    found = []
    for repetition in range(count):
        replay = Replay(cause, rules)
        with suppress(Closed):
            method(replay, repetition)
        by = replay.by or ""
        spent = replay.seconds, replay.judging
        found.append(Outcome(cause.name, name, repetition, *spent, bool(by), by, replay.unknown))
    return found


def expected_seconds(seconds: Floats, closed: Floats) -> Floats:
    """Device-seconds for each repetition that closed; where none did, what one has spent, a lower bound.

    Args:
        seconds: of each repetition, the last axis.
        closed: 1 for those that closed.
    """
    count = closed.sum(axis=-1)
    return np.asarray(seconds.sum(axis=-1) / np.where(count > 0, count, seconds.shape[-1]))


def by_cause(outcomes: pd.DataFrame, method: str) -> tuple[Floats, Floats]:
    """Seconds, and 1 for closed, of a method: causes by repetitions."""
    rows = outcomes[outcomes.method == method].sort_values(["cause", "repetition"])
    shape = rows.cause.nunique(), -1
    return rows.seconds.to_numpy(float).reshape(shape), rows.closed.to_numpy(float).reshape(shape)


def ratios(
    outcomes: pd.DataFrame, method: str, rng: np.random.Generator, against: str = DIAGNOSED
) -> dict[str, Floats]:
    """Expected seconds of a method over those of another one, each with a 95 % bootstrap interval.

    Returns:
        ``all``: of the sums over the causes, that is of closing every one of them in turn; ``typical``: the geometric
        mean of the causes' ratios. Causes are drawn with replacement, and repetitions within each. ``each``: of each
        cause, over its repetitions alone; a row for each. Value, lower and upper end.
    """
    arms = [by_cause(outcomes, name) for name in (method, against)]
    causes, repetitions = arms[0][0].shape
    drawn = rng.integers(0, repetitions, (len(arms), RESAMPLES, causes, repetitions))
    at = np.arange(causes)[:, None]
    found = [expected_seconds(*arm) for arm in arms]
    resampled = [
        expected_seconds(seconds[at, draw], closed[at, draw])
        for (seconds, closed), draw in zip(arms, drawn, strict=True)
    ]
    chosen = rng.integers(0, causes, (RESAMPLES, causes))
    several = [np.take_along_axis(arm, chosen, axis=1) for arm in resampled]

    def spread(value: Floats, samples: Floats) -> Floats:
        return np.stack([value, *np.quantile(samples, (0.025, 0.975), axis=0)], axis=-1)

    return {
        "all": spread(found[0].sum() / found[1].sum(), several[0].sum(axis=1) / several[1].sum(axis=1)),
        "typical": spread(
            np.exp(np.log(found[0] / found[1]).mean()), np.exp(np.log(several[0] / several[1]).mean(axis=1))
        ),
        "each": spread(found[0] / found[1], resampled[0] / resampled[1]),
    }


def early_and_final(cause: Cause) -> dict[str, list[tuple[float, float]]]:
    """By cheaper fidelity, AP there and AP of the full run, for each recipe that has both."""
    recipes = [cause.default, *cause.proposals, *cause.pool]
    runs = [recipe.search[0] for recipe in recipes]
    begun = [(run, min(epoch for epoch in run.curve if epoch >= _FIRST_PART * max(run.curve))) for run in runs]
    return {
        COMPRESSED: [(known.compressed[0].ap, known.search[0].ap) for known in recipes if known.compressed],
        BEGUN: [(run.curve[epoch], run.ap) for run, epoch in begun if epoch < max(run.curve)],
    }


def rank_correlation(pairs: Sequence[tuple[float, float]], rng: np.random.Generator) -> str:
    """Kendall's tau with a 95 % bootstrap interval over recipes, in words."""
    if len(pairs) < 5:
        return "-"
    values = np.array(pairs)
    draws = rng.integers(0, len(values), (RESAMPLES // 10, len(values)))  # scipy's tau takes its time
    taus = [kendalltau(*values[draw].T).statistic for draw in draws]
    low, high = np.nanquantile(taus, (0.025, 0.975))
    return f"{kendalltau(*values.T).statistic:.2f} ({low:.2f} to {high:.2f})"


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


def report(outcomes: pd.DataFrame, causes: Sequence[Cause], rules: Rules, command: str) -> str:
    """The result in Markdown."""
    rng = np.random.default_rng(0)
    main = outcomes[outcomes.method.isin(METHODS)]
    told = main[main.closed].cause.unique()
    undecidable = sorted(set(main.cause) - set(told))
    outcomes = outcomes[outcomes.cause.isin(told)]
    lines = [
        "# Device-seconds until a confirmed gap is closed",
        "",
        f"Made by `{command}`: {len(causes)} planted gaps, {main.repetition.nunique()} repetitions of each method "
        f"on each, replayed in a table of real runs; margin {rules.margin:g} AP, at least "
        f"{100 * rules.least_in_half:.0f} % of operations in half. What is paid and what counts stands in the script. "
        "Intervals are of 95 %, by bootstrap.",
        "",
        "![Repetitions that have closed against device-seconds](search_efficiency.png)",
        "",
        "## All causes",
        "",
        "Device-seconds for a closed gap, mean of the causes, of these the runs of verdicts, and how many times those "
        "of the diagnosed search that is: for all causes together, and for a typical one (geometric mean)."
        + (
            f" Without {', '.join(undecidable)}, which no method closed: seeds scatter too much there for a verdict."
            if undecidable
            else ""
        ),
        "",
        "| method | closed | device-seconds | for verdicts | all | typical |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for method in METHODS:
        seconds, closed = by_cause(outcomes, method)
        bound = _bound(bool((closed.sum(axis=1) == 0).any()))
        judging = outcomes[outcomes.method == method].judging.mean()
        cells = [method, f"{100 * closed.mean():.0f} %", f"{bound}{expected_seconds(seconds, closed).mean():,.0f}"]
        cells.append(f"{judging:,.0f}")
        if method == DIAGNOSED:
            cells += ["", ""]
        else:
            found = ratios(outcomes, method, rng)
            cells += [_times(found[kind], bound) for kind in ("all", "typical")]
        lines.append(_row(cells))
    lines += _each(main, causes, rng) + _variants(outcomes, rng) + _limits(main, causes, rng)
    return "\n".join(lines) + "\n"


def _each(outcomes: pd.DataFrame, causes: Sequence[Cause], rng: np.random.Generator) -> list[str]:
    """What each method took on each cause."""
    arms = {method: by_cause(outcomes, method) for method in METHODS}
    compared = ratios(outcomes, RANDOM, rng)["each"]
    lines = ["", "## Each cause", "", "Device-seconds for a closed gap, and repetitions that closed.", ""]
    lines += [_row(["cause", "recipes", "diagnosed closes it by", *METHODS, "random / diagnosed"])]
    lines += ["|---|---:|---|" + "---:|" * (len(METHODS) + 1)]
    names = sorted(cause.name for cause in causes)  # as the arrays are
    for cause in causes:
        index = names.index(cause.name)
        rows = outcomes[(outcomes.cause == cause.name) & (outcomes.method == DIAGNOSED) & outcomes.closed]
        cells = [cause.name, str(len(cause.pool)), ", ".join(dict.fromkeys(rows.by)) or "-"]
        for seconds, closed in arms.values():
            count = int(closed[index].sum())
            spent = f"{_bound(count == 0)}{expected_seconds(seconds, closed)[index]:,.0f}"
            cells.append(f"{spent} ({count} of {closed.shape[1]})")
        ours, theirs = (arms[method][1][index].any() for method in (DIAGNOSED, RANDOM))
        cells.append(_times(compared[index], _bound(not theirs)) if ours else "< 1" if theirs else "-")
        lines.append(_row(cells))
    return lines


def _variants(outcomes: pd.DataFrame, rng: np.random.Generator) -> list[str]:
    """Other choices, beside what they are choices of."""
    lines = [
        "",
        "## Other choices",
        "",
        "Device-seconds, all causes together, over those of the search that differs in this choice alone: of the "
        "diagnosed one, and for samplers and pruners of ours without a diagnosis.",
        "",
        "| choice | closed | device-seconds | times | typical |",
        "|---|---:|---:|---:|---:|",
    ]
    for name in VARIANTS:
        against = DIAGNOSED if name.startswith(DIAGNOSED) else UNDIAGNOSED
        seconds, closed = by_cause(outcomes, name)
        bound = _bound(bool((closed.sum(axis=1) == 0).any()))
        found = ratios(outcomes, name, rng, against)
        cells = [name, f"{100 * closed.mean():.0f} %", f"{bound}{expected_seconds(seconds, closed).mean():,.0f}"]
        lines.append(_row([*cells, *(_times(found[kind], "", digits=2) for kind in ("all", "typical"))]))
    return lines


def _limits(outcomes: pd.DataFrame, causes: Sequence[Cause], rng: np.random.Generator) -> list[str]:
    lines = [
        "",
        "## What limits it",
        "",
        f"* A repetition ends after {TRIALS} trials. Where a method never closed, what one repetition spent stands for "
        "what it would take: a lower bound, marked >.",
        "* Repetitions of one cause share its recorded runs, which stand for all recipes of their kind; they differ in "
        "what is drawn. How many recipes of a kind were recorded limits what is known of it. The interval over all "
        "causes draws causes too.",
    ]
    if unknown := int(outcomes.unknown.sum()):
        lines.append(
            f"* {unknown} times a recipe looked closed that has no runs on the evaluation split: paid, and counted as "
            "not closed."
        )
    ranks = {cause.name: early_and_final(cause) for cause in causes}
    lines += [
        "",
        "## What ranks recipes as the full run does?",
        "",
        "Kendall's tau with the final AP on the search split, default recipe, proposals and pool.",
        "",
        f"| cause | recipes | {COMPRESSED} | {BEGUN} |",
        "|---|---:|---:|---:|",
    ]
    for name, found in ranks.items():
        taus = [rank_correlation(found[fidelity], rng) for fidelity in (COMPRESSED, BEGUN)]
        lines.append(f"| {name} | {len(found[COMPRESSED])} | " + " | ".join(taus) + " |")
    return lines


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _bound(is_lower: bool) -> str:
    return "> " if is_lower else ""


def _times(found: Floats, bound: str, *, digits: int = 1) -> str:
    value, low, high = found
    return f"{bound}{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=RUNS)
    parser.add_argument("--repetitions", type=int, default=10)
    parser.add_argument("--margin", type=float, default=5.0, help="AP points [5]")
    parser.add_argument("--out", type=Path, default=RUNS.parent, help="folder of figure, table and report")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    causes = read_causes(options.runs)
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

"""The report of ``search_efficiency.py``, in Markdown."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from recorded_runs import Cause
from scipy.stats import kendalltau
from search_methods import TRIALS, VARIANTS
from search_outcomes import (
    DIAGNOSED,
    METHODS,
    RANDOM,
    RESAMPLES,
    UNDIAGNOSED,
    Floats,
    by_cause,
    expected_seconds,
    ratios,
)

from workspace.search.strategy import Rules

COMPRESSED, BEGUN = "a compressed schedule", "the full run's own first part"
_FIRST_PART = 0.4  # of the epochs: from there on a trial may be pruned


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
        "* Samplers are favoured beside the random search: of one kind of island they are given each recorded recipe "
        "once before any twice. What they would take is understated.",
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

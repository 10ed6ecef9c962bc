"""The figures of experiments and comparisons. AP is in points."""

import itertools
import textwrap
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from workspace.figures.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    legend_above,
    say_nothing_drawn,
    tidy,
)
from workspace.gap import Effect, Gap

_ARMS = {"baseline": BLACK, "default": VERMILION, "proposed": GREEN, "tuned": BLUE}
_OTHER_ARMS = (GREEN, PURPLE, ORANGE, SKY)
_PRECISIONS = {"fp32": BLACK, "hf32": GREEN, "fp16": VERMILION, "bf16": BLUE}
_LABEL_WIDTH = 22  # characters a line of an arm's name
_MANY = 1000  # further seeds; beyond it the number itself tells nothing


def gap_intervals(ax: Axes, gaps: Mapping[str, Gap]) -> Axes:
    """Forest plot: each gap with its 90 % interval against the margin, its verdict in words beside it.

    Args:
        gaps: by candidate arm, drawn from top to bottom; at least one, all of one margin. A gap without interval is a
            hollow point.

    Raises:
        ValueError: where the gaps were judged at different margins.
    """
    contrast_intervals(ax, gaps)
    ax.set_xlabel("gap (AP points), 90 % interval over seeds")
    return ax


def contrast_intervals(
    ax: Axes, contrasts: Mapping[str, Gap | Effect], published: Mapping[str, float] | None = None
) -> Axes:
    """Forest plot: each contrast with its 90 % interval; gaps against the margin, their verdicts in words beside them.

    Args:
        contrasts: by name, drawn from top to bottom. One without interval is a hollow point.
        published: differences (AP points) that were published for some of them, drawn as diamonds.

    Raises:
        ValueError: where gaps were judged at different margins.
    """
    margins = {found.margin for found in contrasts.values() if isinstance(found, Gap)}
    if len(margins) > 1:
        raise ValueError(f"gaps of one figure share one margin, not {sorted(margins)}")
    for margin in margins:
        ax.axvspan(-margin, 0, color=GREY, alpha=0.15, linewidth=0, label=f"within the margin of {margin:g} AP")
        ax.axvline(-margin, color=GREY, linewidth=0.8, linestyle="--")
    ax.axvline(0, color=BLACK, linewidth=0.8)
    for row, (name, found) in enumerate(contrasts.items()):
        colour = _ARMS.get(name, BLUE)
        if found.low is not None and found.high is not None:
            ax.hlines(row, found.low, found.high, color=colour, linewidth=2)
        ax.plot(found.mean, row, "o", color=colour, markerfacecolor="white" if found.method == "none" else colour)
        if isinstance(found, Gap):
            beside = (1.02, row)
            words = _verdict_words(found)
            ax.annotate(words, beside, xycoords=ax.get_yaxis_transform(), va="center", annotation_clip=False)
    published = published or {}
    known = [(published[name], row) for row, name in enumerate(contrasts) if name in published]
    if known:
        ax.plot(*zip(*known, strict=True), "D", color=BLACK, markerfacecolor="none", label="published")
    ax.set_yticks(range(len(contrasts)), [_wrapped(name) for name in contrasts])
    ax.set_ylim(len(contrasts) - 0.5, -0.5)
    ax.margins(x=0.08)
    ax.set_xlabel("contrast (AP points), 90 % interval over seeds")
    if margins or known:
        legend_above(ax)
    if not contrasts:
        say_nothing_drawn(ax, "no contrast has all its runs")
    tidy(ax, grid="x")
    ax.tick_params(axis="y", length=0)
    return ax


def seed_points(
    ax: Axes,
    arms: Mapping[str, Mapping[int, float]],
    ylabel: str = "AP (points)",
    *,
    colours: Mapping[str, str] | None = None,
    joined: bool = True,
) -> Axes:
    """Each seed's final AP by arm, the arm's mean as a bar.

    Args:
        arms: AP in points by seed, by arm, drawn from left to right; at least one seed an arm.
        ylabel: metric with unit.
        colours: by arm; ``None`` gives each arm its own.
        joined: draws a thin line between one seed's runs in neighbouring arms.
    """
    colours = colours or _arm_colours(arms)
    seeds = sorted({seed for arm in arms.values() for seed in arm})
    # The same place within each arm, so that a line's slope is a seed's own gap.
    offset = dict(zip(seeds, np.linspace(-0.18, 0.18, len(seeds)) if len(seeds) > 1 else [0.0], strict=True))
    neighbours = itertools.pairwise(arms.values()) if joined else ()
    for left, (first, second) in enumerate(neighbours):
        for seed in sorted(first.keys() & second.keys()):
            ax.plot(
                [left + offset[seed], left + 1 + offset[seed]],
                [first[seed], second[seed]],
                color=GREY,
                alpha=0.5,
                linewidth=0.7,
                zorder=1,
            )
    for place, (name, arm) in enumerate(arms.items()):
        ordered = sorted(arm)
        ax.scatter([place + offset[s] for s in ordered], [arm[s] for s in ordered], s=22, color=colours[name], zorder=3)
        mean = float(np.mean(list(arm.values())))
        ax.hlines(mean, place - 0.28, place + 0.28, color=colours[name], linewidth=2, zorder=2)
        label = ax.annotate(f"{mean:.1f}", (place + 0.3, mean), va="center", color=colours[name], zorder=4)
        label.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 1})
    width = max(10, 2 * _LABEL_WIDTH // len(arms))
    ax.set_xticks(range(len(arms)), [f"{_wrapped(name, width)}\n({_seeds(len(arm))})" for name, arm in arms.items()])
    ax.set_xlim(-0.5, len(arms) - 0.35)
    ax.margins(y=0.12)
    ax.set_ylabel(ylabel)
    tidy(ax, grid="y")
    return ax


def training_curves(ax: Axes, curves: pd.DataFrame, ylabel: str, *, log2: bool = False) -> Axes:
    """One thin line a run, coloured by arm: AP, loss, or the loss scale over training.

    Args:
        curves: columns ``arm``, ``seed``, ``step`` and ``value``, one row a measurement.
        ylabel: what ``value`` is, with its unit.
        log2: logarithmic axis of base 2, in steps from value to value: for the loss scale.
    """
    names = [str(name) for name in curves["arm"].unique()]
    for name, colour in _arm_colours(names).items():
        runs = curves[curves["arm"] == name].sort_values("step").groupby("seed")
        for place, (_, run) in enumerate(runs):
            ax.plot(
                run["step"],
                run["value"],
                color=colour,
                linewidth=0.9,
                alpha=0.8,
                marker="." if len(run) == 1 else "",
                drawstyle="steps-post" if log2 else "default",
                label=_wrapped(name) if place == 0 else "_nolegend_",
            )
    if log2:
        ax.set_yscale("log", base=2)
    ax.set_xlabel("optimizer step")
    ax.set_ylabel(ylabel)
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    if names:
        legend_above(ax)
    else:
        say_nothing_drawn(ax, "nothing recorded")
    tidy(ax, grid="y")
    return ax


def search_history(
    ax: Axes,
    trials: pd.DataFrame,
    baseline: float | None = None,
    ylabel: str = "AP on the search split (points)",
    *,
    default_trial: int = 0,
) -> Axes:
    """Each trial's value in order, with the best so far; pruned and failed trials apart, the default recipe ringed.

    Args:
        trials: columns ``number``, ``value`` (AP in points; a pruned trial's last report; nan where there is none) and
            ``state`` (``finished``, ``pruned``, ``failed``).
        baseline: AP of the baseline's arm on the same split, where it was measured.
        ylabel: metric with unit.
        default_trial: number of the trial that is the default recipe.
    """
    trials = trials.sort_values("number")
    complete = trials[trials["state"] == "finished"]
    pruned = trials[trials["state"] == "pruned"]
    failed = trials[trials["state"] == "failed"]
    if baseline is not None:
        ax.axhline(baseline, color=BLACK, linewidth=0.8, linestyle="--", label="baseline")
    if not complete.empty:
        best = complete["value"].cummax()
        ax.step(complete["number"], best, where="post", color=BLUE, linewidth=1.2, label="best so far")
        ax.scatter(complete["number"], complete["value"], s=24, color=BLUE, zorder=3, label="finished")
    reported = pruned.dropna(subset="value")
    if not reported.empty:
        ax.scatter(
            reported["number"],
            reported["value"],
            s=24,
            facecolors="none",
            edgecolors=ORANGE,
            marker="v",
            zorder=3,
            label="pruned",
        )
    without_value = pd.concat([pruned[pruned["value"].isna()], failed])
    if not without_value.empty:
        ax.scatter(
            without_value["number"],
            np.full(len(without_value), 0.02),
            transform=ax.get_xaxis_transform(),
            marker="x",
            color=GREY,
            s=20,
            label="failed or no value",
        )
    default = trials[(trials["number"] == default_trial) & trials["value"].notna()]
    if not default.empty:
        ring = _ARMS["default"]
        ax.scatter(default["number"], default["value"], s=110, facecolors="none", edgecolors=ring, label="default")
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    ax.set_xlabel("trial")
    ax.set_ylabel(ylabel)
    ax.margins(x=0.06, y=0.12)
    if trials.empty:
        say_nothing_drawn(ax, "no trials")
    else:
        legend_above(ax)
    tidy(ax, grid="y")
    return ax


def sweep_figure(
    *,
    title: str,
    gaps: Mapping[str, Gap],
    arms: Mapping[str, Mapping[int, float]],
    curves: pd.DataFrame,
    trials: pd.DataFrame,
    baseline_on_search: float | None = None,
    default_trial: int = 0,
) -> Figure:
    """The one figure of a sweep: gaps against the margin, each seed, the AP while training, and the search.

    Args:
        title: one line; the verdict in words belongs here.
        gaps: as for :func:`gap_intervals`.
        arms: as for :func:`seed_points`.
        curves: AP in points, as for :func:`training_curves`.
        trials: as for :func:`search_history`.
        baseline_on_search, default_trial: as for :func:`search_history`, whose ``baseline`` the first one is.

    Returns:
        A figure of 12 by 8 inches that belongs to no GUI; save it with ``figure.savefig``.
    """
    figure = Figure(figsize=(12, 8), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.08))
    # Rows of their own: the verdict's words beside the gaps would otherwise narrow the panel below them too.
    rows = figure.subfigures(2, 1, squeeze=False)[:, 0]
    (gaps_ax, seeds_ax), (curves_ax, search_ax) = (row.subplots(1, 2) for row in rows)
    gap_intervals(gaps_ax, gaps)
    seed_points(seeds_ax, arms, ylabel="AP after training (points)")
    training_curves(curves_ax, curves, ylabel="AP while training (points)")
    search_history(search_ax, trials, baseline_on_search, default_trial=default_trial)
    figure.suptitle("\n".join(textwrap.wrap(title, 120)))
    return figure


def comparison_figure(
    *,
    title: str,
    contrasts: Mapping[str, Gap | Effect],
    published: Mapping[str, float],
    arms: Mapping[str, Mapping[int, float]],
    precisions: Mapping[str, str],
) -> Figure:
    """The figure of a comparison: its contrasts, beside what was published of them, above each arm's seeds.

    Args:
        title: one line.
        contrasts, published: as for :func:`contrast_intervals`.
        arms: as for :func:`seed_points`.
        precisions: name by arm; they colour the arms.

    Returns:
        A figure 12 inches wide that belongs to no GUI; save it with ``figure.savefig``.
    """
    heights = max(2.5, 0.6 * len(contrasts) + 1), 3.5
    figure = Figure(figsize=(12, sum(heights) + 0.5), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.08))
    contrasts_ax, seeds_ax = figure.subplots(2, 1, height_ratios=heights)
    contrast_intervals(contrasts_ax, contrasts, published)
    if arms:
        colours = {name: _PRECISIONS[precision] for name, precision in precisions.items()}
        seed_points(seeds_ax, arms, ylabel="AP after training (points)", colours=colours, joined=False)
    else:
        say_nothing_drawn(seeds_ax, "no run finished")
    figure.suptitle("\n".join(textwrap.wrap(title, 120)))
    return figure


def _verdict_words(gap: Gap) -> str:
    if gap.verdict != "undecided":
        return gap.verdict
    if gap.seeds_needed is None:
        return "undecided"
    if gap.seeds_needed > _MANY:
        return f"undecided:\nover {_MANY} more\nseeds an arm"
    bound = "at least" if gap.method == "none" else "about"
    return f"undecided:\n{bound} {gap.seeds_needed} more\n{'seed' if gap.seeds_needed == 1 else 'seeds'} an arm"


def _seeds(count: int) -> str:
    return f"{count} seed" if count == 1 else f"{count} seeds"


def _arm_colours(names: Iterable[str]) -> dict[str, str]:
    """Each arm of a sweep has its colour in every figure; others take the next free one."""
    others = itertools.cycle(_OTHER_ARMS)
    return {name: _ARMS[name] if name in _ARMS else next(others) for name in names}


def _wrapped(name: str, width: int = _LABEL_WIDTH) -> str:
    return textwrap.fill(name, width)

"""The figures of a diagnosis: where in a network, and when in training, half loses precision."""

import math
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from workspace.figures.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    VERMILION,
    legend_above,
    say_nothing_drawn,
    tidy,
)

_ULP = 2.0**-11
"""Half an ulp of FP16 at 1: the error of a value that is rounded once."""

_CEILING = 10.0  # relative errors above, and those that are not finite, are drawn at it
_NAME_WIDTH = 34


def network_by_depth(ax: Axes, members: pd.DataFrame, causes: Sequence[str] = ()) -> Axes:
    """The layers from the first to the last: the error that each adds, that of its output, and that of its gradient.

    Args:
        members: columns ``name``, ``order`` and ``is_layer``, and the relative errors ``made_here``, ``output`` and
            ``gradient``; only layers are drawn. nan where there is none.
        causes: names of members, shaded.
    """
    layers = members[members["is_layer"]].sort_values("order").reset_index(drop=True)
    if layers.empty:
        say_nothing_drawn(ax, "no layer was seen")
        return ax
    drawn = (("gradient", VERMILION, "v"), ("output", BLUE, "o"), ("made_here", BLACK, "s"))
    for column, colour, marker in drawn:
        values = layers[column].replace([math.inf], _CEILING).clip(upper=_CEILING)
        ax.plot(
            layers.index,
            values.where(values > 0),
            marker=marker,
            color=colour,
            linewidth=0.8,
            markersize=2.5,
            label=column.replace("_", " "),
        )
    for place, cause in enumerate(causes):
        inside = layers.index[[_is_inside(name, cause) for name in layers["name"]]]
        if len(inside):
            label = "cause" if place == 0 else "_nolegend_"
            ax.axvspan(inside[0] - 0.5, inside[-1] + 0.5, color=ORANGE, alpha=0.25, linewidth=0, label=label)
    ax.axhline(_ULP, color=GREY, linewidth=0.8, linestyle="--", label="one rounding to FP16")
    ax.set_yscale("log")
    parts = _parts(layers["name"])
    starts = _spaced(parts, len(parts) // 30)
    ax.set_xticks(starts, [parts[start] for start in starts], rotation=90, fontsize="x-small")
    ax.set_xlim(-0.5, len(layers) - 0.5)
    ax.set_xlabel("layer, from the picture to the loss")
    ax.set_ylabel("relative error against FP32")
    legend_above(ax, columns=5)
    tidy(ax, grid="y")
    return ax


def shares_of_error(ax: Axes, causes: pd.DataFrame, most: int = 8) -> Axes:
    """By cause, the share of the update's error that goes away when it alone is mended, and that it makes alone.

    Args:
        causes: columns ``cause`` (its name), ``share`` and ``alone``, 0 to 1, drawn from top to bottom; ``alone`` is
            nan for what is no member of the model.
    """
    shown = causes.head(most)
    if shown.empty:
        say_nothing_drawn(ax, "nothing is lost that matters")
        return ax
    rows = np.arange(len(shown))
    ax.barh(rows - 0.18, shown["share"].clip(0, 1), height=0.34, color=GREEN, label="goes away, mended alone")
    ax.barh(rows + 0.18, shown["alone"].clip(0, 1), height=0.34, color=PURPLE, label="is there, in half alone")
    ax.set_yticks(rows, [textwrap.shorten(name, _NAME_WIDTH, placeholder="...") for name in shown["cause"]])
    ax.set_ylim(max(len(shown), 3) - 0.4, -0.6)  # bars of one cause are as thick as those of three
    ax.set_xlim(0, 1.02)
    ax.set_xlabel("share of the update's error")
    legend_above(ax)
    tidy(ax, grid="x")
    ax.tick_params(axis="y", length=0)
    return ax


def network_over_time(ax: Axes, moments: pd.DataFrame) -> Axes:
    """The gradient's relative error by layer, from top to bottom, at moments of a training, from left to right.

    Args:
        moments: columns ``step``, ``name``, ``order`` and ``error``; white where that is 0 or nan, because no gradient
            comes back to the layer in FP32.
    """
    if moments.empty:
        say_nothing_drawn(ax, "no training was gone along with")
        return ax
    grid = moments.pivot(index="order", columns="step", values="error").sort_index()
    names = moments.drop_duplicates("order").set_index("order")["name"]
    values = grid.to_numpy(float)
    values = np.where(values > 0, np.minimum(values, _CEILING), np.nan)
    drawn = ax.imshow(values, aspect="auto", cmap="cividis", norm=LogNorm(1e-4, 1), interpolation="nearest")
    ax.set_xticks(range(grid.shape[1]), [str(step) for step in grid.columns])
    parts = _parts([str(names[order]) for order in grid.index])
    starts = _spaced(parts, len(parts) // 20)
    ax.set_yticks(starts, [parts[start] for start in starts], fontsize="x-small")
    ax.set_xlabel("optimizer step")
    ax.set_ylabel("layer, from the picture down to the loss")
    bar = ax.figure.colorbar(drawn, ax=ax)
    bar.set_label("relative error of the gradient")
    return ax


def diagnosis_figure(
    *, title: str, members: pd.DataFrame, causes: pd.DataFrame, moments: pd.DataFrame | None = None
) -> Figure:
    """The picture of a diagnosis: the network by depth, its causes and, where a training was gone along with, time.

    Args:
        title: one line.
        members: as for :func:`network_by_depth`.
        causes: as for :func:`shares_of_error`, with a column ``where`` of the members that are shaded.
        moments: as for :func:`network_over_time`; ``None`` leaves the panel out.

    Returns:
        A figure 12 inches wide that belongs to no GUI; save it with ``figure.savefig``.
    """
    figure = Figure(figsize=(12, 7.5), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08))
    depth, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(1.3, 1))[:, 0]
    network_by_depth(depth.subplots(), members, list(causes["where"].head(3)))
    if moments is None:
        shares_of_error(below.subplots(), causes)
    else:
        left, right = below.subplots(1, 2)
        shares_of_error(left, causes)
        network_over_time(right, moments)
    figure.suptitle("\n".join(textwrap.wrap(title, 120)))
    return figure


def _parts(names: Iterable[str]) -> list[str]:
    """The part of the network that each layer lies in, such as ``backbone.layer1``."""
    return [".".join(name.split(".")[:2]) for name in names]


def _spaced(parts: Sequence[str], least: int) -> list[int]:
    """Where a part of the network begins: the first, then the longest that are not too close to another's."""
    layers = Counter(parts)
    shown = [0]
    for part in sorted(layers, key=lambda part: -layers[part]):
        begin = parts.index(part)
        if all(abs(begin - other) >= least for other in shown):
            shown.append(begin)
    return sorted(shown)


def _is_inside(name: str, cause: str) -> bool:
    path = cause.partition(":")[0]
    return name == path or name.startswith(f"{path}.")

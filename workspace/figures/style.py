"""What the project's figures have in common.

Colours are Okabe and Ito's, which colour-blind readers tell apart (https://jfly.uni-koeln.de/color/); nothing is said
by colour alone.
"""

from typing import Literal

from matplotlib.axes import Axes

BLACK, ORANGE, SKY, GREEN, BLUE, VERMILION, PURPLE = (
    "#000000",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
)
GREY = "#7F7F7F"


def legend_above(ax: Axes, columns: int = 3) -> None:
    """Above the axes, where it hides no point."""
    ax.legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, frameon=False, borderaxespad=0.2, fontsize="small"
    )


def say_nothing_drawn(ax: Axes, why: str) -> None:
    """Empty axes that say why."""
    ax.set_xticks([])
    ax.set_yticks([])
    ax.text(0.5, 0.5, why, transform=ax.transAxes, ha="center", va="center", color=GREY)


def tidy(ax: Axes, grid: Literal["x", "y"]) -> None:
    """Without a frame, with lines to read values off."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis=grid, color=GREY, alpha=0.25, linewidth=0.6)
    ax.set_axisbelow(True)

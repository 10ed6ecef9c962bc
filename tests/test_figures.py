from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure

from workspace import figures
from workspace.gap import measure_gap

FP32 = {0: 57.1, 1: 58.3, 2: 56.0, 3: 57.7}
FP16 = {0: 53.2, 1: 54.1, 2: 53.0, 3: 53.8}
TUNED = {0: 57.0, 1: 58.0, 2: 56.4, 3: 57.5}
ARMS = {"baseline": FP32, "default": FP16, "tuned": TUNED}


def gaps(margin: float = 1.0):
    return {name: measure_gap(FP32, ARMS[name], margin) for name in ("default", "tuned")}


def curves(arms=ARMS) -> pd.DataFrame:
    rows = [
        (arm, seed, step, ap * step / 300)
        for arm, aps in arms.items()
        for seed, ap in aps.items()
        for step in (300, 100)
    ]
    return pd.DataFrame(rows, columns=["arm", "seed", "step", "value"])


TRIALS = pd.DataFrame(
    [
        (1, 50.0, "pruned"),
        (0, 55.0, "finished"),
        (2, 57.0, "finished"),
        (3, 54.0, "finished"),
        (4, np.nan, "failed"),
        (5, np.nan, "pruned"),
    ],
    columns=["number", "value", "state"],
)


@pytest.fixture
def ax() -> Axes:
    return Figure().subplots()


def words(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts]


def legend(ax: Axes) -> list[str]:
    found = ax.get_legend()
    return [text.get_text() for text in found.get_texts()] if found else []


def points(ax: Axes, label: str) -> list[tuple[float, float]]:
    (scatter,) = (c for c in ax.collections if isinstance(c, PathCollection) and c.get_label() == label)
    return [tuple(point) for point in scatter.get_offsets().tolist()]


class TestGapIntervals:
    def test_draws_each_interval_and_its_verdict_in_order(self, ax):
        shown = gaps()
        assert figures.gap_intervals(ax, shown) is ax

        drawn = [c.get_segments()[0][:, 0].tolist() for c in ax.collections if isinstance(c, LineCollection)]
        assert drawn == [pytest.approx([gap.low, gap.high]) for gap in shown.values()]
        assert [label.get_text() for label in ax.get_yticklabels()] == ["default", "tuned"]
        assert ax.yaxis_inverted()
        assert words(ax)[0] == "open"
        assert words(ax)[1].startswith(f"undecided:\nabout {shown['tuned'].seeds_needed} more")

    def test_shades_from_the_margin_to_zero(self, ax):
        figures.gap_intervals(ax, gaps(margin=0.5))
        (shade,) = ax.patches
        assert (shade.get_x(), shade.get_width()) == (-0.5, 0.5)
        assert legend(ax) == ["within the margin of 0.5 AP"]

    def test_one_seed_is_a_hollow_point_without_interval(self, ax):
        figures.gap_intervals(ax, {"default": measure_gap({0: 57.0}, {0: 56.0}, 1.0)})
        assert not ax.collections
        (point,) = (line for line in ax.lines if line.get_marker() == "o")
        assert point.get_markerfacecolor() == "white"
        assert words(ax) == ["undecided:\nat least 1 more\nseed an arm"]

    def test_says_no_number_where_none_is_known(self, ax):
        constant = dict.fromkeys(range(3), 40.0)
        figures.gap_intervals(ax, {"default": measure_gap(constant, constant, 1.0)})
        assert words(ax) == ["undecided"]

    def test_refuses_gaps_of_different_margins(self, ax):
        mixed = {"default": measure_gap(FP32, FP16, 1.0), "tuned": measure_gap(FP32, TUNED, 0.5)}
        with pytest.raises(ValueError, match=r"one margin, not \[0.5, 1.0\]"):
            figures.gap_intervals(ax, mixed)


class TestSeedPoints:
    def test_draws_every_seed_and_the_mean(self, ax):
        assert figures.seed_points(ax, ARMS) is ax
        scatters = [c for c in ax.collections if isinstance(c, PathCollection)]
        assert [c.get_offsets()[:, 1].tolist() for c in scatters] == [list(arm.values()) for arm in ARMS.values()]
        assert words(ax) == ["57.3", "53.5", "57.2"]

    def test_joins_only_seeds_that_both_neighbours_ran(self, ax):
        figures.seed_points(ax, {"baseline": {0: 57.0, 1: 58.0}, "default": {1: 56.0, 2: 55.0}})
        (line,) = ax.lines
        assert list(line.get_ydata()) == [58.0, 56.0]

    def test_one_seed(self, ax):
        figures.seed_points(ax, {"baseline": {7: 57.0}})
        assert [label.get_text() for label in ax.get_xticklabels()] == ["baseline\n(1 seed)"]


class TestTrainingCurves:
    def test_one_line_a_run_in_order_of_steps(self, ax):
        assert figures.training_curves(ax, curves(), "AP (points)") is ax
        assert len(ax.lines) == 12
        assert list(ax.lines[0].get_xdata()) == [100, 300]
        assert legend(ax) == ["baseline", "default", "tuned"]
        assert len({line.get_color() for line in ax.lines}) == 3
        assert ax.get_ylabel() == "AP (points)"

    def test_an_arm_keeps_its_colour_without_the_others(self, ax):
        figures.training_curves(ax, curves(), "AP")
        alone = figures.training_curves(Figure().subplots(), curves({"tuned": TUNED}), "AP")
        assert alone.lines[0].get_color() == ax.lines[-1].get_color()

    def test_loss_scale_on_a_binary_axis(self, ax):
        scale = pd.DataFrame({"arm": "default", "seed": 0, "step": [1, 2], "value": [65536.0, 32768.0]})
        figures.training_curves(ax, scale, "loss scale", log2=True)
        assert ax.get_yscale() == "log"
        assert ax.yaxis.get_transform().base == 2

    def test_says_that_there_is_nothing(self, ax):
        figures.training_curves(ax, curves().iloc[:0], "AP")
        assert words(ax) == ["nothing recorded"]


class TestSearchHistory:
    def test_tells_the_states_apart(self, ax):
        assert figures.search_history(ax, TRIALS, baseline=56.0) is ax
        assert points(ax, "finished") == [(0, 55.0), (2, 57.0), (3, 54.0)]
        assert points(ax, "pruned") == [(1, 50.0)]
        assert sorted(x for x, _ in points(ax, "failed or no value")) == [4, 5]
        assert points(ax, "default") == [(0, 55.0)]

    def test_rings_the_default_recipe_wherever_it_was_tried(self, ax):
        figures.search_history(ax, TRIALS, default_trial=2)
        assert points(ax, "default") == [(2, 57.0)]

    def test_best_so_far_ignores_pruned_trials_and_never_falls(self, ax):
        figures.search_history(ax, TRIALS)
        (best,) = ax.lines
        assert list(best.get_ydata()) == [55.0, 57.0, 57.0]

    def test_baseline_is_drawn_only_where_known(self, ax):
        figures.search_history(ax, TRIALS)
        assert "baseline" not in legend(ax)
        known = figures.search_history(Figure().subplots(), TRIALS, baseline=56.0)
        assert "baseline" in legend(known)

    def test_says_that_there_are_no_trials(self, ax):
        figures.search_history(ax, TRIALS.iloc[:0])
        assert words(ax) == ["no trials"]


@pytest.mark.parametrize("title", ["FCOS", "FP16 loses 0.4 AP: undecided at a margin of 1.0; " * 4])
def test_sweep_figure_saves_as_png_with_all_text_inside(title):
    figure = figures.sweep_figure(title=title, gaps=gaps(), arms=ARMS, curves=curves(), trials=TRIALS)
    png = BytesIO()
    figure.savefig(png)
    assert png.getvalue().startswith(b"\x89PNG")
    assert len(figure.axes) == 4
    drawn = figure.get_tightbbox()  # inches, of everything that is drawn
    assert min(drawn.x0, drawn.y0) >= 0
    assert drawn.x1 <= 12
    assert drawn.y1 <= 8


def test_sweep_figure_of_one_seed_without_tuned_arm_or_trials():
    arms = {"baseline": {0: 57.0}, "default": {0: 56.0}}
    figure = figures.sweep_figure(
        title="FCOS",
        gaps={"default": measure_gap(arms["baseline"], arms["default"], 1.0)},
        arms=arms,
        curves=curves(arms),
        trials=TRIALS.iloc[:0],
    )
    figure.savefig(BytesIO())
    assert "no trials" in words(figure.axes[3])

"""The figures of a diagnosis show what they are given, and say where there is nothing to show."""

import math

import pandas as pd
from matplotlib.figure import Figure

from workspace.figures import diagnosis_figure, network_by_depth, network_over_time, shares_of_error

MEMBERS = pd.DataFrame(
    [
        ("backbone", 1, False, math.nan, 1e-3, 2e-3),
        ("backbone.conv1", 2, True, 3e-4, 4e-4, math.inf),
        ("backbone.bn1", 3, True, 3e-4, 5e-4, 0.2),
        ("head.score", 4, True, 0.9, 0.8, 0.1),
    ],
    columns=["name", "order", "is_layer", "made_here", "output", "gradient"],
)
CAUSES = pd.DataFrame([("head.score", "head.score", 0.9, 0.8)], columns=["cause", "where", "share", "alone"])
MOMENTS = pd.DataFrame(
    [(0, "backbone.conv1", 2, 0.1), (0, "head.score", 4, math.nan), (9, "backbone.conv1", 2, math.inf)],
    columns=["step", "name", "order", "error"],
)


def test_layers_are_drawn_in_their_order_and_the_cause_is_shaded() -> None:
    ax = network_by_depth(Figure().subplots(), MEMBERS, ["head.score"])
    made_here = next(line for line in ax.get_lines() if line.get_label() == "made here")
    assert list(made_here.get_ydata()) == [3e-4, 3e-4, 0.9]
    gradient = next(line for line in ax.get_lines() if line.get_label() == "gradient")
    assert list(gradient.get_ydata()) == [10, 0.2, 0.1], "what is not finite is drawn at the ceiling"
    (shaded,) = ax.patches
    assert (shaded.get_x(), shaded.get_width()) == (1.5, 1)  # type: ignore[attr-defined]


def test_causes_and_moments_say_where_there_are_none() -> None:
    for ax in (
        shares_of_error(Figure().subplots(), CAUSES.head(0)),
        network_over_time(Figure().subplots(), MOMENTS.head(0)),
        network_by_depth(Figure().subplots(), MEMBERS.head(1)),
    ):
        assert ax.texts
        assert not ax.lines


def test_time_has_a_column_a_moment_and_a_row_a_layer() -> None:
    (drawn,) = network_over_time(Figure().subplots(), MOMENTS).get_images()
    assert drawn.get_size() == (2, 2)


def test_where_no_gradient_comes_back_nothing_is_drawn_and_one_that_overflows_is_the_worst() -> None:
    moments = pd.concat([MOMENTS, pd.DataFrame([(9, "head.score", 4, 0.0)], columns=MOMENTS.columns)])
    (drawn,) = network_over_time(Figure().subplots(), moments).get_images()
    values = drawn.get_array()
    assert values is not None
    assert values.mask.tolist() == [[False, False], [True, True]]
    assert values[0].tolist() == [0.1, 10]


def test_long_parts_have_a_label_where_they_begin() -> None:
    parts = [("stem.conv", 9), ("stem.norm", 2), ("neck.extra", 100), *[("head.cls", 3), ("head.reg", 3)] * 4]
    names = [f"{name}.{place}" for name, length in parts for place in range(length)]
    members = pd.DataFrame({"name": names, "order": range(len(names)), "is_layer": True, "output": 1e-3})
    ax = network_by_depth(Figure().subplots(), members.assign(made_here=1e-3, gradient=1e-3))
    assert [label.get_text() for label in ax.get_xticklabels()] == ["stem.conv", "neck.extra", "head.cls"]


def test_the_picture_holds_them_all() -> None:
    figure = diagnosis_figure(title="found", members=MEMBERS, causes=CAUSES, moments=MOMENTS)
    assert len(figure.axes) == 4  # the colours' bar is one
    assert len(diagnosis_figure(title="found", members=MEMBERS, causes=CAUSES).axes) == 2

"""The project's figures: tidy values in, matplotlib Axes in and out."""

from workspace.figures.experiments import (
    comparison_figure,
    contrast_intervals,
    gap_intervals,
    search_history,
    seed_points,
    sweep_figure,
    training_curves,
)
from workspace.figures.precision import diagnosis_figure, network_by_depth, network_over_time, shares_of_error

__all__ = [
    "comparison_figure",
    "contrast_intervals",
    "diagnosis_figure",
    "gap_intervals",
    "network_by_depth",
    "network_over_time",
    "search_history",
    "seed_points",
    "shares_of_error",
    "sweep_figure",
    "training_curves",
]

"""The AP gap between two precisions over seeds, its interval, and the verdict: ``docs/statistics.md``."""

from workspace.gap.calibration import Rates, verdict_rates
from workspace.gap.verdict import Gap, Verdict, measure_gap
from workspace.gap.words import sentence

__all__ = ["Gap", "Rates", "Verdict", "measure_gap", "sentence", "verdict_rates"]

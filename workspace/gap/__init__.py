"""The AP gap between two precisions over seeds, its interval, and the verdict: ``docs/statistics.md``."""

from workspace.gap.calibration import (
    ProposedRates,
    Rates,
    SearchedRates,
    SequentialRates,
    proposed_rates,
    searched_rates,
    sequential_rates,
    verdict_rates,
)
from workspace.gap.effect import Effect, measure_effect
from workspace.gap.futility import FUTILE, chance_of_closing
from workspace.gap.pictures import PictureInterval, bootstrap_pictures
from workspace.gap.sequential import LOOKS, measure_effect_sequentially, measure_sequentially, next_look
from workspace.gap.verdict import Gap, Verdict, measure_gap
from workspace.gap.words import effect_sentence, sentence

__all__ = [
    "FUTILE",
    "LOOKS",
    "Effect",
    "Gap",
    "PictureInterval",
    "ProposedRates",
    "Rates",
    "SearchedRates",
    "SequentialRates",
    "Verdict",
    "bootstrap_pictures",
    "chance_of_closing",
    "effect_sentence",
    "measure_effect",
    "measure_effect_sequentially",
    "measure_gap",
    "measure_sequentially",
    "next_look",
    "proposed_rates",
    "searched_rates",
    "sentence",
    "sequential_rates",
    "verdict_rates",
]

"""Whether AP on the way of a training ranks recipes as their final AP does."""

import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass

_LEVEL = 0.05
"""At which ranks are believed to agree, one-sided; four trials in the same order have 0.042."""


@dataclass(frozen=True)
class Ranks:
    """How well AP at a step ranks trials as their final AP does.

    Attributes:
        tau: Kendall's tau-b, -1 to 1.
        p_value: of such an agreement or a better one by chance alone, exact where no two trials tie (M. Kendall,
            Biometrika 30 (1938), 81-93).
        trials: finished ones that reported at that step.
    """

    tau: float
    p_value: float
    trials: int

    @property
    def agree(self) -> bool:
        return self.p_value < _LEVEL


def rank_agreement(pairs: Iterable[tuple[float, float]]) -> Ranks | None:
    """The agreement of AP at a step with the final AP, a pair for each trial; ``None`` where nothing differs."""
    from scipy.stats import kendalltau

    pairs = list(pairs)
    if len(pairs) < 2:
        return None
    early, final = zip(*pairs, strict=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of values that are all the same
        found = kendalltau(early, final, alternative="greater")
    return None if math.isnan(found.statistic) else Ranks(float(found.statistic), float(found.pvalue), len(pairs))

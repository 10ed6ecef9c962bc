"""A contrast of arms' means over seeds: Welch's t, and the paired t where the measured correlation earns it.

A contrast is a weighted sum of the arms' means. The difference of two arms, weights -1 and +1, is the commonest;
weights of several arms give the main effects and the interaction of a factorial design.

Every function is vectorised over leading axes, seeds along the last one, so that the simulations which vouch for the
error rates run the code that judges an experiment. ``scipy.stats.ttest_ind`` and ``ttest_rel`` give the same numbers
(a test holds them together) but warn on an arm without spread and cannot choose between the two study by study.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

BASELINE_TO_CANDIDATE = (-1.0, 1.0)
"""A gap's weights of baseline and candidate."""

TAIL = 0.05  # of each end of the interval: 90 % between them
NO_SPREAD = 1e-9  # AP points; a smaller standard error is rounding in the last bits, not noise between seeds

# Choosing by the same data picks the paired interval most readily where it is too narrow by luck. In the simulations of
# benchmarks/verdict_calibration.py a level of 0.05 lets errors rise to 5.5 %, 0.005 by at most 0.1 points over
# Welch's. With fewer than 5 pairs that level asks for r > 0.99, which luck and rounding give sooner than pairing.
PAIRS_NEEDED = 5
CORRELATION_LEVEL = 0.005


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of the arms' means in AP points, with what its t distribution needs.

    Attributes:
        mean: the sum.
        error: its standard error; nan where no arm shows any spread, since noise that was not seen is not absent.
        df: degrees of freedom; nan with ``error``.
        paired: whether the seeds were taken as pairs.
    """

    mean: Floats
    error: Floats
    df: Floats
    paired: Bools

    def interval(self, tail: float = TAIL) -> tuple[Floats, Floats]:
        """The two-sided t interval, 90 % unless said otherwise; each end is a one-sided bound at level ``tail``."""
        half = stdtrit(self.df, 1 - tail) * self.error
        return self.mean - half, self.mean + half

    def p_value(self, margin: float) -> Floats:
        """One-sided p-value of "the candidate is worse than the baseline by ``margin`` or more"."""
        p: Floats = stdtr(self.df, -(self.mean + margin) / self.error)
        return p


def contrast(arms: Sequence[Floats], weights: Sequence[float], *, same_seeds: bool) -> Contrast:
    """Contrast arms of at least two seeds each.

    Args:
        arms: AP in points, shape (..., seeds); with ``same_seeds``, all in the same order of seeds.
        weights: of the arms' means.
        same_seeds: whether all arms ran the same seeds, so that they may be taken together seed by seed.
    """
    mean = _weighted([arm.mean(-1) for arm in arms], weights)
    error, df = welch_error([arm.var(-1, ddof=1) for arm in arms], [arm.shape[-1] for arm in arms], weights)
    paired = np.zeros(mean.shape, dtype=np.bool_)
    seeds = arms[0].shape[-1]
    if same_seeds and seeds >= PAIRS_NEEDED:
        paired_error = _weighted(arms, weights).std(-1, ddof=1) / np.sqrt(seeds)
        added = _weighted(arms, [max(weight, 0.0) for weight in weights])
        taken_away = _weighted(arms, [max(-weight, 0.0) for weight in weights])
        paired = (correlation_p_value(correlation(taken_away, added), seeds) < CORRELATION_LEVEL) & (
            # Differences that are all alike say that the arms are one computation, not that the contrast is exact.
            paired_error > NO_SPREAD
        )
        error = np.where(paired, paired_error, error)
        df = np.where(paired, seeds - 1.0, df)
    return Contrast(mean, error, df, paired)


def welch_error(
    variances: Sequence[Floats | np.float64], seeds: Sequence[int], weights: Sequence[float]
) -> tuple[Floats, Floats]:
    """Standard error and Welch-Satterthwaite degrees of freedom of a weighted sum of means; nan where none has spread.

    Sources: B. L. Welch, Biometrika 34 (1947), 28-35; F. E. Satterthwaite, Biometrics Bulletin 2 (1946), 110-114.
    """
    parts = [np.asarray(w * w * v / n) for v, n, w in zip(variances, seeds, weights, strict=True)]
    total = np.sum(parts, axis=0)
    total = np.where(total > NO_SPREAD**2, total, np.nan)
    df = total**2 / np.sum([part**2 / (n - 1) for part, n in zip(parts, seeds, strict=True)], axis=0)
    return np.sqrt(total), df


def _weighted(values: Sequence[Floats], weights: Sequence[float]) -> Floats:
    found: Floats = np.sum([weight * value for value, weight in zip(values, weights, strict=True)], axis=0)
    return found


def correlation(baseline: Floats, candidate: Floats) -> Floats:
    """Pearson's correlation over paired seeds, along the last axis; nan where an arm has no spread."""
    b = baseline - baseline.mean(-1, keepdims=True)
    c = candidate - candidate.mean(-1, keepdims=True)
    spread = np.sqrt((b * b).sum(-1) * (c * c).sum(-1))
    r: Floats = np.clip((b * c).sum(-1) / np.where(spread > NO_SPREAD**2, spread, np.nan), -1, 1)
    return r


def correlation_p_value(r: Floats, pairs: int) -> Floats:
    """One-sided p-value of "no positive correlation" by Student's t on ``pairs - 2`` degrees of freedom."""
    # r = 1 would divide by zero; no r below 1 can be told from it closer than this.
    t = r * np.sqrt((pairs - 2) / np.maximum(1 - r * r, np.finfo(np.float64).eps))
    p: Floats = stdtr(pairs - 2, -t)
    return p

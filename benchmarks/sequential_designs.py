"""Other rules for looking again and again, beside the one that `workspace.gap.measure_sequentially` follows.

Each is given its levels, or its shape, such that *closed* is said wrongly in 5 % of studies of one varying arm, by
simulation where no formula gives them, and then decides the same studies of two arms without a true gap.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from workspace.gap import LOOKS
from workspace.gap.contrast import BASELINE_TO_CANDIDATE, TAIL, contrast
from workspace.gap.sequential import level

Floats = NDArray[np.float64]
CALIBRATED_ON = 100_000  # studies


@dataclass(frozen=True)
class Design:
    """A rule by its name, and at each look the share of studies that are closed by then; None after its last look."""

    name: str
    closed: list[float | None]


def designs(margin: float, sd: float, most: int, studies: int) -> list[Design]:
    """How soon each rule closes a gap of 0, with looks up to ``most`` seeds; horizons are ``most`` seeds too."""
    looks = [look for look in LOOKS if look <= most]
    rng = np.random.default_rng(1)
    arms = 50 + sd * rng.standard_normal((2, studies, most))
    p = _p_values(arms, margin, looks)
    alone = _p_values(np.stack([np.zeros((CALIBRATED_ON, most)), rng.standard_normal((CALIBRATED_ON, most))]), 0, looks)
    n = np.array(looks, dtype=np.float64)
    shapes = {
        f"Pocock: one level, horizon of {most}": np.ones(len(looks)),
        f"Wang and Tsiatis, power 1/4, horizon of {most}": norm.sf(1.75 * (most / n) ** 0.25),
        f"O'Brien and Fleming, horizon of {most}": norm.sf(1.68 * np.sqrt(most / n)),
    }
    ours = np.array([level(look) for look in looks])
    levels = {name: shape * np.quantile((alone / shape).min(1), TAIL) for name, shape in shapes.items()}
    shares = {
        "once, at that number": (p < TAIL).mean(0),
        "this project's levels, no horizon": _by_then(p < ours),
        **{name: _by_then(p < allowed) for name, allowed in levels.items()},
        "mixture martingale of t, always valid": _by_then(
            _martingale(arms[1] - arms[0] + margin, looks) > 1 / TAIL / 2
        ),
    }
    return [Design(name, [float(share) for share in found]) for name, found in shares.items()]


def _p_values(arms: Floats, margin: float, looks: Sequence[int]) -> Floats:
    """Of *the candidate is worse by the margin*, (studies, looks); arms of (2, studies, seeds)."""
    found = [contrast((arms[0, :, :n], arms[1, :, :n]), BASELINE_TO_CANDIDATE, same_seeds=True) for n in looks]
    return np.stack([each.p_value(margin) for each in found], axis=-1)


def _by_then(crossed: NDArray[np.bool_]) -> Floats:
    shares: Floats = np.maximum.accumulate(crossed, axis=1).mean(0)
    return shares


def _martingale(differences: Floats, looks: Sequence[int]) -> Floats:
    """Scale-free mixture of effect sizes N(0, 1), for a positive mean of the differences; (studies, looks).

    T. L. Lai, *On confidence sequences*, Annals of Statistics 4 (1976), 265-280; H. Wang and A. Ramdas, *Anytime-valid
    t-tests and confidence sequences for Gaussian means with unknown variance* (2023). Its mean is 1 for differences of
    mean 0 whatever their spread, so that it passes 10 in at most 10 % of studies, half of them on this side.
    """
    n = np.array(looks, dtype=np.float64)
    sums = differences.cumsum(1)[:, np.array(looks) - 1]
    squares = (differences**2).cumsum(1)[:, np.array(looks) - 1]
    whole = (n + 1) * squares
    found: Floats = np.where(sums > 0, np.sqrt(1 / (n + 1)) * (whole / (whole - sums**2)) ** (n / 2), 0)
    return found

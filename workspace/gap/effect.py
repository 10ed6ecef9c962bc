"""`measure_effect`: from the AP of several arms, seed by seed, to a contrast of them with its interval."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from workspace.gap.contrast import TAIL, contrast
from workspace.gap.verdict import check_arm, values_of


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What a contrast of arms says, in AP points: a main effect or an interaction of a factorial design.

    It has no verdict. A margin is the loss that the user of a candidate accepts, and nobody trains an average of arms.

    Attributes:
        mean: the weighted sum of the arms' means.
        low: lower end of the 90 % interval; ``None`` with method ``none``.
        high: its upper end.
        method: ``welch``, ``paired``, or ``none``: one seed in an arm, or no spread in any.
        seeds: runs in each arm's mean.
        sequential: whether the interval allows for looks at fewer seeds and more, by
            `workspace.gap.measure_effect_sequentially`.
    """

    mean: float
    low: float | None
    high: float | None
    method: Literal["welch", "paired", "none"]
    seeds: Mapping[str, int]
    sequential: bool = False


def measure_effect(arms: Mapping[str, Mapping[int, float]], weights: Mapping[str, float], tail: float = TAIL) -> Effect:
    """Contrast arms; for two with weights -1 and 1, mean, interval and method are those of ``measure_gap``.

    The interval is Welch-Satterthwaite's. It is the t interval of the contrast taken seed by seed where all arms ran
    the same five seeds or more, and over these the arms of positive weight, as weighted, correlate with those of
    negative weight at a level of 0.5 %.

    Args:
        arms: AP in points (0 to 100) by seed, by arm.
        weights: by arm, of the arms in the contrast.
        tail: level of each end of the interval.

    Raises:
        UserError: an arm without runs, or an AP that is not within 0 to 100.
        KeyError: a weight of an arm that is not there.
    """
    contrasted = {name: arms[name] for name in weights}
    for name, arm in contrasted.items():
        check_arm(name, arm)
    values = [values_of(arm, sorted(arm)) for arm in contrasted.values()]
    seeds = {name: len(arm) for name, arm in contrasted.items()}
    mean = sum(weight * float(arm.mean()) for weight, arm in zip(weights.values(), values, strict=True))
    without_interval = Effect(mean=mean, low=None, high=None, method="none", seeds=seeds)
    if min(seeds.values()) < 2:
        return without_interval
    same_seeds = len({frozenset(arm) for arm in contrasted.values()}) == 1
    found = contrast(values, list(weights.values()), same_seeds=same_seeds)
    if math.isnan(found.error):
        return without_interval
    low, high = found.interval(tail)
    method: Literal["welch", "paired"] = "paired" if found.paired else "welch"
    return Effect(mean=mean, low=float(low), high=float(high), method=method, seeds=seeds)

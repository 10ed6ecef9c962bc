"""A verdict on seeds that are added until it is decided, with the error rate of one that looks once.

Looking again is what breaks a fixed-sample test: each look is another chance to err. So looks are made at fixed
numbers of seeds alone, and each has a nominal level of its own, the t interval's one-sided error at that look, such
that a gap on the margin is called *closed* at any of them in at most 5 % of studies, and *open* in at most 5 %. This
is Pocock's significance-level approach to repeated t tests (S. J. Pocock, Biometrika 64 (1977), 191-199; C. Jennison
and B. W. Turnbull, *Group Sequential Methods with Applications to Clinical Trials* (2000), sections 4.4 and 4.5); the
intervals at the looks are their repeated confidence intervals (J. R. Statist. Soc. B 51 (1989), 305-361).

The levels depend on the number of seeds and on nothing else. Nobody has to say beforehand how many seeds there will
be at most, a look may be left out, and no earlier one has to be remembered: together the intervals are a confidence
sequence over :data:`LOOKS`. What this costs, and what was not taken: ``docs/statistics.md``.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

from workspace.gap.contrast import NO_SPREAD
from workspace.gap.effect import Effect, measure_effect
from workspace.gap.planning import POWER, ErrorWith, Further, power
from workspace.gap.verdict import Gap, check_question, measured

LOOKS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96)
"""Seeds an arm at which a verdict is looked at: steps of about a third of what there is."""

# The levels rise to the look at 8 seeds and then fall: few seeds decide little at any level, and a great number is
# seldom needed. At a height of 0.0128 the t statistic of a single varying arm, whose distribution is free of its
# spread, crosses at one of the looks in 5 % of studies, two arms that vary alike in 4.5 %, but two whose sds differ
# five times in 5.3 %, for there Welch's own error is above its level. With this height all stay at 5 % or below.
_HEIGHT = 0.0118
_PEAK = 8


def level(seeds: int) -> float:
    """One-sided level of the interval at a look, for so many seeds an arm."""
    return _HEIGHT * min(seeds / _PEAK, math.sqrt(_PEAK / seeds))


def measure_sequentially(
    baseline: Mapping[int, float], candidate: Mapping[int, float], margin: float, *, recipes: int = 1
) -> Gap:
    """Judge as `measure_gap` does, but so that the verdict may be looked at while seeds are added.

    The looks are gone through in order, each on the first seeds of both arms by number, and the first one that decides
    is the answer; seeds beyond it change nothing. Without one, the answer is the last look's, *undecided*. Then
    ``seeds_needed`` is the number of further seeds up to the first look that decides by itself with a chance of 80 %,
    ``None`` where none does or nothing is known of the spread.

    Args:
        baseline, candidate: AP in points (0 to 100) by seed.
        margin: AP points, above 0.
        recipes: as for `measure_gap`; each look's level is divided by it.

    Raises:
        UserError: as `measure_gap`.
    """
    check_question(baseline, candidate, margin)
    reached = [look for look in LOOKS if look <= min(len(baseline), len(candidate))]
    for look in reached or [1]:
        arms = _first(baseline, look), _first(candidate, look)
        gap = measured(*arms, margin, level(look) / recipes, _to_a_look_from(look, recipes))
        if gap.verdict != "undecided":
            break
    return replace(gap, sequential=True, recipes=recipes)


def measure_effect_sequentially(arms: Mapping[str, Mapping[int, float]], weights: Mapping[str, float]) -> Effect:
    """Contrast arms as `measure_effect` does, where verdicts on gaps between them decided how many seeds they have.

    An effect has no verdict that could end the looking; others end it, and not by chance alone: they saw the same
    arms. Since the intervals of all looks cover the truth together, so does the one at whichever look it ended. It is
    that of the last look which all arms have reached, on the first seeds of each by number.

    Args:
        arms, weights: as for `measure_effect`.

    Raises:
        UserError, KeyError: as `measure_effect`.
    """
    fewest = min(len(arms[name]) for name in weights)
    look = max((look for look in LOOKS if look <= fewest), default=1)
    first = {name: _first(arms[name], look) for name in weights}
    return replace(measure_effect(first, weights, level(look)), sequential=True)


def next_look(seeds: int) -> int | None:
    """The first look at more seeds than that; ``None`` after the last."""
    return next((look for look in LOOKS if look > seeds), None)


def _first(arm: Mapping[int, float], seeds: int) -> dict[int, float]:
    return {seed: arm[seed] for seed in sorted(arm)[:seeds]}


def _to_a_look_from(seeds: int, recipes: int) -> Further:
    def further(distance: float, error_with: ErrorWith) -> int | None:
        if distance <= NO_SPREAD:
            return None
        for look in LOOKS:
            if look > seeds and power(distance, *error_with(look - seeds), tail=level(look) / recipes) >= POWER:
                return look - seeds
        return None

    return further

"""Whether a candidate can still be called closed: when to train no further seed of it.

Stopping an arm that will hardly close spares its remaining runs and cannot make *closed* likelier, so it needs no
allowance in the error rate: a non-binding futility rule by conditional power (K. K. G. Lan, R. Simon and M. Halperin,
Communications in Statistics C 1 (1982), 207-219; J. M. Lachin, Statistics in Medicine 24 (2005), 2747-2764).
"""

import math
from collections.abc import Mapping

import numpy as np
from scipy.special import stdtr, stdtrit

from workspace.gap.contrast import NO_SPREAD, TAIL
from workspace.gap.sequential import level
from workspace.gap.verdict import check_question, values_of

FUTILE = 0.1
"""A chance of closing below which no further seed is trained."""


def chance_of_closing(
    baseline: Mapping[int, float],
    candidate: Mapping[int, float],
    margin: float,
    *,
    seeds: int,
    recipes: int = 1,
    sequential: bool = False,
) -> float:
    """Chance (0 to 1) that the candidate is *closed* at so many seeds, if those to come lose nothing.

    The seeds to come are drawn around the baseline's mean, with the spread that both arms share so far, as normal
    values of which mean and spread are known from these runs alone: Student's t. The favourable assumption is
    deliberate; a candidate that is given up fails even so.

    Args:
        baseline: AP in points by seed, two seeds at least.
        candidate: the same, of the first seeds.
        margin: AP points, above 0.
        seeds: of the candidate when the verdict is given.
        recipes, sequential: as the verdict will have them.

    Returns:
        1 where no spread is known yet: nothing can be said then. 0 or 1 once all seeds are there.

    Raises:
        UserError: as `workspace.gap.measure_gap`.
    """
    check_question(baseline, candidate, margin)
    arms = [values_of(arm, sorted(arm)) for arm in (baseline, candidate)]
    df = sum(len(arm) - 1 for arm in arms)
    spread = math.sqrt(sum(float(((arm - arm.mean()) ** 2).sum()) for arm in arms) / df) if df else 0.0
    if spread <= NO_SPREAD:
        return 1.0
    tail = (level(seeds) if sequential else TAIL) / recipes
    final_df = len(baseline) + seeds - 2
    half = float(stdtrit(final_df, 1 - tail)) * spread * math.sqrt(1 / len(baseline) + 1 / seeds)
    lost = float(np.sum(arms[1] - arms[0].mean()))  # over the seeds there are
    to_come = seeds - len(candidate)
    if to_come <= 0:
        return float(lost / len(candidate) - half > -margin)
    needed = (seeds * (half - margin) - lost) / to_come  # of the mean of those to come, less the baseline's
    return float(stdtr(df, -needed / (spread * math.sqrt(1 / to_come + 1 / len(baseline)))))

"""How often an interval of an effect of four arms lies above the truth, in drawn studies: for the calibration."""

from collections.abc import Sequence

import numpy as np

from workspace.gap import LOOKS
from workspace.gap.contrast import contrast
from workspace.gap.sequential import level

MAIN_EFFECT = (-0.5, -0.5, 0.5, 0.5)
INTERACTION = (1.0, -1.0, -1.0, 1.0)


def main_effect(sds: tuple[float, ...], correlation: float, seeds: int, within: str, studies: int) -> float:
    """Share of studies whose interval lies above a main effect of zero.

    Args:
        within: ``all`` arms share a part of their luck with a seed, or those of one ``sign`` of weight do.
    """
    rng = np.random.default_rng(0)
    luck = rng.standard_normal((2, studies, seeds))
    arms = [
        sd
        * (
            np.sqrt(correlation) * luck[int(within == "sign" and weight > 0)]
            + np.sqrt(1 - correlation) * rng.standard_normal((studies, seeds))
        )
        for sd, weight in zip(sds, MAIN_EFFECT, strict=True)
    ]
    low, _ = contrast(arms, MAIN_EFFECT, same_seeds=True).interval()
    return float((low > 0).mean())


def effect_over_looks(weights: Sequence[float], sds: Sequence[float], correlation: float, studies: int) -> list[float]:
    """By look, the share of studies whose interval at it or before lies above an effect of zero.

    Args:
        correlation: all arms share that part of their luck with a seed.
    """
    rng = np.random.default_rng(0)
    luck = rng.standard_normal((studies, LOOKS[-1]))
    own = rng.standard_normal((len(sds), studies, LOOKS[-1]))
    arms = [sd * (np.sqrt(correlation) * luck + np.sqrt(1 - correlation) * of) for sd, of in zip(sds, own, strict=True)]
    missed, shares = np.zeros(studies, bool), []
    for look in LOOKS:
        missed |= contrast([arm[:, :look] for arm in arms], weights, same_seeds=True).interval(level(look))[0] > 0
        shares.append(float(missed.mean()))
    return shares

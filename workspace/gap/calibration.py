"""How often the verdict rule says what, in simulated studies of which the truth is known."""

from dataclasses import dataclass

import numpy as np

from workspace.gap.contrast import BASELINE_TO_CANDIDATE, contrast
from workspace.gap.verdict import judge


@dataclass(frozen=True)
class Rates:
    """Shares (0 to 1) of simulated studies: each verdict's, and that of studies judged by pairs."""

    closed: float
    open: float
    undecided: float
    paired: float


def verdict_rates(
    *,
    gap: float,
    margin: float,
    sds: tuple[float, float],
    seeds: int,
    correlation: float,
    studies: int,
    rng: np.random.Generator,
    resolution: float | None = None,
) -> Rates:
    """Judge ``studies`` drawn studies and count the verdicts.

    Args:
        gap: true candidate minus baseline, AP points.
        margin: AP points.
        sds: standard deviation over seeds of baseline and candidate, AP points; normal.
        seeds: an arm, the same in both, at least 2.
        correlation: of the arms' AP at equal seeds, -1 to 1.
        studies: how many to draw.
        rng: source of all randomness.
        resolution: AP values are rounded to multiples of it, as MMDetection's are to 0.1; ``None`` for no rounding.
    """
    baseline = rng.standard_normal((studies, seeds))
    candidate = correlation * baseline + np.sqrt(1 - correlation**2) * rng.standard_normal((studies, seeds))
    baseline, candidate = 50 + sds[0] * baseline, 50 + gap + sds[1] * candidate
    if resolution is not None:
        between = rng.uniform(0, resolution, (studies, 1))  # where the true AP lies between two representable ones
        baseline, candidate = (np.round((arm + between) / resolution) * resolution for arm in (baseline, candidate))
    found = contrast((baseline, candidate), BASELINE_TO_CANDIDATE, same_seeds=True)
    verdicts = judge(*found.interval(), margin)
    shares = {verdict: float((verdicts == verdict).mean()) for verdict in ("closed", "open", "undecided")}
    return Rates(**shares, paired=float(found.paired.mean()))

"""How many further seeds would decide a gap."""

from collections.abc import Callable

from scipy.special import nctdtr, stdtrit

from workspace.gap.contrast import NO_SPREAD, TAIL

ErrorWith = Callable[[int], tuple[float, float]]
"""Standard error, in AP points, and degrees of freedom of a study with that many further seeds an arm."""

Further = Callable[[float, ErrorWith], int | None]
"""Further seeds that decide, given the gap's distance from the margin in AP points; see :func:`further_seeds`."""

POWER = 0.8
_AS_GOOD_AS_NEVER = 100_000  # seeds an arm


def power(distance: float, error: float, df: float, tail: float = TAIL) -> float:
    """Chance of a decided verdict when the true gap lies ``distance`` AP points from the margin, on either side.

    The noncentral t distribution's upper tail beyond the central one's quantile at ``1 - tail``, 95 % unless said
    otherwise; ``error`` is the standard error of the difference of means, in AP points. The degrees of freedom are
    taken as known: below four seeds an arm, where Welch's estimate of them varies most, the true chance is up to 6
    points lower.
    """
    return float(1 - nctdtr(df, distance / error, stdtrit(df, 1 - tail)))


def further_seeds(distance: float, error_with: ErrorWith, tail: float = TAIL) -> int | None:
    """The least number of further seeds an arm at which :func:`power` reaches 80 %.

    Args:
        distance: of the observed gap from the margin, in AP points, not negative.
        error_with: standard error and degrees of freedom of a study with that many further seeds an arm.
        tail: one-sided level of the interval that decides.

    Returns:
        At least 1; ``None`` for a gap on the margin, or so near it that not even 100,000 seeds can be expected to
        decide.
    """
    if distance <= NO_SPREAD:
        return None
    enough = 1
    while power(distance, *error_with(enough), tail=tail) < POWER:
        enough *= 2
        if enough > _AS_GOOD_AS_NEVER:
            return None
    too_few = enough // 2  # 0 is too few for an undecided gap: there the chance is below about a half
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        if power(distance, *error_with(middle), tail=tail) < POWER:
            too_few = middle
        else:
            enough = middle
    return enough

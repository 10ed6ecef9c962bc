"""`measure_gap`: from the AP of two arms, seed by seed, to a gap with its interval and verdict."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from workspace.errors import UserError
from workspace.gap.contrast import (
    BASELINE_TO_CANDIDATE,
    TAIL,
    Contrast,
    Floats,
    contrast,
    correlation,
    welch_error,
)
from workspace.gap.planning import Further, further_seeds

Verdict = Literal["closed", "open", "undecided"]


@dataclass(frozen=True, kw_only=True)
class Gap:
    """What two arms say about the AP that the candidate loses, in AP points.

    Attributes:
        mean: candidate minus baseline; negative when the candidate loses.
        low: lower end of the 90 % interval (a one-sided 95 % bound); ``None`` with method ``none``.
        high: its upper end.
        margin: the largest loss that still counts as none, stated beforehand.
        verdict: ``closed`` when ``low > -margin``, ``open`` when ``high < -margin``, else ``undecided``.
        seeds_needed: further seeds an arm that would decide it: a study of that many more an arm, whose true gap and
            spread were the ones observed here, is decided with a chance of 80 %. 0 when decided. With one seed in an
            arm it is 1, a lower bound: one seed shows no spread, and with two an interval exists, however wide.
            ``None`` where no number can be given: the gap lies on the margin, too close for any number of seeds to
            tell, or no arm shows any spread.
        probability: that the candidate's mean is at least the baseline's less the margin, given these seeds and no
            other knowledge (flat prior); then it equals ``1 - p_value``.
        p_value: of the one-sided non-inferiority test; below 0.05, over ``recipes``, exactly when the verdict is
            ``closed``.
        method: ``welch``, ``paired``, or ``none``: one seed in an arm, or no spread in either.
        baseline_seeds: runs in the baseline's mean.
        candidate_seeds: runs in the candidate's mean.
        correlation: Pearson's, over the seeds that both arms ran; ``None`` below three, or for an arm without spread.
        sequential: whether the interval allows for looks at fewer seeds and more, by
            `workspace.gap.measure_sequentially`; ``p_value`` is then that of this look alone, and *closed* when it is
            below the look's level.
        recipes: that are judged on these seeds at most, until one is closed; the interval allows for all of them.
    """

    mean: float
    low: float | None
    high: float | None
    margin: float
    verdict: Verdict
    seeds_needed: int | None
    probability: float | None
    p_value: float | None
    method: Literal["welch", "paired", "none"]
    baseline_seeds: int
    candidate_seeds: int
    correlation: float | None
    sequential: bool = False
    recipes: int = 1


def measure_gap(
    baseline: Mapping[int, float], candidate: Mapping[int, float], margin: float, *, recipes: int = 1
) -> Gap:
    """Judge the candidate against the baseline at a margin.

    The interval is Welch's. It is the paired t's where both arms ran the same five seeds or more and their correlation
    over these is positive at a level of 0.5 %; ``docs/statistics.md`` shows what that rule costs in error rate.

    Two seeds or more that all gave the same AP in both arms show no spread, and no interval follows from none: the
    verdict is ``undecided``, with ``seeds_needed`` unknown. One arm may be constant (a run that always diverges to 0).

    Args:
        baseline: AP in points (0 to 100) by seed.
        candidate: the same.
        margin: AP points, above 0.
        recipes: candidates that are judged against this baseline at most, until one is *closed*. Each end of the
            interval has that part of its error (Bonferroni), so that any of them is wrongly *closed* in 5 % of studies.

    Raises:
        UserError: for a margin that is not above 0, an arm without runs, or an AP that is not within 0 to 100.
    """
    check_question(baseline, candidate, margin)
    tail = TAIL / recipes
    gap = measured(baseline, candidate, margin, tail, partial(further_seeds, tail=tail))
    return replace(gap, recipes=recipes)


def measured(
    baseline: Mapping[int, float], candidate: Mapping[int, float], margin: float, tail: float, further: Further
) -> Gap:
    """The gap of arms that have been checked, each end of its interval at level ``tail``.

    Args:
        further: the number of further seeds for an undecided one; called as `workspace.gap.planning.further_seeds`.
    """
    same_seeds = baseline.keys() == candidate.keys()
    arms = values_of(baseline, sorted(baseline)), values_of(candidate, sorted(candidate))
    if min(len(baseline), len(candidate)) < 2:
        return _without_interval(arms, margin, seeds_needed=1, correlated=_correlation(baseline, candidate))
    found = contrast(arms, BASELINE_TO_CANDIDATE, same_seeds=same_seeds)
    if math.isnan(found.error):
        return _without_interval(arms, margin, seeds_needed=None, correlated=None)
    low, high = found.interval(tail)
    p_value = float(found.p_value(margin))
    verdict = cast(Verdict, str(judge(low, high, margin)))
    return Gap(
        mean=float(found.mean),
        low=float(low),
        high=float(high),
        margin=margin,
        verdict=verdict,
        seeds_needed=_further_seeds(found, arms, margin, further) if verdict == "undecided" else 0,
        probability=1 - p_value,
        p_value=p_value,
        method="paired" if found.paired else "welch",
        baseline_seeds=len(baseline),
        candidate_seeds=len(candidate),
        correlation=_correlation(baseline, candidate),
    )


def judge(low: Floats, high: Floats, margin: float) -> NDArray[np.str_]:
    """The verdict rule, elementwise; an interval of nan decides nothing."""
    return np.where(low > -margin, "closed", np.where(high < -margin, "open", "undecided"))


def _without_interval(
    arms: tuple[Floats, Floats], margin: float, seeds_needed: int | None, correlated: float | None
) -> Gap:
    baseline, candidate = arms
    return Gap(
        mean=float(candidate.mean() - baseline.mean()),
        low=None,
        high=None,
        margin=margin,
        verdict="undecided",
        seeds_needed=seeds_needed,
        probability=None,
        p_value=None,
        method="none",
        baseline_seeds=len(baseline),
        candidate_seeds=len(candidate),
        correlation=correlated,
    )


def _further_seeds(found: Contrast, arms: tuple[Floats, Floats], margin: float, further_seeds: Further) -> int | None:
    baseline, candidate = arms

    def error_with(further: int) -> tuple[float, float]:
        if found.paired:
            pairs = len(baseline)
            return float(found.error) * math.sqrt(pairs / (pairs + further)), pairs + further - 1
        seeds = [len(baseline) + further, len(candidate) + further]
        error, df = welch_error([baseline.var(ddof=1), candidate.var(ddof=1)], seeds, BASELINE_TO_CANDIDATE)
        return float(error), float(df)

    return further_seeds(abs(float(found.mean) + margin), error_with)


def _correlation(baseline: Mapping[int, float], candidate: Mapping[int, float]) -> float | None:
    shared = sorted(baseline.keys() & candidate.keys())
    if len(shared) < 3:  # two points always lie on a line
        return None
    r = float(correlation(values_of(baseline, shared), values_of(candidate, shared)))
    return None if math.isnan(r) else r


def values_of(arm: Mapping[int, float], seeds: Iterable[int]) -> Floats:
    """The arm's AP in that order of seeds."""
    return np.array([arm[seed] for seed in seeds], dtype=np.float64)


def check_question(baseline: Mapping[int, float], candidate: Mapping[int, float], margin: float) -> None:
    """`UserError` for a margin that is not above 0, or an arm that cannot be judged."""
    if not (math.isfinite(margin) and margin > 0):
        raise UserError(f"margin: {margin} is no loss in AP points above 0; give one, such as 0.2")
    check_arm("baseline", baseline)
    check_arm("candidate", candidate)


def check_arm(name: str, arm: Mapping[int, float]) -> None:
    """`UserError` for an arm without runs, or an AP that is no number of points."""
    if not arm:
        raise UserError(f"the {name} arm has no finished run: run at least one seed of it")
    for seed, ap in arm.items():
        if not 0 <= ap <= 100:  # nan too: COCO's -1 for "no such object" arrives as -100
            raise UserError(
                f"AP of the {name} arm's seed {seed} is {ap}, not a number of points from 0 to 100: "
                "look at that run, or leave the seed out"
            )

"""How often the verdict rule says what, in simulated studies of which the truth is known."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workspace.gap.contrast import BASELINE_TO_CANDIDATE, TAIL, Contrast, Floats, contrast, welch_error
from workspace.gap.sequential import LOOKS, level
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
    baseline, candidate = _drawn(gap, sds, correlation, (studies, seeds), rng)
    if resolution is not None:
        between = rng.uniform(0, resolution, (studies, 1))  # where the true AP lies between two representable ones
        baseline, candidate = (np.round((arm + between) / resolution) * resolution for arm in (baseline, candidate))
    found = contrast((baseline, candidate), BASELINE_TO_CANDIDATE, same_seeds=True)
    verdicts = judge(*found.interval(), margin)
    shares = {verdict: float((verdicts == verdict).mean()) for verdict in ("closed", "open", "undecided")}
    return Rates(**shares, paired=float(found.paired.mean()))


@dataclass(frozen=True)
class SequentialRates:
    """Of simulated studies whose seeds were added until they were decided.

    Attributes:
        closed, open: shares (0 to 1) by look: decided so at it, or before.
        seeds: an arm that a study took, its mean over all of them.
    """

    closed: dict[int, float]
    open: dict[int, float]
    seeds: float


def sequential_rates(
    *,
    gap: float,
    margin: float,
    sds: tuple[float, float],
    correlation: float,
    most: int,
    studies: int,
    rng: np.random.Generator,
) -> SequentialRates:
    """Judge drawn studies as `workspace.gap.measure_sequentially` does, look by look.

    Args:
        most: seeds an arm, at which an undecided study ends; one of ``LOOKS``. The others are as for `verdict_rates`.
    """
    baseline, candidate = _drawn(gap, sds, correlation, (studies, most), rng)
    seeds = np.zeros(studies)
    waiting = np.ones(studies, dtype=np.bool_)
    closed, opened = {}, {}
    for look, verdicts in _look_by_look(baseline, candidate, margin):
        seeds[waiting] = look
        waiting = verdicts == "undecided"
        closed[look], opened[look] = float((verdicts == "closed").mean()), float((verdicts == "open").mean())
    return SequentialRates(closed, opened, float(seeds.mean()))


@dataclass(frozen=True)
class SearchedRates:
    """Shares (0 to 1) of simulated searches whose winner, which loses the margin or more, is called *closed*.

    Attributes:
        by_value: by its AP in the search, one seed, against that of one run of the baseline.
        by_its_seeds: by the verdict's interval over the seeds that it was chosen on.
        by_fresh_seeds: by the verdict, on seeds that the search has not seen.
        sequentially: by the sequential verdict, on such seeds, up to the last look.
    """

    by_value: float
    by_its_seeds: float
    by_fresh_seeds: float
    sequentially: float


def searched_rates(
    *,
    trials: int,
    margin: float,
    sd: float,
    recipes_sd: float,
    split_sd: float,
    seeds: int,
    studies: int,
    rng: np.random.Generator,
) -> SearchedRates:
    """Search for the best of many recipes that are all beyond the margin, and judge the winner.

    Args:
        trials: recipes a search; their true gaps lie below ``-margin`` by the absolute values of normal draws.
        sd: over seeds, of every recipe, AP points.
        recipes_sd: of those draws; 0 puts all recipes on the margin.
        split_sd: of what a recipe scores on the search's pictures beyond what it does on the verdict's.
        seeds: of a trial where it is judged by its own seeds, and of the verdict.
    """
    gaps = -margin - np.abs(recipes_sd * rng.standard_normal((studies, trials)))
    on_split = gaps + split_sd * rng.standard_normal((studies, trials))
    each = np.arange(studies)

    single = on_split + sd * rng.standard_normal((studies, trials))
    by_value = single.max(1) - sd * rng.standard_normal(studies) > -margin

    means = on_split + sd / np.sqrt(seeds) * rng.standard_normal((studies, trials))
    chosen = means.argmax(1)
    variances = [sd**2 * rng.chisquare(seeds - 1, studies) / (seeds - 1) for _ in range(2)]
    error, df = welch_error(variances, [seeds, seeds], BASELINE_TO_CANDIDATE)
    baseline_means = sd / np.sqrt(seeds) * rng.standard_normal(studies)
    low, _ = Contrast(means[each, chosen] - baseline_means, error, df, np.zeros(studies, bool)).interval()

    true = gaps[each, single.argmax(1)][:, None]
    baseline, candidate = sd * rng.standard_normal((2, studies, LOOKS[-1]))
    candidate = true + candidate
    fresh = contrast((baseline[:, :seeds], candidate[:, :seeds]), BASELINE_TO_CANDIDATE, same_seeds=True)
    *_, (_, verdicts) = _look_by_look(baseline, candidate, margin)
    return SearchedRates(
        by_value=float(by_value.mean()),
        by_its_seeds=float((low > -margin).mean()),
        by_fresh_seeds=float((fresh.interval()[0] > -margin).mean()),
        sequentially=float((verdicts == "closed").mean()),
    )


@dataclass(frozen=True)
class ProposedRates:
    """Shares (0 to 1) of simulated studies in which a proposed recipe is judged, and then a tuned one if need be.

    Attributes:
        proposed: the proposed recipe is *closed*.
        either: one of the two is.
        sequentially: one of the two is, where seeds are added up to the last look.
        without_allowance: one of the two is, if each is judged as if it were the only one.
    """

    proposed: float
    either: float
    sequentially: float
    without_allowance: float


def proposed_rates(
    *,
    gaps: tuple[float, float],
    margin: float,
    sd: float,
    correlation: float,
    seeds: int,
    studies: int,
    rng: np.random.Generator,
) -> ProposedRates:
    """Judge a proposed recipe against a baseline and, where it is not *closed*, a tuned one against the same runs.

    No recipe is given up before its verdict, which could only make *closed* rarer.

    Args:
        gaps: true ones of the proposed and of the tuned recipe, AP points.
        sd: over seeds, of all three arms; the others are as for `verdict_rates`.
    """
    baseline, *candidates = _drawn_arms(gaps, (sd, sd, sd), correlation, (studies, LOOKS[-1]), rng)
    few = [
        contrast((baseline[:, :seeds], arm[:, :seeds]), BASELINE_TO_CANDIDATE, same_seeds=True) for arm in candidates
    ]
    closed = [[found.interval(TAIL / recipes)[0] > -margin for found in few] for recipes in (1, 2)]
    added = []
    for arm in candidates:
        *_, (_, verdicts) = _look_by_look(baseline, arm, margin, recipes=2)
        added.append(verdicts == "closed")
    return ProposedRates(
        proposed=float(closed[1][0].mean()),
        either=float(np.logical_or(*closed[1]).mean()),
        sequentially=float(np.logical_or(*added).mean()),
        without_allowance=float(np.logical_or(*closed[0]).mean()),
    )


def _look_by_look(
    baseline: Floats, candidate: Floats, margin: float, *, recipes: int = 1
) -> Iterator[tuple[int, NDArray[np.str_]]]:
    """Each look at arms of (studies, seeds), with every study's verdict by then: the first one that decided."""
    verdicts = np.full(len(baseline), "undecided")
    for look in LOOKS:
        if look <= baseline.shape[1]:
            found = contrast((baseline[:, :look], candidate[:, :look]), BASELINE_TO_CANDIDATE, same_seeds=True)
            verdicts = np.where(
                verdicts == "undecided", judge(*found.interval(level(look) / recipes), margin), verdicts
            )
            yield look, verdicts


def _drawn(
    gap: float, sds: tuple[float, float], correlation: float, shape: tuple[int, int], rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """AP of baseline and candidate, (studies, seeds)."""
    baseline, candidate = _drawn_arms((gap,), sds, correlation, shape, rng)
    return baseline, candidate


def _drawn_arms(
    gaps: Sequence[float],
    sds: Sequence[float],
    correlation: float,
    shape: tuple[int, int],
    rng: np.random.Generator,
) -> list[Floats]:
    """The same of a baseline and several candidates, each of that correlation with it."""
    luck = rng.standard_normal(shape)
    arms = [50 + sds[0] * luck]
    for gap, sd in zip(gaps, sds[1:], strict=True):
        own = correlation * luck + np.sqrt(1 - correlation**2) * rng.standard_normal(shape)
        arms.append(50 + gap + sd * own)
    return arms

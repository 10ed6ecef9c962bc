"""What a diagnosed search does next, and which of its recipes it takes: pure decisions on what was measured so far.

Optuna proposes recipes and stops the bad ones among them. What it leaves open is decided here: when enough was tried,
which recipes are worth a second seed, and how AP is weighed against the speed of FP16. Nothing is trained and nothing
stored, so an orchestrator and a replay of recorded runs are driven by the same code, and after a restart the same
results lead to the same decisions.
"""

import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

REFERENCE = -1
"""In place of a trial's number: the baseline's recipe, trained for the search."""

_SPENT = 0.5
"""Share of the margin that a choice may give away; the other half is left to the verdict's noise."""

_SHARE_STEP = 0.05
"""Shares of operations in half that differ by less are one: they save no time that a user would see."""

_RACE = ((2, 4), (3, 2))
"""Seeds that the first so many contenders have before one is chosen: half as many go on with one seed more."""


@dataclass(frozen=True)
class Point:
    """A recipe that was trained to its end.

    Attributes:
        number: of its trial.
        in_half: share (0 to 1) of its operations that are computed in half.
        values: AP in points on the search split, by seed of the search.
    """

    number: int
    in_half: float
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)


@dataclass(frozen=True)
class FurtherSeed:
    """One more seed of a trial's recipe, or of the ``REFERENCE``."""

    number: int


Step = FurtherSeed | Literal["trial", "wait", "stop"]


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How a search decides.

    Attributes:
        margin: AP points that count as none; see `workspace.experiment.Effort`.
        least_in_half: share of the operations that a recipe must keep in half to be worth having.
        seeds: of a recipe and of the reference before the search ends because the one comes near the other; where it
            is no worse at all, one seed is enough.
        further: runs that may be spent on further seeds, the reference's not counted.
    """

    margin: float
    least_in_half: float = 0.5
    seeds: int = 2
    further: int = 8

    def next_step(
        self,
        points: Sequence[Point],
        reference: Sequence[float],
        *,
        asked: int,
        trials: int,
        pending: Collection[int] = (),
    ) -> Step:
        """What to train next: a new trial, one more seed of a contender, or nothing.

        The reference comes first. A recipe that does no worse ends the search. One that loses less than the margin gets
        further seeds, and so does the reference; when their means agree to half the margin, that ends the search too.
        Whether it was that or the number of trials that ended the trying, recipes between which the choice lies get
        further seeds, the better half of them more (sequential halving: Z. Karnin et al., ICML 2013).

        Args:
            points: of the finished trials.
            reference: the baseline's AP by seed of the search.
            asked: trials that were begun, whatever became of them.
            trials: that the search may try.
            pending: what is being trained: trials, whether for the first time or with a further seed, and the
                reference.

        Returns:
            ``wait`` where it takes what is pending to know, ``stop`` where nothing is left to train.
        """
        if not reference and REFERENCE not in pending:
            return FurtherSeed(REFERENCE)
        is_reached = self.is_reached(points, reference)
        promising = [point for point in self._worthy(points) if self._is_near(point, reference, 1.0)]
        if promising and not is_reached:
            wanted = [point.number for point in promising if len(point.values) < self.seeds and self._affords(points)]
            wanted += [REFERENCE] * (len(reference) < self.seeds)
            if wanted:
                return _first(wanted, pending)
        if not is_reached and asked < trials:
            return "trial"
        if set(pending) - {point.number for point in points}:
            return "wait"
        for seeds, count in _RACE:
            contenders = self._contenders(points, count)
            short = [point.number for point in contenders if len(point.values) < seeds and self._affords(points)]
            if len(contenders) > 1 and short:
                return _first(short, pending)
        return "wait" if pending else "stop"

    def is_reached(self, points: Sequence[Point], reference: Sequence[float]) -> bool:
        """Whether a recipe does as well as the reference: the fewer seeds say so, the more strictly."""
        return any(
            self._is_near(point, reference, _SPENT if min(len(point.values), len(reference)) >= self.seeds else 0.0)
            for point in self._worthy(points)
        )

    def chosen(self, points: Sequence[Point]) -> Point | None:
        """The recipe with the most operations in half whose AP is near the best one's; of equals the one of highest AP.

        Near is half a margin. Recipes below ``least_in_half`` are no candidates, however good. ``None`` where there is
        no other.
        """
        near = self._near_best(points, _SPENT)
        return min(near, key=_cheapest_first) if near else None

    def _contenders(self, points: Sequence[Point], count: int) -> list[Point]:
        """The first so many that may yet be chosen, the cheapest first, and the best one in any case."""
        near = sorted(self._near_best(points, 1.0), key=_cheapest_first)
        best = max(near, key=lambda point: (point.mean, -point.number), default=None)
        return [point for index, point in enumerate(near) if index < count or point is best]

    def _near_best(self, points: Sequence[Point], share: float) -> list[Point]:
        worthy = self._worthy(points)
        best = max((point.mean for point in worthy), default=0.0)
        return [point for point in worthy if point.mean >= best - share * self.margin]

    def _worthy(self, points: Sequence[Point]) -> list[Point]:
        in_order = sorted(points, key=lambda point: point.number)
        return [point for point in in_order if point.in_half >= self.least_in_half]

    def _is_near(self, point: Point, reference: Sequence[float], share: float) -> bool:
        return bool(reference) and point.mean >= statistics.fmean(reference) - share * self.margin

    def _affords(self, points: Sequence[Point]) -> bool:
        return sum(len(point.values) - 1 for point in points) < self.further


def front(points: Sequence[Point]) -> list[Point]:
    """The points that no other one beats in AP without having fewer operations in half; the cheapest first."""
    best_first = sorted(points, key=lambda point: (-point.in_half, -point.mean, point.number))
    kept: list[Point] = []
    for point in best_first:
        if not kept or point.mean > kept[-1].mean:
            kept.append(point)
    return kept


def _cheapest_first(point: Point) -> tuple[int, float, int]:
    return -round(point.in_half / _SHARE_STEP), -point.mean, point.number


def _first(wanted: Sequence[int], pending: Collection[int]) -> Step:
    """The first one that is not being trained already."""
    return next((FurtherSeed(number) for number in wanted if number not in pending), "wait")

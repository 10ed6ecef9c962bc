"""How far a gap could have come out otherwise on other pictures, the runs being the same: a bootstrap over pictures.

The interval over seeds holds the pictures fixed, this one the runs. Both arms are scored on the same resampled
pictures, so that what makes a picture easy or hard for either cancels. No verdict is taken from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

from workspace.errors import UserError
from workspace.gap.contrast import TAIL
from workspace.matches import Matches

_WORK = 20_000_000
"""Detections that all resamples together go through, so that a report takes seconds."""

_RESAMPLES = range(200, 501)


@dataclass(frozen=True, kw_only=True)
class PictureInterval:
    """The gap over resampled pictures, in AP points.

    Attributes:
        low, high: ends of the 90 % percentile interval.
        pictures: that were resampled.
        resamples: how many sets of as many pictures were drawn.
    """

    low: float
    high: float
    pictures: int
    resamples: int


def bootstrap_pictures(baseline: Sequence[Matches], candidate: Sequence[Matches]) -> PictureInterval:
    """Resamples the pictures with replacement, all runs on the same ones.

    The bootstrap is B. Efron's, Annals of Statistics 7 (1979), 1-26; the ends are its percentiles. The gap of a
    resample is the candidate's mean AP over its runs less the baseline's. The draws are the same for the same number
    of pictures: the answer is one of the arms alone.

    Args:
        baseline, candidate: of each run, at least one an arm.

    Raises:
        UserError: the runs were not evaluated on the same pictures.
    """
    runs = [*baseline, *candidate]
    pictures = len(runs[0].pictures)
    if any(not np.array_equal(run.pictures, runs[0].pictures) for run in runs):
        raise UserError("the runs were not evaluated on the same pictures: their matches.npz do not belong together")
    resamples = min(max(_WORK // max(1, sum(len(run.scores) for run in runs)), _RESAMPLES[0]), _RESAMPLES[-1])

    def gap(drawn: NDArray[np.int64], axis: int) -> NDArray[np.float64]:
        """Of each resample; ``drawn`` are pictures' indices, (resamples, pictures)."""
        assert axis in (-1, drawn.ndim - 1)
        first = pictures * np.arange(len(drawn))[:, None]
        counts = np.bincount((first + drawn).ravel(), minlength=drawn.size).reshape(drawn.shape)
        means = [np.mean([run.mean_average_precisions(counts) for run in arm], axis=0) for arm in (baseline, candidate)]
        found: NDArray[np.float64] = means[1] - means[0]
        return found

    found = bootstrap(
        (np.arange(pictures),),
        gap,
        n_resamples=resamples,
        confidence_level=1 - 2 * TAIL,
        method="percentile",
        vectorized=True,
        rng=np.random.default_rng(0),
    ).confidence_interval
    return PictureInterval(low=float(found.low), high=float(found.high), pictures=pictures, resamples=resamples)

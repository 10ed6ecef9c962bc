"""What a replayed search spent, and how methods compare in it: expected running times and their ratios."""

from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from recorded_runs import Cause
from search_methods import Closed, Method, Replay, diagnosed, plain_optuna, random_search, without_diagnosis

from workspace.search.strategy import Rules

RESAMPLES = 2000
Floats = NDArray[np.float64]
DIAGNOSED, RANDOM, OPTUNA, UNDIAGNOSED = "diagnosed", "random", "plain Optuna", "ours, undiagnosed"
METHODS: dict[str, Method] = {
    DIAGNOSED: diagnosed,
    UNDIAGNOSED: without_diagnosis,
    OPTUNA: plain_optuna,
    RANDOM: random_search,
}


@dataclass(frozen=True)
class Outcome:
    """One repetition of a method on a cause.

    Attributes:
        seconds: device-seconds until it closed, or all that it spent.
        judging: of these, for runs of the verdict.
        by: name of the recipe that closed it.
        unknown: recipes that looked closed and have no runs on the evaluation split.
    """

    cause: str
    method: str
    repetition: int
    seconds: float
    judging: float
    closed: bool
    by: str
    unknown: int


def repeat(cause: Cause, name: str, method: Method, rules: Rules, count: int) -> list[Outcome]:
    """So many repetitions, each with a seed of its own."""
    found = []
    for repetition in range(count):
        replay = Replay(cause, rules)
        with suppress(Closed):
            method(replay, repetition)
        by = replay.by or ""
        spent = replay.seconds, replay.judging
        found.append(Outcome(cause.name, name, repetition, *spent, bool(by), by, replay.unknown))
    return found


def expected_seconds(seconds: Floats, closed: Floats) -> Floats:
    """Device-seconds for each repetition that closed; where none did, what one has spent, a lower bound.

    Args:
        seconds: of each repetition, the last axis.
        closed: 1 for those that closed.
    """
    count = closed.sum(axis=-1)
    return np.asarray(seconds.sum(axis=-1) / np.where(count > 0, count, seconds.shape[-1]))


def by_cause(outcomes: pd.DataFrame, method: str) -> tuple[Floats, Floats]:
    """Seconds, and 1 for closed, of a method: causes by repetitions."""
    rows = outcomes[outcomes.method == method].sort_values(["cause", "repetition"])
    shape = rows.cause.nunique(), -1
    return rows.seconds.to_numpy(float).reshape(shape), rows.closed.to_numpy(float).reshape(shape)


def ratios(
    outcomes: pd.DataFrame, method: str, rng: np.random.Generator, against: str = DIAGNOSED
) -> dict[str, Floats]:
    """Expected seconds of a method over those of another one, each with a 95 % bootstrap interval.

    Returns:
        ``all``: of the sums over the causes, that is of closing every one of them in turn; ``typical``: the geometric
        mean of the causes' ratios. Causes are drawn with replacement, and repetitions within each. ``each``: of each
        cause, over its repetitions alone; a row for each. Value, lower and upper end.
    """
    arms = [by_cause(outcomes, name) for name in (method, against)]
    causes, repetitions = arms[0][0].shape
    drawn = rng.integers(0, repetitions, (len(arms), RESAMPLES, causes, repetitions))
    at = np.arange(causes)[:, None]
    found = [expected_seconds(*arm) for arm in arms]
    resampled = [
        expected_seconds(seconds[at, draw], closed[at, draw])
        for (seconds, closed), draw in zip(arms, drawn, strict=True)
    ]
    chosen = rng.integers(0, causes, (RESAMPLES, causes))
    several = [np.take_along_axis(arm, chosen, axis=1) for arm in resampled]

    def spread(value: Floats, samples: Floats) -> Floats:
        return np.stack([value, *np.quantile(samples, (0.025, 0.975), axis=0)], axis=-1)

    return {
        "all": spread(found[0].sum() / found[1].sum(), several[0].sum(axis=1) / several[1].sum(axis=1)),
        "typical": spread(
            np.exp(np.log(found[0] / found[1]).mean()), np.exp(np.log(several[0] / several[1]).mean(axis=1))
        ),
        "each": spread(found[0] / found[1], resampled[0] / resampled[1]),
    }

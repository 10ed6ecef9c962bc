"""TPE whose every trial is a function of the study's seed, the trial's number and the trials before it.

Optuna's samplers draw from one stream of random numbers, so what a trial gets depends on how many draws the process
has made, and a search that is started again goes another way. Here each trial has a stream of its own.
"""

import hashlib
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.search_space import IntersectionSearchSpace
from optuna.trial import FrozenTrial

RANDOM_TRIALS = 5  # settled trials before TPE takes over; Optuna's 10 would leave nothing of a small budget


class RestartableSampler(BaseSampler):
    """Optuna's multivariate TPE with the constant liar (J. Bergstra et al., NeurIPS 2011), seeded anew for each trial.

    The first trials are random, each parameter from a stream of its own, so that a trial that was cut off between two
    of its parameters gets the missing ones as if it had not been.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._tpe = self._tpe_of(0)
        # TPE's own is made anew with it, and looks at all trials for each; this one at each trial once.
        self._space = IntersectionSearchSpace(include_pruned=True)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self._tpe = self._tpe_of(trial.number)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        space = self._space.calculate(study, use_cache=True)  # as TPE does
        return {name: values for name, values in space.items() if not values.single()}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._tpe.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Called for what TPE leaves out: every parameter of the first trials, and none later."""
        random = RandomSampler(seed=_seed(self._seed, trial.number, param_name))
        return random.sample_independent(study, trial, param_name, param_distribution)

    def _tpe_of(self, number: int) -> TPESampler:
        return TPESampler(n_startup_trials=RANDOM_TRIALS, seed=_seed(self._seed, number))


def _seed(*parts: object) -> int:
    """32 bits, the same on every machine."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4], "big")

"""When a trial is stopped before its end: a rule of Optuna's, and whether AP on the way is worth listening to."""

from collections.abc import Iterable

import optuna
from optuna.pruners import BasePruner, PercentilePruner
from optuna.trial import FrozenTrial, TrialState

from workspace.search.ranks import Ranks, rank_agreement


def percentile_pruner(prune_from: int) -> BasePruner:
    """Stops a trial whose best report so far is worse than three quarters of the finished trials were at that step.

    Not the median: before the learning rate has decayed AP ranks recipes badly, and finished trials are survivors, so
    each comparison is harder than it looks. What is stopped are the recipes that FP16 broke.
    """
    return PercentilePruner(75.0, n_startup_trials=4, n_warmup_steps=prune_from, n_min_trials=4)


def ranks_at(trials: Iterable[FrozenTrial], step: int) -> Ranks | None:
    """How well AP at that step ranks finished trials as their final AP does; ``None`` where it cannot be told."""
    values = ((trial.intermediate_values.get(step), trial.value) for trial in trials)
    return rank_agreement((early, final) for early, final in values if early is not None and final is not None)


class RankedPruner(BasePruner):
    """Another pruner's word, taken only at steps at which AP ranks the finished trials as their final AP does.

    A run's first part is the cheapest fidelity there is: what is not stopped goes on from where it is, and nothing is
    trained twice. Whether it tells anything is measured on the search's own trials, not assumed.
    """

    def __init__(self, pruner: BasePruner) -> None:
        self._pruner = pruner

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        step = trial.last_step
        if step is None:
            return False
        ranks = ranks_at(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)), step)
        return ranks is not None and ranks.agree and self._pruner.prune(study, trial)

"""When a trial is stopped before its end: a rule of Optuna's, and whether AP on the way is worth listening to."""

import copy
from collections.abc import Iterable, Sequence

import optuna
from optuna.pruners import BasePruner, PercentilePruner
from optuna.trial import FrozenTrial, TrialState

from workspace.search.fidelity import CHEAP, Selection
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


class PromotingPruner(BasePruner):
    """Another pruner for runs in full, and before them a rule for whether a trial's cheap run is followed by one.

    It is not where AP of the cheap run is below the median of the finished trials', and only where cheap runs rank
    these as their full runs do. The full run is then judged by its own reports: with a schedule of its own, AP of the
    cheap run is no earlier point of the same curve.
    """

    def __init__(self, full: BasePruner) -> None:
        self._full = full
        self._cheap = RankedPruner(PercentilePruner(50.0, n_startup_trials=4, n_min_trials=4))

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        if trial.last_step == CHEAP:
            return self._cheap.prune(study, trial)
        trial = copy.copy(trial)
        trial.intermediate_values = {step: ap for step, ap in trial.intermediate_values.items() if step != CHEAP}
        return self._full.prune(study, trial)


def study_pruner(prune_from: int, *, ranked: bool, has_cheap_runs: bool) -> BasePruner:
    """As `workspace.search.Study` is asked for it."""
    pruner = percentile_pruner(prune_from)
    if ranked:
        pruner = RankedPruner(pruner)
    return PromotingPruner(pruner) if has_cheap_runs else pruner


def selection(trials: Sequence[FrozenTrial], fidelity: str) -> Selection:
    """What these trials of a study say of their cheap runs, which were of that fidelity."""
    cheap = [trial for trial in trials if CHEAP in trial.intermediate_values]
    both = [trial for trial in cheap if trial.state == TrialState.COMPLETE]
    alone = [trial for trial in cheap if trial.state == TrialState.PRUNED and trial.last_step == CHEAP]
    return Selection(fidelity=fidelity, trials=len(both), ranks=ranks_at(both, CHEAP), not_promoted=len(alone))

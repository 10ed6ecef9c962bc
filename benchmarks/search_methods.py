"""The searches that ``search_efficiency.py`` compares, replayed in recorded runs.

Every method pays for each run what it took, for a pruned one up to the evaluation at which it was pruned. A sampler's
point is moved to the nearest recipe of the pool that was not run yet, as in tabular benchmarks of hyperparameter
search (HPO-B: S. Pineda Arango et al., NeurIPS Datasets and Benchmarks 2021).
"""

import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import optuna
from optuna.pruners import BasePruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, GPSampler, QMCSampler, RandomSampler, TPESampler
from optuna.trial import TrialState
from recorded_runs import Cause, Recipe, distance, labels, mean_seconds, space_of

from workspace.gap import FUTILE, chance_of_closing, measure_gap
from workspace.search.pruning import RankedPruner, percentile_pruner
from workspace.search.sampler import RestartableSampler
from workspace.search.strategy import REFERENCE, FurtherSeed, Point, Rules

_PRUNE_FROM = 0.4  # of the epochs, as the orchestrator has it
_JUDGED = 2  # recipes that a diagnosed search may have judged: what is proposed first, and what was found


class Closed(Exception):  # noqa: N818  it is no error
    """A recipe was confirmed: the verdict on the evaluation split is *closed*."""


@dataclass
class Replay:
    """One repetition of one method on one cause.

    Attributes:
        seconds: device-seconds that it has spent; the FP32 arm's runs for the verdict were there before it began.
        judging: of these, for the verdict's runs of recipes that looked closed.
        by: name of the recipe that was confirmed.
        unknown: recipes that looked closed and lack runs on the evaluation split; counted as not closed, and paid.
    """

    cause: Cause
    rules: Rules
    seconds: float = 0.0
    judging: float = 0.0
    by: str | None = None
    unknown: int = 0
    tried: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)

    def train(
        self, recipe: Recipe, *, seed: int = 0, prunes: Callable[[int, float], bool] | None = None
    ) -> float | None:
        """AP of one run on the search split, in points; ``None`` when it was pruned."""
        self.tried.add(recipe.name)
        run = recipe.search[seed]
        last = max(run.curve)
        for epoch, ap in sorted(run.curve.items()):
            if prunes is not None and prunes(epoch, ap) and epoch < last:
                self.seconds += run.seconds * epoch / last
                return None
        self.seconds += run.seconds
        return run.ap

    def repeat(self, recipe: Recipe, known: Sequence[float]) -> float:
        """AP of the recipe's next seed on the search split; where none is recorded it is paid and tells nothing new."""
        if len(known) < len(recipe.search):
            ap = self.train(recipe, seed=len(known))
            assert ap is not None
            return ap
        self.seconds += mean_seconds(recipe.search)
        return statistics.fmean(known)

    def judge(self, recipe: Recipe, *, recipes: int = 1) -> None:
        """Trains the recipe on the verdict's seeds, once; raises `Closed` where that is the verdict.

        Seed follows seed, for every method, as long as closing is not improbable.

        Args:
            recipes: that the verdict allows for. A method that takes 1 and judges several errs more often than it says.
        """
        if recipe.name in self.refused:
            return
        self.refused.add(recipe.name)
        baseline = {run.seed: run.ap for run in self.cause.reference.judged}
        margin, seeds = self.rules.margin, len(baseline)
        found: dict[int, float] = {}
        while len(found) < seeds:
            if found and chance_of_closing(baseline, found, margin, seeds=seeds, recipes=recipes) < FUTILE:
                return
            if len(found) == len(recipe.judged):
                self.unknown += 1
                self._pay((seeds - len(found)) * mean_seconds(recipe.search))
                return
            run = recipe.judged[len(found)]
            self._pay(run.seconds)
            found[run.seed] = run.ap
        gap = measure_gap(baseline, found, margin, recipes=recipes)
        if gap.verdict == "closed" and recipe.in_half >= self.rules.least_in_half:
            self.by = recipe.name
            raise Closed

    def _pay(self, seconds: float) -> None:
        self.seconds += seconds
        self.judging += seconds

    def looks_closed(self, recipe: Recipe, ap: float, reference: Sequence[float]) -> bool:
        """Whether a recipe is worth the verdict's seeds: the strategy's own rule, on this AP alone."""
        rules = Rules(margin=self.rules.margin, least_in_half=self.rules.least_in_half, seeds=1)
        return rules.is_reached([Point(0, recipe.in_half, (ap,))], reference)


Method = Callable[[Replay, int], None]
"""Plays a repetition, given its seed; raises `Closed` when it is done."""


def random_search(replay: Replay, seed: int) -> None:
    """Recipes in random order, full-length; each that looks closed is judged at once."""
    reference = _reference(replay)
    for recipe in random.Random(seed).sample(replay.cause.pool, len(replay.cause.pool)):
        ap = replay.train(recipe)
        if ap is not None and replay.looks_closed(recipe, ap, reference):
            replay.judge(recipe)


def plain_optuna(replay: Replay, seed: int) -> None:
    """Optuna as it comes: TPE and the median pruner with their defaults, full-length trials."""
    _sampled(replay, _Sampled(replay.cause, TPESampler(seed=seed), MedianPruner()))


def undiagnosed(sampler: Callable[[int], BaseSampler], pruner: Callable[[int], BasePruner]) -> Method:
    """A search with the default recipe first and nothing else known.

    Args:
        sampler: of a seed.
        pruner: that stops no trial before an epoch.
    """

    def method(replay: Replay, seed: int) -> None:
        cause = replay.cause
        sampled = _Sampled(cause, sampler(seed), pruner(_first_pruned(cause)))
        _sampled(replay, sampled, first=[cause.default])

    return method


without_diagnosis = undiagnosed(RestartableSampler, percentile_pruner)
"""As a search of `workspace.search` is without a diagnosis."""


def diagnosed(replay: Replay, seed: int) -> None:
    """As the orchestrator does: what the diagnosis proposes first is judged at once, and only then is searched."""
    replay.seconds += replay.cause.seconds
    first, *others = _worthy(replay) or [None]
    if first is not None:
        replay.judge(first, recipes=_JUDGED)
    _begun(replay, seed, others)


def _searched_first(replay: Replay, seed: int) -> None:
    """Nothing is judged before the search has an answer."""
    replay.seconds += replay.cause.seconds
    _begun(replay, seed, _worthy(replay))


def _worthy(replay: Replay) -> list[Recipe]:
    return [known for known in replay.cause.proposals if known.in_half >= replay.rules.least_in_half]


def _begun(replay: Replay, seed: int, proposals: Sequence[Recipe]) -> None:
    """The search that a diagnosis begins, by the orchestrator's own rules."""
    cause, rules = replay.cause, replay.rules
    first = [*proposals, cause.default]
    pruner = RankedPruner(percentile_pruner(_first_pruned(cause)))
    sampled = _Sampled(cause, RestartableSampler(seed), pruner, beside=first)
    recipes: list[Recipe] = []
    values: list[list[float]] = []
    reference: list[float] = []
    trials = len(first) + len(cause.pool)
    while True:
        points = [
            Point(number, recipe.in_half, tuple(known))
            for number, (recipe, known) in enumerate(zip(recipes, values, strict=True))
            if known and recipe.name not in replay.refused
        ]
        # A failed confirmation is no news that a search may use; going on without that recipe is all it does.
        step = rules.next_step(points, reference, asked=len(recipes), trials=trials)
        if isinstance(step, FurtherSeed):
            known = reference if step.number == REFERENCE else values[step.number]
            recipe = cause.reference if step.number == REFERENCE else recipes[step.number]
            known.append(replay.repeat(recipe, known))
        elif step == "trial":
            recipe = first[len(recipes)] if len(recipes) < len(first) else None
            recipe, ap = sampled.run(replay, recipe, is_default=recipe is cause.default)
            recipes.append(recipe)
            values.append([] if ap is None else [ap])
        else:
            chosen = rules.chosen(points)
            if chosen is None or not replay.looks_closed(recipes[chosen.number], chosen.mean, reference):
                return
            replay.judge(recipes[chosen.number], recipes=_JUDGED)


SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "TPE, multivariate, 5 random trials (ours)": RestartableSampler,
    "TPE": lambda seed: TPESampler(seed=seed, multivariate=False, constant_liar=False),
    "Gaussian process": lambda seed: GPSampler(seed=seed),
    "quasi-random": lambda seed: QMCSampler(seed=seed, warn_independent_sampling=False),
    "random": lambda seed: RandomSampler(seed=seed),
}
PRUNERS: dict[str, Callable[[int], BasePruner]] = {
    "percentile 75 (ours)": percentile_pruner,
    "percentile 75, where ranks agree": lambda first: RankedPruner(percentile_pruner(first)),
    "median": lambda first: MedianPruner(n_warmup_steps=first),
    "successive halving": lambda first: SuccessiveHalvingPruner(min_resource=first),
    "none": lambda _: NopPruner(),
}
VARIANTS = {
    "diagnosed, searched before it is judged": _searched_first,
    **{f"sampler: {name}": undiagnosed(sampler, percentile_pruner) for name, sampler in SAMPLERS.items()},
    **{f"pruner: {name}": undiagnosed(RestartableSampler, pruner) for name, pruner in PRUNERS.items()},
}
"""What else could have been chosen: without the verdict that comes first, and other samplers and pruners of Optuna's,
without a diagnosis, each with the other part as ours has it."""


def _sampled(replay: Replay, sampled: "_Sampled", first: Sequence[Recipe] = ()) -> None:
    reference = _reference(replay)
    for number in range(len(first) + len(replay.cause.pool)):
        recipe, ap = sampled.run(replay, first[number] if number < len(first) else None, is_default=number < len(first))
        if ap is not None and replay.looks_closed(recipe, ap, reference):
            replay.judge(recipe)


class _Sampled:
    """Optuna's sampler and pruner over the recipes of a pool."""

    def __init__(self, cause: Cause, sampler: BaseSampler, pruner: BasePruner, beside: Sequence[Recipe] = ()) -> None:
        self._pool = list(cause.pool)
        self._space = space_of([*cause.pool, *beside], cause.default)
        self._study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)

    def run(self, replay: Replay, recipe: Recipe | None, *, is_default: bool) -> tuple[Recipe, float | None]:
        """Trains that recipe, or the pool's nearest to what the sampler asks for, and tells the sampler.

        The default recipe is never pruned.
        """
        words = self._space.words
        if recipe is None:
            asked = self._study.ask()
            point = self._space.suggest(asked)
            self._study.tell(asked, state=TrialState.FAIL)  # which no sampler and no pruner looks at
            recipe = min(self._pool, key=lambda known: distance(point, labels(known, words), words))
            self._pool.remove(recipe)
        self._study.enqueue_trial(labels(recipe, words))
        trial = self._study.ask()
        self._space.suggest(trial)

        def prunes(epoch: int, ap: float) -> bool:
            trial.report(ap, epoch)
            return not is_default and trial.should_prune()

        ap = replay.train(recipe, prunes=prunes)
        if ap is None:
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            self._study.tell(trial, ap)
        return recipe, ap


def _reference(replay: Replay) -> list[float]:
    ap = replay.train(replay.cause.reference)
    assert ap is not None
    return [ap]


def _first_pruned(cause: Cause) -> int:
    last = statistics.median(max(recipe.search[0].curve) for recipe in cause.pool)
    return -(-int(last * 10 * _PRUNE_FROM) // 10)

"""The searches that ``search_efficiency.py`` compares, replayed in recorded runs.

Every method pays for each run what it took, for a pruned one up to the evaluation at which it was pruned. Recorded
recipes stand for recipes of their kind, which are those whose FP32 island holds the planted module, or does not. A
random search draws them with replacement, by the share of the space that they stand for. A sampler has all islands to
choose from that a user could try, and its point stands at the nearest recorded recipe of the island's kind, as in
tabular benchmarks of hyperparameter search (HPO-B: S. Pineda Arango et al., NeurIPS Datasets and Benchmarks 2021); at
one that was run before only where no other is left. What it is told is that recipe's values with its own island.
"""

import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import optuna
from optuna.pruners import BasePruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import TrialState
from recorded_runs import ISLANDS, Cause, Recipe, distance, labels, mean_seconds, space_of

from workspace.gap import FUTILE, chance_of_closing, measure_gap
from workspace.search import Label
from workspace.search.fidelity import CHEAP
from workspace.search.pruning import PromotingPruner, RankedPruner, percentile_pruner, selection
from workspace.search.sampler import RestartableSampler
from workspace.search.strategy import REFERENCE, FurtherSeed, Point, Rules

_PRUNE_FROM = 0.4  # of the epochs, as the orchestrator has it
TRIALS = 60
"""After so many, a repetition that has not closed ends; a bound for the benchmark's own time."""
_NOT_ASKED = RandomSampler(seed=0)
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
        tried: names of the recipes that were trained.
        refused: of those that were judged and not closed.
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

    def compress(self, recipe: Recipe) -> float:
        """AP of the compressed schedule with the trial's seed, on the search split, in points."""
        run = recipe.compressed[0]
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
        """Trains the recipe on the verdict's seeds; raises `Closed` where that is the verdict.

        Seed follows seed, for every method, as long as closing is not improbable.

        Args:
            recipes: that the verdict allows for. A method that takes 1 and judges several errs more often than it says.
        """
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
    """Random recipes, full-length; each that looks closed is judged at once."""
    reference = _reference(replay)
    rng = random.Random(seed)
    for _ in range(TRIALS):
        recipe = replay.cause.draw(rng)
        ap = replay.train(recipe)
        if ap is not None and replay.looks_closed(recipe, ap, reference):
            replay.judge(recipe)


def plain_optuna(replay: Replay, seed: int) -> None:
    """Optuna as it comes: TPE and the median pruner with their defaults, full-length trials."""
    _sampled(replay, _Sampled(replay.cause, TPESampler(seed=seed), MedianPruner()))


def undiagnosed(
    sampler: Callable[[int], BaseSampler], pruner: Callable[[int], BasePruner], *, compressed: bool = False
) -> Method:
    """A search with the default recipe first and nothing else known.

    Args:
        sampler: of a seed.
        pruner: that stops no trial before an epoch.
        compressed: whether a trial's compressed schedule comes first, where that is recorded.
    """

    def method(replay: Replay, seed: int) -> None:
        cause = replay.cause
        sampled = _Sampled(cause, sampler(seed), pruner(_first_pruned(cause)), compressed=compressed)
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
    while True:
        points = [
            Point(number, recipe.in_half, tuple(known))
            for number, (recipe, known) in enumerate(zip(recipes, values, strict=True))
            if known and recipe.name not in replay.refused
        ]
        # A failed confirmation is no news that a search may use; going on without that recipe is all it does.
        step = rules.next_step(points, reference, asked=len(recipes), trials=TRIALS)
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
    "Optuna's TPE": lambda seed: TPESampler(seed=seed),
    "TPE, each parameter by itself": lambda seed: TPESampler(seed=seed, multivariate=False, constant_liar=False),
    "random": lambda seed: RandomSampler(seed=seed),
}
PRUNERS: dict[str, Callable[[int], BasePruner]] = {
    "percentile 75, where ranks agree": lambda first: RankedPruner(percentile_pruner(first)),
    "median": lambda first: MedianPruner(n_warmup_steps=first),
    "successive halving": lambda first: SuccessiveHalvingPruner(min_resource=first),
    "none": lambda _: NopPruner(),
}
THIRD_FIRST = "pruner: a third of the schedule first"
VARIANTS = {
    "diagnosed, searched before it is judged": _searched_first,
    **{f"sampler: {name}": undiagnosed(sampler, percentile_pruner) for name, sampler in SAMPLERS.items()},
    **{f"pruner: {name}": undiagnosed(RestartableSampler, pruner) for name, pruner in PRUNERS.items()},
    THIRD_FIRST: undiagnosed(
        RestartableSampler, lambda first: PromotingPruner(percentile_pruner(first)), compressed=True
    ),
}
"""What else could have been chosen: a search before the verdict; and, without a diagnosis, other samplers and pruners
of Optuna's, each with the other part as ours has it (multivariate TPE after five random trials, the 75th percentile).
"""


def _sampled(replay: Replay, sampled: "_Sampled", first: Sequence[Recipe] = ()) -> None:
    reference = _reference(replay)
    for number in range(TRIALS):
        recipe, ap = sampled.run(replay, first[number] if number < len(first) else None, is_default=number < len(first))
        if ap is not None and replay.looks_closed(recipe, ap, reference):
            replay.judge(recipe)


class _Sampled:
    """Optuna's sampler and pruner over the recipes of a pool."""

    def __init__(
        self,
        cause: Cause,
        sampler: BaseSampler,
        pruner: BasePruner,
        beside: Sequence[Recipe] = (),
        *,
        compressed: bool = False,
    ) -> None:
        self._compressed = compressed
        self._cause = cause
        self._run: set[str] = set()
        self._beside = beside
        self._space = space_of([*cause.pool, *beside], cause.default, cause.islands)
        self._but_islands = {name: word for name, word in self._space.words.items() if name != ISLANDS}
        self._points = {known.name: labels(known, self._space.words) for known in (*cause.pool, *beside)}
        self._sampler = sampler
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
            recipe = self._nearest(point)
            self._run.add(recipe.name)
            told = {**labels(recipe, words), ISLANDS: point[ISLANDS]}
        else:
            told = labels(recipe, words)
        self._study.enqueue_trial(told)
        self._study.sampler = _NOT_ASKED  # what is enqueued needs no second draw, which TPE would take its time for
        trial = self._study.ask()
        self._space.suggest(trial)
        self._study.sampler = self._sampler

        def prunes(epoch: int, ap: float) -> bool:
            trial.report(ap, epoch)
            return not is_default and trial.should_prune()

        if self._is_compressed_first(recipe) and prunes(CHEAP, replay.compress(recipe)):
            ap = None
        else:
            ap = replay.train(recipe, prunes=prunes)
        if ap is None:
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            self._study.tell(trial, ap)
        return recipe, ap

    def _nearest(self, point: Mapping[str, Label]) -> Recipe:
        """The recorded recipe that stands for that point: one of its island's kind, or what was proposed."""
        island = point[ISLANDS]
        if island in self._cause.islands:
            alike = list(self._cause.strata[self._cause.islands[island]])
        else:
            alike = [known for known in self._beside if self._points[known.name][ISLANDS] == island]
        fresh = [known for known in alike if known.name not in self._run]
        return min(fresh or alike, key=lambda known: distance(point, self._points[known.name], self._but_islands))

    def _is_compressed_first(self, recipe: Recipe) -> bool:
        """By the orchestrator's own rule. A recipe without a recorded compressed schedule has its full run at once."""
        if not (self._compressed and recipe.compressed):
            return False
        return not selection(self._study.get_trials(deepcopy=False), "a third of the schedule").is_given_up


def _reference(replay: Replay) -> list[float]:
    ap = replay.train(replay.cause.reference)
    assert ap is not None
    return [ap]


def _first_pruned(cause: Cause) -> int:
    last = statistics.median(max(recipe.search[0].curve) for recipe in cause.pool)
    return -(-int(last * 10 * _PRUNE_FROM) // 10)

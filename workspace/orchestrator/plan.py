"""From an experiment to its runs: which specs it needs, and in which role."""

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from workspace.detectors import detector
from workspace.errors import UserError
from workspace.experiment import Experiment
from workspace.gap import LOOKS, next_look
from workspace.orchestrator.conditions import Conditions
from workspace.precision import Precision
from workspace.search import Fidelity
from workspace.search.space import Word
from workspace.spec import Recipe, RunSpec

Phase = Literal["baseline", "default", "search", "confirm", "compare", "train"]

TUNED_BASELINE = "tuned baseline"
"""The baseline's arm with the recipe that its own search found."""

PROPOSED = "proposed"
"""The candidate's arm with the recipe that a diagnosis proposes first."""

CHEAP_TRIAL = "cheap trial"
"""The arm of trials' cheap runs."""

SEARCH_SEEDS_FROM = 1000
"""Trial n trains with seed 1000 + n: never a seed of the verdict, and never the same luck twice."""

_FURTHER_SEEDS_FROM = 1_000_000
"""Further seeds of a search's recipes begin here, the same for all of them."""

_RECIPE_FIELDS = frozenset(f.name for f in dataclasses.fields(Recipe))
_PRECISION_FIELDS = frozenset(f.name for f in dataclasses.fields(Precision))


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run in its role within an experiment.

    Attributes:
        arm: that it belongs to; ``trial`` or ``cheap trial`` for a run that the verdict does not see.
        name: as it is shown.
        full: of a trial's cheap run, the full run that follows it where the study promotes the trial.
    """

    spec: RunSpec
    phase: Phase
    arm: str
    name: str
    trial: int | None = None
    full: "Job | None" = None

    @property
    def metric(self) -> str:
        """MMDetection's key of the AP that the run is judged by."""
        return detector(self.spec.detector).metric


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a search knows from a diagnosis before it begins.

    Attributes:
        proposed: values of the recipe that is judged before anything is searched; ``None`` where nothing is proposed,
            or the baseline is tuned too, so that the candidate has to be.
        first: values of what is tried before the default recipe and the sampler's own; the most promising first.
        in_half: share (0 to 1) of a recipe's operations that are computed in half, by its FP32 islands.
        set_aside: in a line each, what the diagnosis proposes and the search does not try.
    """

    proposed: Mapping[str, Any] | None
    first: Sequence[Mapping[str, Any]]
    in_half: Mapping[tuple[str, ...], float]
    set_aside: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The runs of one experiment under the conditions of one start.

    Attributes:
        seeds: of each arm; with ``max_seeds``, at the look that is planned.
        trials: of each search.
        max_seeds: of each arm, where seeds are added until the verdict is decided: one of `workspace.gap.LOOKS`, at
            which it is looked at. ``None`` for one look at ``seeds``.
        tune_baseline: whether the baseline has a search of its own, and the tuned candidate is judged against it.
        searched: the precision whose recipe `trial` and `confirm` are of.
        fidelity: of the cheap run that each trial has before its full one; ``None`` for none.
        start: of a search that a diagnosis began and that ends when it has its answer; ``None`` for one that tries all
            its trials and takes the best.
    """

    experiment: Experiment
    conditions: Conditions
    seeds: int
    trials: int
    max_seeds: int | None = None
    tune_baseline: bool = False
    searched: Literal["candidate", "baseline"] = "candidate"
    fidelity: Fidelity | None = None
    start: Start | None = None

    def __post_init__(self) -> None:
        unknown = set(self.experiment.space) - _RECIPE_FIELDS - _PRECISION_FIELDS
        if unknown:
            raise UserError(
                f"experiment {self.experiment.name}: {', '.join(sorted(unknown))} in its space: "
                "neither a field of Recipe nor of Precision"
            )
        if self.seeds < 1 or self.trials < 0:
            raise UserError(f"{self.seeds} seeds, {self.trials} trials: at least 1 seed and 0 trials are needed")
        if self.max_seeds is not None:
            object.__setattr__(self, "seeds", first_look(self.seeds, self.max_seeds))
        if self.tune_baseline and not (self.trials and self.for_baseline().space):
            raise UserError(
                f"--tune-baseline: experiment {self.name} searches nothing that its baseline has; leave it out"
            )
        if self._candidate_seeds.stop > SEARCH_SEEDS_FROM:
            raise UserError(f"{self.seeds} seeds: those from {SEARCH_SEEDS_FROM} on are the search's; ask for fewer")
        if self.fidelity is not None and self.cheap(self.trial(0, {})) is None:
            raise UserError(f"--fidelity {self.fidelity}: as many steps as the full run of {self.name}; leave it out")
        self.baseline()  # what its device cannot compute is refused here, before the candidate's

    @property
    def name(self) -> str:
        return self.experiment.name

    def baseline(self) -> list[Job]:
        return [self._judged("baseline", "baseline", self.experiment.baseline, {}, seed) for seed in range(self.seeds)]

    def default(self) -> list[Job]:
        candidate = self.experiment.candidate
        return [self._judged("default", "default", candidate, {}, seed) for seed in self._candidate_seeds]

    def confirm(self, changes: Mapping[str, Any]) -> list[Job]:
        """The runs with the recipe that the search found, on the verdict's seeds."""
        seeds, arm = (
            (range(self.seeds), TUNED_BASELINE) if self.searched == "baseline" else (self._candidate_seeds, "tuned")
        )
        return [self._judged("confirm", arm, self._searched, changes, seed) for seed in seeds]

    def proposed(self) -> list[Job]:
        """The runs with the recipe that the diagnosis proposes first, where it is judged before the search."""
        if self.start is None or self.start.proposed is None:
            return []
        candidate, changes = self.experiment.candidate, self.start.proposed
        return [self._judged("confirm", PROPOSED, candidate, changes, seed) for seed in self._candidate_seeds]

    def recipes_for(self, arm: str) -> int:
        """Recipes that its verdict allows for: a proposed one and a tuned one are judged until either is *closed*."""
        return 2 if arm != "default" and self.proposed() and self.has_search else 1

    def trial(self, number: int, changes: Mapping[str, Any]) -> Job:
        """The run of a trial: the search's split, a seed of its own."""
        seed = SEARCH_SEEDS_FROM + number
        spec = self._spec(self._searched, changes, seed, "search")
        name = f"baseline trial {number}" if self.searched == "baseline" else f"trial {number}"
        return Job(spec=spec, phase="search", arm="trial", name=name, trial=number)

    def cheap(self, trial: Job) -> Job | None:
        """The cheap run of a trial, with the seed of its full one; ``None`` where nothing is cheaper."""
        if self.fidelity is None:
            return None
        spec = self.conditions.cheaper(trial.spec, self.fidelity)
        if self.conditions.steps(spec) >= self.conditions.steps(trial.spec):
            return None
        return dataclasses.replace(
            trial, spec=spec, arm=CHEAP_TRIAL, name=f"{trial.name} at {self.fidelity}", full=trial
        )

    def further(self, number: int, changes: Mapping[str, Any], seed: int) -> Job:
        """One more run of a trial's recipe: the search's split, the so many-th further seed, from 1 on."""
        spec = self._spec(self._searched, changes, _FURTHER_SEEDS_FROM + seed, "search")
        return Job(spec=spec, phase="search", arm="trial", name=f"trial {number} seed {seed}")

    def searched_for(self, seed: int) -> Job:
        """The baseline's run on the search's split, by which a search sees what it is to reach; seeds from 0 on."""
        spec = self._spec(self.experiment.baseline, {}, _FURTHER_SEEDS_FROM + seed, "search")
        return Job(spec=spec, phase="search", arm="trial", name=f"reference seed {seed}")

    @property
    def searches(self) -> Sequence["Plan"]:
        """The plan itself where it has a search, and then that of the baseline's where it has one too."""
        return [self, self.for_baseline()] if self.tune_baseline else [self] if self.has_search else []

    def for_baseline(self) -> "Plan":
        """The same plan with the baseline's search in place of the candidate's."""
        return dataclasses.replace(self, searched="baseline", tune_baseline=False, start=None)

    def at(self, seeds: int) -> "Plan":
        """The same plan with that many seeds of each arm."""
        return dataclasses.replace(self, seeds=seeds)

    def judged(self, arms: Iterable[str]) -> list[str]:
        """Those of the arms that there is a verdict on."""
        return [arm for arm in arms if arm not in ("baseline", TUNED_BASELINE)]

    def reference(self, arm: str) -> str:
        """The arm that a candidate's arm is judged against."""
        return TUNED_BASELINE if self.tune_baseline and arm == "tuned" else "baseline"

    def pairs(self, arms: Collection[str]) -> dict[str, tuple[str, str]]:
        """By candidate's arm, the two that each verdict on those arms is of: baseline's and candidate's."""
        return {arm: (self.reference(arm), arm) for arm in self.judged(arms)}

    @property
    def space(self) -> Mapping[str, Word]:
        """What is searched; for a baseline that is no mixed precision, without what only those have."""
        space = self.experiment.space
        if self.searched == "candidate" or self.experiment.baseline.is_mixed:
            return space
        return {name: word for name, word in space.items() if name in _RECIPE_FIELDS}

    @property
    def has_search(self) -> bool:
        return bool(self.experiment.space) and self.trials > 0

    @property
    def run_count(self) -> int:
        """Runs that the plan needs, at most."""
        seeds, searches = self.max_seeds or self.seeds, len(self.searches)
        trials = searches * self.trials * (1 if self.fidelity is None else 2)
        return (2 + searches + bool(self.proposed())) * seeds + trials + bool(self.start)

    @property
    def margin(self) -> float:
        return self.experiment.efforts[self.conditions.scale].margin

    @property
    def default_values(self) -> dict[str, Any]:
        """The precision's own values of the parameters that the search changes."""
        return {name: self.default_value(name) for name in self.space}

    def default_value(self, name: str) -> Any:
        """The default recipe's or the precision's own; `UserError` where neither has such a field."""
        recipe = detector(self.experiment.detector).variant(self.conditions.scale).recipe
        if name not in _RECIPE_FIELDS | _PRECISION_FIELDS:
            raise UserError(f"{name}: neither a field of Recipe nor of Precision")
        return getattr(recipe if name in _RECIPE_FIELDS else self._searched, name)

    @property
    def study_identity(self) -> dict[str, Any]:
        """What a study's trials have in common; trials of another identity are no evidence for this one."""
        return {**self.trial(0, {}).spec.to_json(), "seed": SEARCH_SEEDS_FROM}

    @property
    def _searched(self) -> Precision:
        return self.experiment.baseline if self.searched == "baseline" else self.experiment.candidate

    @property
    def _candidate_seeds(self) -> range:
        return range(self.experiment.candidate_seeds_from, self.experiment.candidate_seeds_from + self.seeds)

    def _judged(self, phase: Phase, arm: str, precision: Precision, changes: Mapping[str, Any], seed: int) -> Job:
        spec = self._spec(precision, changes, seed, "eval")
        return Job(spec=spec, phase=phase, arm=arm, name=f"{arm} seed {seed}")

    def _spec(
        self, precision: Precision, changes: Mapping[str, Any], seed: int, evaluate: Literal["search", "eval"]
    ) -> RunSpec:
        default = detector(self.experiment.detector).variant(self.conditions.scale).recipe
        recipe = dataclasses.replace(default, **_only(changes, _RECIPE_FIELDS))
        precision = dataclasses.replace(precision, **_only(changes, _PRECISION_FIELDS))
        return self.conditions.spec(self.experiment.detector, precision, recipe, seed=seed, evaluate=evaluate)


def first_look(seeds: int, most: int) -> int:
    """The first look from that many seeds on; `UserError` where the last one is none, or lies before."""
    if most not in LOOKS or most < seeds:
        raise UserError(
            f"--max-seeds {most}: seeds are added from one look to the next; "
            f"take {_listed(look for look in LOOKS if look >= seeds)}"
        )
    return next_look(seeds - 1) or most


def _listed(looks: Iterable[int]) -> str:
    return ", ".join(map(str, looks)) or f"fewer seeds than {LOOKS[-1]} to begin with"


def _only(changes: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in changes.items() if name in names}

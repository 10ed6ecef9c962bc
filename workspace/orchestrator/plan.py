"""From an experiment to its runs: which specs it needs."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from workspace.datasets import DataSet
from workspace.detectors import detector
from workspace.errors import UserError
from workspace.experiment import Experiment
from workspace.precision import Precision
from workspace.spec import DataSpec, DeviceKind, Recipe, RunSpec, Scale

Phase = Literal["baseline", "default", "search", "confirm"]

_SEARCH_SEEDS_FROM = 1000
"""Trial n trains with seed 1000 + n: never a seed of the verdict, and never the same luck twice."""

_EVALUATIONS = 3
"""Evaluations of a run, for its curve; a trial may be pruned by the intermediate ones."""

_RECIPE_FIELDS = frozenset(f.name for f in dataclasses.fields(Recipe))
_PRECISION_FIELDS = frozenset(f.name for f in dataclasses.fields(Precision))


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run in its role within an experiment."""

    spec: RunSpec
    phase: Phase
    trial: int | None = None

    @property
    def name(self) -> str:
        if self.trial is not None:
            return f"trial {self.trial}"
        return f"{'tuned' if self.phase == 'confirm' else self.phase} seed {self.spec.seed}"

    @property
    def arm(self) -> str:
        """``baseline``, ``default``, ``tuned``, or ``trial`` for a run that the verdict does not see."""
        return {"baseline": "baseline", "default": "default", "search": "trial", "confirm": "tuned"}[self.phase]


@dataclass(frozen=True)
class Plan:
    """The runs of one experiment at one scale on one data set and kind of device."""

    experiment: Experiment
    scale: Scale
    dataset: DataSet
    embedded: bool
    device: DeviceKind
    seeds: int
    trials: int

    def __post_init__(self) -> None:
        unknown = set(self.experiment.space) - _RECIPE_FIELDS - _PRECISION_FIELDS
        if unknown:
            raise UserError(
                f"experiment {self.experiment.name}: {', '.join(sorted(unknown))} in its space: "
                "neither a field of Recipe nor of Precision"
            )
        if self.seeds < 1 or self.trials < 0:
            raise UserError(f"{self.seeds} seeds, {self.trials} trials: at least 1 seed and 0 trials are needed")
        if self._candidate_seeds.stop > _SEARCH_SEEDS_FROM:
            raise UserError(f"{self.seeds} seeds: those from {_SEARCH_SEEDS_FROM} on are the search's; ask for fewer")

    def baseline(self) -> list[Job]:
        return [self._job("baseline", self.experiment.baseline, {}, seed) for seed in range(self.seeds)]

    def default(self) -> list[Job]:
        return [self._job("default", self.experiment.candidate, {}, seed) for seed in self._candidate_seeds]

    def confirm(self, changes: Mapping[str, Any]) -> list[Job]:
        """The candidate's runs with the recipe that the search found, on the verdict's seeds."""
        return [self._job("confirm", self.experiment.candidate, changes, seed) for seed in self._candidate_seeds]

    def trial(self, number: int, changes: Mapping[str, Any]) -> Job:
        """The run of a trial: the search's split, a seed of its own."""
        return self._job("search", self.experiment.candidate, changes, _SEARCH_SEEDS_FROM + number, number)

    @property
    def _candidate_seeds(self) -> range:
        return range(self.experiment.candidate_seeds_from, self.experiment.candidate_seeds_from + self.seeds)

    @property
    def margin(self) -> float:
        return self.experiment.efforts[self.scale].margin

    @property
    def default_values(self) -> dict[str, Any]:
        """The candidate's own values of the parameters that the search changes."""
        recipe = detector(self.experiment.detector).variant(self.scale).recipe
        return {
            name: getattr(recipe if name in _RECIPE_FIELDS else self.experiment.candidate, name)
            for name in self.experiment.space
        }

    @property
    def study_identity(self) -> dict[str, Any]:
        """What a study's trials have in common; trials of another identity are no evidence for this one."""
        return {**self.trial(0, {}).spec.to_json(), "seed": _SEARCH_SEEDS_FROM}

    @property
    def key(self) -> str:
        """Names this experiment's results in a work folder: scale, data set and kind of device."""
        return f"{self.scale}-{self.dataset.name}-{self.dataset.digest[:8]}-{self.device}"

    def _job(
        self, phase: Phase, precision: Precision, changes: Mapping[str, Any], seed: int, trial: int | None = None
    ) -> Job:
        described = detector(self.experiment.detector)
        variant = described.variant(self.scale)
        recipe = dataclasses.replace(variant.recipe, **_only(changes, _RECIPE_FIELDS))
        precision = dataclasses.replace(precision, **_only(changes, _PRECISION_FIELDS))
        unknown = set(precision.fp32_islands) - set(described.islands)
        if unknown:
            raise UserError(
                f"{described.name} has no FP32 island {', '.join(sorted(unknown))}: use {', '.join(described.islands)}"
            )
        judged_on: Literal["search", "eval"] = "search" if phase == "search" else "eval"
        epochs = recipe.epochs_on(self.dataset.splits["train"].pictures)
        spec = RunSpec(
            detector=described.name,
            scale=self.scale,
            config_digest=described.config_digest(self.scale),
            data=DataSpec(name=self.dataset.name, digest=self.dataset.digest, evaluate=judged_on),
            precision=precision,
            recipe=recipe,
            image_size=variant.image_size if self.embedded else variant.picture_size,
            epochs=epochs,
            evaluations=min(epochs, _EVALUATIONS),
            seed=seed,
            device=self.device,
        )
        return Job(spec=spec, phase=phase, trial=trial)

    def steps(self, spec: RunSpec) -> int:
        """Optimizer steps of that run."""
        pictures = self.dataset.splits["train"].pictures * detector(spec.detector).variant(spec.scale).repeat
        return spec.epochs * -(-pictures // spec.recipe.batch_size)


def _only(changes: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in changes.items() if name in names}

"""`Experiment` and `Comparison`: one question, as a value. The orchestrator plays it; its script has no logic."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from workspace.errors import UserError
from workspace.precision import Precision
from workspace.search.space import Word
from workspace.spec import Scale

_ROUNDING = 1e-9  # in a sum of weights such as 1/3


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much an experiment spends at one scale, where the command line does not say otherwise.

    Attributes:
        seeds: runs of each arm that the verdict is given on.
        trials: recipes that the search tries, the default one included; each is one run. 0 where nothing is searched.
        margin: AP points that the candidate may lose and still count as equal; stated before anything is measured.
    """

    seeds: int
    trials: int = 0
    margin: float


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Does ``candidate`` cost AP against ``baseline``, and does a tuned recipe win it back?

    Attributes:
        name: of the script; MLflow experiment, Optuna study, notebook and results are called the same.
        detector: key of ``workspace.detectors.DETECTORS``.
        space: search-space words by parameter: fields of `Recipe` and `Precision`. Empty for no search.
        efforts: by scale.
        candidate_seeds_from: first seed of the candidate's runs. 0 pairs them with the baseline's; an experiment whose
            arms are equal must draw others.
    """

    name: str
    detector: str
    baseline: Precision
    candidate: Precision
    space: Mapping[str, Word] = field(default_factory=dict)
    efforts: Mapping[Scale, Effort]
    candidate_seeds_from: int = 0

    def __post_init__(self) -> None:
        if self.baseline == self.candidate and self.candidate_seeds_from == 0:
            raise UserError(f"experiment {self.name}: equal arms with equal seeds are the same runs")


@dataclass(frozen=True, kw_only=True)
class ArmSpec:
    """What is trained in one arm of a comparison, over its seeds.

    Attributes:
        detector: key of ``workspace.detectors.DETECTORS``.
        recipe: one of the detector's named recipes at the scale; ``None`` for its default one.
    """

    detector: str
    precision: Precision
    recipe: str | None = None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How do these arms differ in AP? Named arms on equal seeds, and named contrasts of their means.

    A contrast that takes one arm from another, weights 1 and -1, is a gap: it is judged at the margin. Any other is an
    effect, such as a main effect or an interaction of a factorial design: it is given with its interval.

    Attributes:
        name: of the script; MLflow experiment, notebook and results are called the same.
        arms: by name, in the order in which they are trained.
        contrasts: by name, the weight of each arm in it; they sum to 0.
        parts: contrasts that are the sum of others, such as a total of its main effects: by name, the others' names.
        published: by contrast, the detector whose row of the published table answers the same question.
        efforts: by scale.
    """

    name: str
    arms: Mapping[str, ArmSpec]
    contrasts: Mapping[str, Mapping[str, float]]
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    published: Mapping[str, str] = field(default_factory=dict)
    efforts: Mapping[Scale, Effort]

    def __post_init__(self) -> None:
        for contrast, weights in self.contrasts.items():
            if unknown := weights.keys() - self.arms.keys():
                raise UserError(f"comparison {self.name}: {contrast} weighs {', '.join(sorted(unknown))}, no arm of it")
            if not any(weights.values()) or abs(sum(weights.values())) > _ROUNDING:
                raise UserError(f"comparison {self.name}: the weights of {contrast} must sum to 0 and not all be 0")
        for name in (*self.published, *self.parts, *(part for parts in self.parts.values() for part in parts)):
            if name not in self.contrasts:
                raise UserError(f"comparison {self.name}: {name} is none of its contrasts")
        for whole, parts in self.parts.items():
            for arm in self.arms:
                total = sum(self.contrasts[part].get(arm, 0.0) for part in parts)
                if abs(total - self.contrasts[whole].get(arm, 0.0)) > _ROUNDING:
                    raise UserError(f"comparison {self.name}: {' and '.join(parts)} do not sum up to {whole}")
        if any(effort.trials for effort in self.efforts.values()):
            raise UserError(f"comparison {self.name}: it has no search, so its efforts have no trials")

    @property
    def gaps(self) -> dict[str, tuple[str, str]]:
        """Baseline's and candidate's arm of each contrast that is a gap."""
        pairs = {}
        for name, weights in self.contrasts.items():
            by_weight = {weight: arm for arm, weight in weights.items() if weight}
            if sum(bool(weight) for weight in weights.values()) == 2 and by_weight.keys() == {-1, 1}:
                pairs[name] = by_weight[-1], by_weight[1]
        return pairs

"""`Experiment`: one question, as a value. The orchestrator plays its phases; the script that holds it has no logic."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from workspace.errors import UserError
from workspace.precision import Precision
from workspace.search.space import Word
from workspace.spec import Scale


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much an experiment spends at one scale, where the command line does not say otherwise.

    Attributes:
        seeds: runs of each arm that the verdict is given on.
        trials: recipes that the search tries, the default one included; each is one run.
        margin: AP points that the candidate may lose and still count as equal; stated before anything is measured.
    """

    seeds: int
    trials: int
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

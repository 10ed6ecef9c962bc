"""From a comparison to its runs: which specs its arms need."""

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass

from workspace.detectors import detector
from workspace.errors import UserError
from workspace.experiment import Comparison
from workspace.orchestrator.conditions import Conditions
from workspace.orchestrator.plan import SEARCH_SEEDS_FROM, Job, first_look
from workspace.spec import RunSpec


@dataclass(frozen=True, kw_only=True)
class ComparisonPlan:
    """The runs of one comparison under the conditions of one start.

    Attributes:
        seeds: of each arm; with ``max_seeds``, at the look that is planned.
        max_seeds: of each arm of a gap, where seeds are added until that gap is decided: one of `workspace.gap.LOOKS`.
            ``None`` for one look at ``seeds``.
    """

    comparison: Comparison
    conditions: Conditions
    seeds: int
    max_seeds: int | None = None

    def __post_init__(self) -> None:
        if self.max_seeds is not None:
            if not self.comparison.gaps:
                raise UserError(
                    f"--max-seeds {self.max_seeds}: {self.comparison.name} has effects alone, and no verdict on a gap "
                    "that could end the adding of seeds; fix their number, with --seeds"
                )
            object.__setattr__(self, "seeds", first_look(self.seeds, self.max_seeds))
        if not 1 <= self.seeds <= SEARCH_SEEDS_FROM:
            raise UserError(f"{self.seeds} seeds: at least 1 and at most {SEARCH_SEEDS_FROM} are needed")
        if len({self._spec(arm, seed=0).signature for arm in self.comparison.arms}) < len(self.comparison.arms):
            raise UserError(
                f"comparison {self.name}: two of its arms are the same runs at scale {self.conditions.scale}"
            )
        for contrast, weights in self.comparison.contrasts.items():
            metrics = {detector(self.comparison.arms[arm].detector).metric for arm in weights}
            if len(metrics) > 1:
                raise UserError(f"comparison {self.name}: {contrast} mixes {' and '.join(sorted(metrics))}")

    @property
    def name(self) -> str:
        return self.comparison.name

    def arms(self) -> dict[str, list[Job]]:
        """Each arm's runs, by seed."""
        return {
            name: [
                Job(
                    spec=self._spec(name, seed=seed),
                    phase="compare",
                    arm=name,
                    name=f"{name} seed {seed}",
                )
                for seed in range(self.seeds)
            ]
            for name in self.comparison.arms
        }

    def at(self, seeds: int) -> "ComparisonPlan":
        """The same plan with that many seeds of each arm."""
        return dataclasses.replace(self, seeds=seeds)

    def pairs(self, arms: Collection[str]) -> dict[str, tuple[str, str]]:
        """By contrast, the two arms that each verdict on those arms is of: baseline's and candidate's."""
        return {name: pair for name, pair in self.comparison.gaps.items() if set(pair) <= set(arms)}

    def recipes_for(self, contrast: str) -> int:
        """Recipes that its verdict allows for: one, for each contrast is its own question."""
        return 1

    def adds_to(self, arm: str) -> bool:
        """Whether the arm's number of seeds is for verdicts to decide."""
        return self.max_seeds is not None and any(arm in pair for pair in self.comparison.gaps.values())

    @property
    def run_count(self) -> int:
        """Runs that the plan needs, at most."""
        return sum((self.max_seeds or 0) if self.adds_to(arm) else self.seeds for arm in self.comparison.arms)

    @property
    def margin(self) -> float:
        return self.comparison.efforts[self.conditions.scale].margin

    def _spec(self, name: str, *, seed: int) -> RunSpec:
        arm = self.comparison.arms[name]
        recipe = detector(arm.detector).variant(self.conditions.scale).recipe_named(arm.recipe)
        return self.conditions.spec(arm.detector, arm.precision, recipe, seed=seed)

"""Cheaper runs that come before a trial's full one: what they are, and whether they may select trials.

A cheap run says nothing by itself. Whether AP there ranks recipes as the full run does is measured on the search's own
trials, and only where it does are trials selected by it; where it does not, no more are made. The reasons stand in
``docs/decisions/018-cheaper-fidelities.md``.
"""

import dataclasses
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, get_args

from workspace.errors import UserError
from workspace.search.ranks import Ranks
from workspace.spec import Recipe

CHEAP = 0
"""Step at which a trial reports the AP of its cheap run; those of the full run are its epochs, from 1 on."""

_PATIENCE = 8
"""Finished trials with both runs after which ranks that do not agree are no longer waited for."""

_Kind = Literal["schedule", "data"]


@dataclass(frozen=True)
class Fidelity:
    """How a cheap run differs from the full one.

    Attributes:
        kind: ``schedule``: all the data for a share of the steps; ``data``: as many epochs of a share of the training
            pictures. Warm-up takes that share of its steps in either.
        share: above 0 and below 1.
    """

    kind: _Kind
    share: Fraction

    @classmethod
    def parse(cls, text: str) -> "Fidelity":
        """From ``schedule=1/3`` or ``data=0.25``.

        Raises:
            UserError: it is neither, or the share is not between 0 and 1.
        """
        kind, _, share = text.partition("=")
        try:
            found = cls(next(known for known in get_args(_Kind) if known == kind), Fraction(share))
            if 0 < found.share < 1:
                return found
        except (StopIteration, ValueError, ZeroDivisionError):
            pass
        raise UserError(
            f"--fidelity {text}: give schedule or data and a share between 0 and 1, such as schedule=1/3 or data=0.25"
        )

    def __str__(self) -> str:
        return f"{self.kind}={self.share}"

    def recipe(self, recipe: Recipe, *, epochs: int, pictures: int) -> Recipe:
        """That recipe as the cheap run has it; milestones are shares of a schedule and stay.

        Args:
            epochs: of the full run.
            pictures: that the cheap run trains on.
        """
        length: dict[str, Any] = {"epochs": recipe.epochs, "steps": recipe.steps}
        if self.kind == "schedule":
            length = {name: whole and max(1, round(self.share * whole)) for name, whole in length.items()}
        elif recipe.steps is not None:
            length["steps"] = epochs * -(-pictures // recipe.batch_size)
        return dataclasses.replace(recipe, **length, warmup_steps=round(self.share * recipe.warmup_steps))


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What a search's finished trials say of their cheap runs.

    Attributes:
        fidelity: of these, in words.
        trials: finished ones that had both runs.
        ranks: how well AP of the cheap runs ranks them as that of the full ones does; ``None`` where nothing differs.
        not_promoted: trials that had their cheap run alone.
    """

    fidelity: str
    trials: int
    ranks: Ranks | None
    not_promoted: int

    @property
    def is_by_cheap_runs(self) -> bool:
        """Whether a trial's cheap run may end it; else every trial has its full run."""
        return self.ranks is not None and self.ranks.agree

    @property
    def is_given_up(self) -> bool:
        """Whether later trials have no cheap run: so many did not show that it tells anything, and it only costs."""
        return self.trials >= _PATIENCE and not self.is_by_cheap_runs

    def to_json(self) -> dict[str, Any]:
        return {
            "fidelity": self.fidelity,
            "trials": self.trials,
            "tau": None if self.ranks is None else self.ranks.tau,
            "p_value": None if self.ranks is None else self.ranks.p_value,
            "enough": self.is_by_cheap_runs,
            "given_up": self.is_given_up,
            "not_promoted": self.not_promoted,
        }

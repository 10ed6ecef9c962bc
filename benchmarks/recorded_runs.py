"""A table of real runs, by cause and recipe, in which searches are replayed.

One row is one run: ``cause``, ``recipe`` (its name), ``changes`` (JSON, as in a diagnosis' proposals), ``fidelity``
(share of the full schedule), ``seed``, ``split`` (``search`` or ``eval``), ``ap`` in points, ``curve`` (JSON, AP by
epoch), ``device_seconds``, ``steps``, ``flops_in_half`` (0 to 1) and ``diverged``. The recipe ``fp32`` is the baseline,
``default`` the candidate as the gap was found in it, those named ``proposal…`` are the diagnosis', in their order, and
all others were drawn at random from the space that is searched without a diagnosis: from parts of it, each of which
holds the share ``stratum_share`` of all draws (1 where the column is missing or empty). A row named ``diagnosis`` has
the seconds that the diagnosis took.

``planted_islands.csv`` beside it has a row for each FP32 island that a user could try: ``cause``, ``island`` (JSON, a
list of modules, empty for none) and ``stratum_share`` of the part of the space that it lies in.
"""

import json
import math
import random
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from workspace.search import Choice, Label, Range, Space

ISLANDS = "fp32_islands"
REFERENCE, DEFAULT, PROPOSAL, DIAGNOSIS = "fp32", "default", "proposal", "diagnosis"


@dataclass(frozen=True)
class Run:
    """One run: AP in points, at its end and by epoch, and its device-seconds.

    These are its steps times the median of what a step of its cause's arms took, which were trained when it was
    diagnosed: the machine was not equally busy all the time, and which method is faster must not depend on that.
    """

    seed: int
    ap: float
    seconds: float
    curve: Mapping[int, float]


@dataclass(frozen=True)
class Recipe:
    """What was run with one recipe.

    Attributes:
        changes: its difference from the default; JSON text stands for what is no number.
        in_half: share of its operations that are computed in half.
        search: runs of the full schedule on the search split, by seed.
        compressed: the same of the compressed schedule.
        judged: runs of the full schedule on the evaluation split.
        stratum_share: share of all random draws that lie in the part of the space that this one was drawn from.
    """

    name: str
    changes: Mapping[str, Label]
    in_half: float
    search: Sequence[Run]
    compressed: Sequence[Run]
    judged: Sequence[Run]
    stratum_share: float = 1.0


@dataclass(frozen=True)
class Cause:
    """All that is recorded of one planted cause of lost AP.

    Attributes:
        seconds: that its diagnosis took.
        islands: what a user could keep in FP32, with the `stratum_share` of the recipes that stand for it.
    """

    name: str
    seconds: float
    reference: Recipe
    default: Recipe
    proposals: Sequence[Recipe]
    pool: Sequence[Recipe]
    islands: Mapping[str, float]

    @property
    def strata(self) -> Mapping[float, Sequence[Recipe]]:
        """The pool by the share of all draws that each part of it stands for, the commonest first."""
        shares = sorted({recipe.stratum_share for recipe in self.pool}, reverse=True)
        return {share: [recipe for recipe in self.pool if recipe.stratum_share == share] for share in shares}

    def draw(self, rng: random.Random) -> Recipe:
        """A recorded recipe that stands for a new random one: a part by its share, and one of that part."""
        strata = self.strata
        (share,) = rng.choices(list(strata), weights=list(strata))
        return rng.choice(strata[share])


def read_causes(file: Path) -> list[Cause]:
    """The causes of a table that have an FP32 arm, a default recipe, a diagnosis and a pool; in the table's order."""
    table = pd.read_csv(file, keep_default_na=False)
    islands = pd.read_csv(file.with_name("planted_islands.csv")).groupby("cause")
    found = []
    for name, part in table.groupby("cause", sort=False):
        diagnosis, rows = part[part.recipe == DIAGNOSIS], part[part.recipe != DIAGNOSIS]
        arms = rows[rows.recipe.isin((REFERENCE, DEFAULT)) & (rows.split == "eval")]
        step = float((arms.device_seconds / arms.steps).median())
        recipes = {str(recipe): _recipe(str(recipe), runs, step) for recipe, runs in rows.groupby("recipe", sort=False)}
        searched = {recipe: known for recipe, known in recipes.items() if known.search}
        proposals = sorted(recipe for recipe in searched if recipe.startswith(PROPOSAL))
        drawn = searched.keys() - {REFERENCE, DEFAULT, *proposals}
        if diagnosis.empty or not {REFERENCE, DEFAULT} <= searched.keys() or not recipes[REFERENCE].judged or not drawn:
            continue
        found.append(
            Cause(
                name=str(name),
                seconds=float(diagnosis.device_seconds.iloc[0]),
                reference=searched.pop(REFERENCE),
                default=searched.pop(DEFAULT),
                proposals=[searched.pop(recipe) for recipe in proposals],
                pool=list(searched.values()),
                islands=_islands(islands.get_group(str(name)), {known.stratum_share for known in searched.values()}),
            )
        )
    return found


def _islands(rows: pd.DataFrame, recorded: set[float]) -> dict[str, float]:
    """Those of whose kind a recipe was recorded, by their labels; `UNCHANGED` for none."""
    shares = dict(zip(rows.island, rows.stratum_share, strict=True))
    return {
        str(island) if json.loads(island) else UNCHANGED: share for island, share in shares.items() if share in recorded
    }


def _recipe(name: str, rows: pd.DataFrame, step: float) -> Recipe:
    first = rows.iloc[0]
    full = rows[rows.fidelity == 1]
    return Recipe(
        name=name,
        changes={key: _label(value) for key, value in json.loads(first.changes).items()},
        in_half=float(first.flops_in_half),
        search=_runs(full[full.split == "search"], step),
        compressed=_runs(rows[(rows.split == "search") & (rows.fidelity < 1)], step),
        judged=_runs(full[full.split == "eval"], step),
        stratum_share=float(first.get("stratum_share") or 1.0),
    )


def _runs(rows: pd.DataFrame, step: float) -> list[Run]:
    return [
        Run(
            seed=int(row.seed),
            ap=float(row.ap),
            seconds=float(row.steps) * step,
            curve={int(epoch): ap for epoch, ap in json.loads(row.curve).items()} or {1: float(row.ap)},
        )
        for row in rows.sort_values("seed").itertuples()
    ]


def _label(value: Any) -> Label:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number else json.dumps(value, sort_keys=True)


def space_of(recipes: Iterable[Recipe], default: Recipe, islands: Iterable[str]) -> Space:
    """The space that these recipes lie in: ranges of what takes many numbers, choices of what takes few values.

    Args:
        islands: that are options too, also where no recipe has one.
    """
    recipes = [default, *recipes]
    words: dict[str, Range | Choice] = {}
    for name in dict.fromkeys([*(name for recipe in recipes for name in recipe.changes), ISLANDS]):
        found = {recipe.changes[name] for recipe in recipes if name in recipe.changes}
        values = sorted(found | (set(islands) - {UNCHANGED} if name == ISLANDS else set()), key=str)
        numbers = [value for value in values if not isinstance(value, str)]
        if len(numbers) == len(values) > _FEW:
            low, high = min(numbers), max(numbers)
            integer = all(isinstance(value, int) for value in numbers)
            words[name] = Range(low, high, log=low > 0, integer=integer)
        else:
            unchanged = [] if all(name in recipe.changes for recipe in recipes) else [UNCHANGED]
            words[name] = Choice(tuple((str(value), value) for value in [*unchanged, *values]))
    return Space(words, labels(default, words))


UNCHANGED = "as in the default"
_FEW = 6  # different values, of which a draw from a range of numbers has more


def labels(recipe: Recipe, words: Mapping[str, Range | Choice]) -> dict[str, Label]:
    """The recipe's point among those words; where it changes nothing, the middle stands for the default's number."""
    return {
        name: word.encode(recipe.changes.get(name, _middle(word) if isinstance(word, Range) else UNCHANGED))
        for name, word in words.items()
    }


def _middle(word: Range) -> float:
    middle = math.sqrt(word.low * word.high) if word.log else (word.low + word.high) / 2
    return round(middle) if word.integer else middle


def distance(one: Mapping[str, Label], other: Mapping[str, Label], words: Mapping[str, Range | Choice]) -> float:
    """Sum over the words: 1 for different options, the share of the range for numbers."""
    return sum(
        _part(word, one[name], other[name]) if isinstance(word, Range) else float(one[name] != other[name])
        for name, word in words.items()
    )


def _part(word: Range, *ends: Label) -> float:
    scale = math.log if word.log else float
    low, high = sorted(scale(float(end)) for end in ends)
    return (high - low) / (scale(word.high) - scale(word.low))


def mean_seconds(runs: Iterable[Run]) -> float:
    return statistics.fmean(run.seconds for run in runs)

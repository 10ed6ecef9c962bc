"""The benchmark of search on a small made-up table: what each method pays, and what counts as closed."""

import csv
import json
import math
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from matplotlib.figure import Figure
from optuna.pruners import NopPruner

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from recorded_runs import Cause, Recipe, read_causes
from search_efficiency import closing_curves
from search_methods import (
    THIRD_FIRST,
    TRIALS,
    VARIANTS,
    Closed,
    Replay,
    diagnosed,
    random_search,
    undiagnosed,
    without_diagnosis,
)
from search_outcomes import DIAGNOSED, METHODS, RANDOM, by_cause, expected_seconds, ratios, repeat
from search_report import report

from workspace.search.strategy import Rules

RULES = Rules(margin=3.0)
IN_HALF = {"none": 1.0, "backbone": 0.3, "neck": 0.95, "head": 0.8}
SECONDS, DIAGNOSIS, JUDGED = 10.0, 4.0, 4
FP32 = 60.0


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


class Table:
    """Rows of causes that one island mends; AP falls with the distance from the default rate too."""

    def __init__(self) -> None:
        self.rows: list[list[Any]] = []
        self.shares: dict[str, dict[str, float]] = {}  # of all draws that are of that island's kind
        self._draw = random.Random(0)

    def add(self, cause: str, recipe: str, island: str, ap: float, *, split: str = "search", seeds: int = 1) -> None:
        changes = {"fp32_islands": island, "lr": 0.003 * (1 + len(self.rows) / 100)}
        for seed in range(seeds):
            final = ap + self._draw.gauss(0, 0.3)
            curve = json.dumps({epoch: final * math.sqrt(epoch / 3) for epoch in (1, 2, 3)})
            share = 0.0 if recipe == "fp32" else IN_HALF[island]
            row = [cause, recipe, json.dumps(changes), 1, seed, split, final, curve, SECONDS, 300, share, 0]
            self.rows.append([*row, self.shares[cause][island] if recipe.startswith("random") else ""])

    def add_cause(self, cause: str, mends: str, proposes: str, *, pool: tuple[str, ...]) -> None:
        def ap(island: str) -> float:
            return FP32 if island == mends else FP32 - 30

        self.shares[cause] = {island: 0.25 if island == mends else 0.75 for island in IN_HALF}
        self.rows.append([cause, "diagnosis", "{}", 1, 0, "search", 0, "{}", DIAGNOSIS, 0, 0, 0, ""])
        for recipe, island in {"default": "none", "proposal-1": proposes}.items():
            self.add(cause, recipe, island, ap(island), seeds=2)
            self.add(cause, recipe, island, ap(island), split="eval", seeds=JUDGED)
        self.add(cause, "fp32", "none", FP32, seeds=2)
        self.add(cause, "fp32", "none", FP32, split="eval", seeds=JUDGED)
        for number, island in enumerate(pool):
            self.add(cause, f"random-{number}", island, ap(island))
            if ap(island) == FP32:
                self.add(cause, f"random-{number}", island, ap(island), split="eval", seeds=JUDGED)

    def compress(self, ap: Callable[[float], float]) -> None:
        """Adds a third of the schedule to each recipe's first run of a search, with that AP for the full run's."""
        found = [row for row in self.rows if row[1] not in ("fp32", "diagnosis") and row[4:6] == [0, "search"]]
        self.rows += [[*row[:3], 0.333, 0, "search", ap(row[6]), "{}", SECONDS / 3, 100, *row[10:]] for row in found]

    def causes(self, folder: Path) -> list[Cause]:
        file = folder / "runs.csv"
        with file.open("w", newline="") as out:
            writer = csv.writer(out)
            fields = "cause,recipe,changes,fidelity,seed,split,ap,curve,device_seconds,steps,flops_in_half,diverged"
            writer.writerows([[*fields.split(","), "stratum_share"], *self.rows])
        with file.with_name("planted_islands.csv").open("w", newline="") as out:
            writer = csv.writer(out)
            writer.writerow(["cause", "island", "stratum_share"])
            for cause, shares in self.shares.items():
                writer.writerows([cause, json.dumps(island), share] for island, share in shares.items())
        return read_causes(file)


POOL = ("none", "backbone", "neck", "backbone", "none", "neck", "head", "none", "backbone", "neck")


@pytest.fixture
def head(tmp_path: Path) -> Cause:
    table = Table()
    table.add_cause("head loses it", "head", "head", pool=POOL)
    return table.causes(tmp_path)[0]


def test_a_diagnosis_that_is_right_costs_itself_and_the_verdict(head: Cause) -> None:
    replay = Replay(head, RULES)
    with pytest.raises(Closed):
        diagnosed(replay, seed=0)
    assert replay.by == "proposal-1"
    assert replay.seconds == DIAGNOSIS + SECONDS * JUDGED


def test_a_proposal_that_is_searched_first_costs_its_trials_too(head: Cause) -> None:
    replay = Replay(head, RULES)
    with pytest.raises(Closed):
        VARIANTS["diagnosed, searched before it is judged"](replay, 0)
    seeds = 1 if head.proposals[0].search[0].ap >= head.reference.search[0].ap else 2
    assert replay.seconds == DIAGNOSIS + SECONDS * (2 * seeds + JUDGED)


def test_a_diagnosis_that_is_wrong_costs_a_run_and_a_search(tmp_path: Path) -> None:
    table = Table()
    table.add_cause("head loses it", "head", "neck", pool=POOL)
    replay = Replay(table.causes(tmp_path)[0], RULES)
    with pytest.raises(Closed):
        diagnosed(replay, seed=0)
    assert replay.by == "random-6"
    assert replay.judging == SECONDS * (1 + JUDGED)
    assert replay.seconds > DIAGNOSIS + SECONDS * (1 + JUDGED)


def test_a_sampler_has_all_islands_to_choose_from(tmp_path: Path) -> None:
    table = Table()
    table.add_cause("head loses it", "head", "neck", pool=("none", "none", "none", "head"))  # none for the others
    (cause,) = table.causes(tmp_path)
    asked: list[dict[str, Any]] = []

    class Asked(optuna.samplers.RandomSampler):
        def after_trial(self, study: Any, trial: Any, state: Any, values: Any) -> None:
            if state == optuna.trial.TrialState.FAIL:
                asked.append(trial.params)

    outcomes = repeat(cause, "", undiagnosed(lambda seed: Asked(seed=seed), lambda _: NopPruner()), RULES, 10)
    islands = [params["fp32_islands"] for params in asked]
    assert set(islands) == set(cause.islands) == {json.dumps(island) for island in IN_HALF}
    assert islands.count('"head"') == 10  # each repetition closes at the first that holds what is lost
    assert {outcome.by for outcome in outcomes} == {"random-3"}


def test_a_random_search_pays_for_all_until_the_one_that_closes(head: Cause) -> None:
    outcomes = repeat(head, RANDOM, random_search, RULES, 10)
    assert {outcome.by for outcome in outcomes} == {"random-6"}
    trials = [(outcome.seconds / SECONDS) - 1 - JUDGED for outcome in outcomes]
    assert all(trial in range(1, TRIALS + 1) for trial in trials)
    assert len(set(trials)) > 3


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_what_leaves_too_little_in_half_is_not_closed(method: Callable[[Replay, int], None], tmp_path: Path) -> None:
    table = Table()
    table.add_cause("backbone loses it", "backbone", "backbone", pool=POOL)
    replay = Replay(table.causes(tmp_path)[0], RULES)
    method(replay, 0)
    assert replay.by is None
    assert replay.seconds > SECONDS * TRIALS / 3  # it went on to the end


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_recipe_without_a_verdict_is_paid_and_does_not_close(
    method: Callable[[Replay, int], None], tmp_path: Path
) -> None:
    table = Table()
    table.add_cause("head loses it", "head", "neck", pool=POOL)
    table.rows = [row for row in table.rows if not (row[1] == "random-6" and row[5] == "eval")]
    replay = Replay(table.causes(tmp_path)[0], RULES)
    method(replay, 0)
    assert replay.by is None
    assert replay.unknown >= 1
    assert replay.seconds >= SECONDS * (1 + JUDGED)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_repetition_is_a_function_of_its_seed(method: Callable[[Replay, int], None], tmp_path: Path) -> None:
    table = Table()
    table.add_cause("head loses it", "head", "neck", pool=POOL)
    (cause,) = table.causes(tmp_path)
    first, again = (repeat(cause, "", method, RULES, 3) for _ in range(2))
    assert first == again
    assert all(outcome.by == "random-6" for outcome in first)


def test_the_report_compares_what_was_spent(tmp_path: Path) -> None:
    table = Table()
    table.add_cause("head loses it", "head", "head", pool=POOL)
    table.add_cause("never closed by chance", "neck", "neck", pool=("none", "backbone", "head", "none"))
    causes = table.causes(tmp_path)
    outcomes = pd.DataFrame(
        outcome
        for cause in causes
        for name, method in {**METHODS, **VARIANTS}.items()
        for outcome in repeat(cause, name, method, RULES, 4)
    )
    seconds, closed = by_cause(outcomes, RANDOM)
    assert closed.tolist() == [[1] * 4, [0] * 4]
    random = expected_seconds(seconds, closed)
    assert random.tolist() == seconds.mean(axis=1).tolist()
    closed[0, :2] = 0  # two that spent without closing are paid by the two that closed
    assert expected_seconds(seconds, closed)[0] == 2 * random[0]
    found = ratios(outcomes, RANDOM, np.random.default_rng(0))
    ours = expected_seconds(*by_cause(outcomes, DIAGNOSED))
    assert found["all"][0] == pytest.approx(random.sum() / ours.sum())
    assert found["typical"][0] == pytest.approx(math.sqrt(math.prod(random / ours)))
    for value, low, high in (found["all"], found["typical"], *found["each"]):
        assert low <= value <= high
    said = report(outcomes, causes, RULES, "a command")
    assert "| never closed by chance | 4 | proposal-1 |" in said
    assert f"| > {SECONDS * (1 + TRIALS):.0f} (0 of 4) | > " in said
    ax = closing_curves(Figure().subplots(), outcomes[outcomes.method.isin(METHODS)], np.random.default_rng(0))
    assert len(ax.lines) == len(METHODS)


class Watched(Replay):
    """A replay that remembers which runs were paid."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause, RULES)
        self.trained: list[str] = []
        self.compressed: list[str] = []

    def train(self, recipe: Recipe, **options: Any) -> float | None:
        self.trained.append(recipe.name)
        return super().train(recipe, **options)

    def compress(self, recipe: Recipe) -> float:
        self.compressed.append(recipe.name)
        return super().compress(recipe)


def played(table: Table, folder: Path) -> Watched:
    """A search that never closes, with a third of the schedule first."""
    replay = Watched(table.causes(folder)[0])
    VARIANTS[THIRD_FIRST](replay, 0)
    assert replay.by is None
    return replay


def unsolved() -> Table:
    table = Table()
    table.add_cause("never closed by chance", "neck", "neck", pool=("none", "backbone", "head", "none"))
    return table


def test_a_third_of_the_schedule_is_paid_and_selects_where_it_ranks(tmp_path: Path) -> None:
    table = unsolved()
    table.compress(lambda ap: ap / 2)
    replay = played(table, tmp_path)
    assert len(replay.compressed) == TRIALS  # the default recipe's among them
    full = len(replay.trained)  # the reference's among them, and those that are pruned later
    assert 4 < full - 1 < TRIALS
    assert SECONDS / 3 * TRIALS < replay.seconds <= SECONDS / 3 * TRIALS + SECONDS * full


def test_a_third_of_the_schedule_that_ranks_nothing_is_given_up(tmp_path: Path) -> None:
    table = unsolved()
    table.compress(lambda ap: 100 - ap)
    replay = played(table, tmp_path)
    assert len(replay.trained) - 1 == TRIALS
    assert 8 <= len(replay.compressed) < TRIALS


def test_a_recipe_without_a_compressed_run_has_its_full_run_at_once(tmp_path: Path) -> None:
    replay = played(unsolved(), tmp_path)
    plain = Replay(replay.cause, RULES)
    without_diagnosis(plain, 0)
    assert replay.compressed == []
    assert replay.seconds == plain.seconds

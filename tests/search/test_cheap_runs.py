"""Cheap runs before a trial's full one: what they are, when they select, and when they are given up."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from small_search import open_study

from workspace.detectors import detector
from workspace.errors import UserError
from workspace.search import CHEAP, Fidelity, Study, default_url
from workspace.search.pruning import PromotingPruner, percentile_pruner

THIRD = Fidelity("schedule", Fraction(1, 3))


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    """What a process has written outlives it without; only a power cut needs it."""

    def relax(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA synchronous = OFF")

    sqlalchemy.event.listen(sqlalchemy.Engine, "connect", relax)
    yield
    sqlalchemy.event.remove(sqlalchemy.Engine, "connect", relax)


@pytest.mark.parametrize(
    ("text", "kind", "share", "said"),
    [
        ("schedule=1/3", "schedule", Fraction(1, 3), "schedule=1/3"),
        ("data=0.25", "data", Fraction(1, 4), "data=1/4"),
        ("schedule=2/6", "schedule", Fraction(1, 3), "schedule=1/3"),
    ],
)
def test_a_fidelity_is_a_kind_and_a_share(text: str, kind: str, share: Fraction, said: str) -> None:
    found = Fidelity.parse(text)
    assert (found.kind, found.share, str(found)) == (kind, share, said)


@pytest.mark.parametrize(
    "text",
    ["", "1/3", "schedule", "schedule=", "schedule=0", "schedule=1", "data=4/3", "data=-1/3", "data=1/0", "s=1/3"],
)
def test_anything_else_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UserError, match=r"--fidelity .*: give schedule or data and a share .* schedule=1/3") as refused:
        Fidelity.parse(text)
    assert "\n" not in str(refused.value)


def test_a_compressed_schedule_has_a_share_of_steps_and_warmup() -> None:
    demo, full = detector("fcos").demo.recipe, detector("fcos").full.recipe
    shorter = THIRD.recipe(demo, epochs=24, pictures=400)
    assert (shorter.steps, shorter.epochs, shorter.warmup_steps) == (400, None, 40)
    assert (demo.steps, demo.warmup_steps) == (1200, 120)
    assert (shorter.lr, shorter.milestones, shorter.batch_size) == (demo.lr, demo.milestones, demo.batch_size)
    assert full.epochs == 12
    assert THIRD.recipe(full, epochs=12, pictures=400).epochs == 4
    assert THIRD.recipe(full, epochs=12, pictures=400).milestones == full.milestones


def test_a_part_of_the_data_is_seen_as_often_as_the_whole() -> None:
    demo, full = detector("fcos").demo.recipe, detector("fcos").full.recipe
    for pictures in (133, 134, 8, 1):
        fewer = Fidelity.parse("data=1/3").recipe(demo, epochs=24, pictures=pictures)
        assert fewer.epochs_on(pictures) == 24
        assert fewer.epochs is None
        assert fewer.warmup_steps == 40
    assert Fidelity.parse("data=1/3").recipe(full, epochs=12, pictures=40).epochs == 12


def finish(study: Study, trials: Iterable[tuple[float, float]]) -> list[bool]:
    """Trains trials with the AP of their cheap and of their full run; for each, whether it was promoted."""
    promoted = []
    for cheap, full in trials:
        number = study.ask().number
        promoted.append(not study.report(number, CHEAP, cheap))
        if promoted[-1]:
            study.finish(number, full)
        else:
            study.prune(number)
    return promoted


def test_trials_are_selected_only_once_four_have_shown_that_they_may_be(tmp_path: Path) -> None:
    with open_study(tmp_path, fidelity=THIRD) as study:
        assert finish(study, [(20, 50), (18, 48), (16, 46)]) == [True] * 3
        assert finish(study, [(1, 40)]) == [True]  # three do not show it yet
        selection = study.selection()
        assert selection is not None
        assert (selection.trials, selection.is_by_cheap_runs, selection.is_given_up) == (4, True, False)
        assert finish(study, [(16.5, 45), (17.5, 47), (2, 41)]) == [False, True, False]
        assert study.trials()[4].state == "pruned"
        assert study.trials()[4].value == 16.5
        found = study.selection()
        assert found is not None
        assert found.ranks is not None
        assert found.to_json() == {
            "fidelity": "schedule=1/3",
            "trials": 5,
            "tau": found.ranks.tau,
            "p_value": found.ranks.p_value,
            "enough": True,
            "given_up": False,
            "not_promoted": 2,
        }
        assert study.ranks() == {}


def test_where_ranks_do_not_agree_all_are_promoted_and_cheap_runs_are_given_up(tmp_path: Path) -> None:
    pairs = [(float(20 + (-1) ** n * n), 50.0 - n) for n in range(8)]
    with open_study(tmp_path, fidelity=THIRD) as study:
        for count, pair in enumerate(pairs):
            selection = study.selection()
            assert selection is not None
            assert (selection.trials, selection.is_given_up) == (count, False)
            assert finish(study, [pair]) == [True]
        selection = study.selection()
        assert selection is not None
        assert selection.is_given_up
        study.finish(study.ask().number, 50.0)
        assert study.selection() == selection


def test_runs_that_do_not_differ_select_nothing(tmp_path: Path) -> None:
    with open_study(tmp_path, fidelity=THIRD) as study:
        assert finish(study, [(0.0, 0.0)] * 8) == [True] * 8
        selection = study.selection()
        assert selection is not None
        assert selection.ranks is None
        assert selection.is_given_up


def test_what_comes_first_and_the_default_recipe_are_always_promoted(tmp_path: Path) -> None:
    with open_study(tmp_path, fidelity=THIRD) as other:
        first = [{**other.space.default, "lr": lr} for lr in (0.02, 0.03)]
    with open_study(tmp_path, fidelity=THIRD, first=first) as study:
        held_back = [study.ask().number for _ in range(3)]  # two of them, and the default
        finish(study, [(20, 50), (18, 48), (16, 46), (1, 40)])
        assert [study.report(number, CHEAP, 0.0) for number in held_back] == [False] * 3
        assert finish(study, [(0.5, 39)]) == [False]


def test_the_full_run_is_judged_by_its_own_reports(tmp_path: Path) -> None:
    with open_study(tmp_path, fidelity=THIRD) as study:
        for ap in (50.0, 51.0, 52.0, 53.0):
            number = study.ask().number
            study.report(number, CHEAP, ap)
            study.report(number, 2, ap / 2)
            study.finish(number, ap)
        number = study.ask().number
        assert not study.report(number, CHEAP, 60.0)
        assert study.report(number, 2, 1.0)  # however good its cheap run was
        assert study.report(number, 2, 1.0)
        assert not study.report(number, CHEAP, 60.0)


def test_optuna_s_own_trials_are_judged_the_same() -> None:
    """As the replay of recorded runs asks."""
    study = optuna.create_study(direction="maximize", pruner=PromotingPruner(percentile_pruner(2)))
    for ap in (50.0, 51.0, 52.0, 53.0):
        trial = study.ask()
        trial.report(ap, CHEAP)
        trial.report(ap / 2, 2)
        study.tell(trial, ap)
    trial = study.ask()
    trial.report(60.0, CHEAP)
    assert not trial.should_prune()
    trial.report(1.0, 2)
    assert trial.should_prune()


def test_only_a_study_that_has_a_fidelity_is_named_by_it(tmp_path: Path) -> None:
    half = Fidelity.parse("schedule=1/2")
    names = set()
    for fidelity in (None, THIRD, half, Fidelity.parse("data=1/2")):
        with open_study(tmp_path, fidelity=fidelity) as study:
            names.add(study.name)
            attrs = optuna.load_study(study_name=study.name, storage=default_url(tmp_path)).user_attrs
            assert attrs.get("fidelity") == (None if fidelity is None else str(fidelity))
    assert len(names) == 4
    with open_study(tmp_path) as plain:
        assert plain.selection() is None
        assert plain.name == "s-d4e62cbb"

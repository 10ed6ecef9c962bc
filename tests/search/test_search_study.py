import itertools
import math
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from small_search import DEFAULTS, SPACE, STEPS, TRIALS, open_study, search

from workspace.search import Study, TrialRow, default_url, log_uniform, resolve


@pytest.fixture(scope="module", autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    """What a process has written outlives it without; only a power cut needs it."""

    def relax(connection: sqlite3.Connection, _: Any) -> None:
        connection.execute("PRAGMA synchronous = OFF")

    sqlalchemy.event.listen(sqlalchemy.Engine, "connect", relax)
    yield
    sqlalchemy.event.remove(sqlalchemy.Engine, "connect", relax)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> list[TrialRow]:
    with open_study(tmp_path_factory.mktemp("uninterrupted")) as study:
        search(study)
        return study.trials()


class Killed(BaseException):
    pass


@pytest.fixture
def allow_writes() -> Iterator[Callable[[int], None]]:
    """Sets how many more transactions are committed before the process is as good as killed.

    All that outlives a process is what it committed, so dying between any two commits is dying anywhere.
    """
    left = math.inf
    writing = False
    here = threading.get_ident()

    def elsewhere() -> bool:
        """In a thread that another test's tracker still writes from."""
        return threading.get_ident() != here

    def before_statement(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        nonlocal writing
        if statement.split(maxsplit=1)[0] in ("INSERT", "UPDATE", "DELETE", "CREATE") and not elsewhere():
            if left <= 0:
                raise Killed
            writing = True

    def committed(connection: Any) -> None:
        nonlocal left, writing
        if not elsewhere():
            left -= writing
            writing = False

    def rolled_back(connection: Any) -> None:
        nonlocal writing
        if not elsewhere():
            writing = False

    def allow(writes: int) -> None:
        nonlocal left
        left = writes

    listeners = {"before_cursor_execute": before_statement, "commit": committed, "rollback": rolled_back}
    for event, listener in listeners.items():
        sqlalchemy.event.listen(sqlalchemy.Engine, event, listener)
    yield allow
    for event, listener in listeners.items():
        sqlalchemy.event.remove(sqlalchemy.Engine, event, listener)


def test_the_search_exercises_what_it_should(uninterrupted: list[TrialRow]) -> None:
    states = [row.state for row in uninterrupted]
    assert states.count("failed") == 1
    assert states.count("pruned") >= 2
    assert states.count("finished") >= 5
    assert max(row.value or 0 for row in uninterrupted[6:]) > max(row.value or 0 for row in uninterrupted[:6])
    assert len({row.labels["lr"] for row in uninterrupted}) == TRIALS


def test_a_search_killed_at_every_point_is_the_same(
    tmp_path: Path, allow_writes: Callable[[int], None], uninterrupted: list[TrialRow]
) -> None:
    # Asking a trial of TPE's to the end begins with a write that was made before: every other life needs two.
    for life, writes in enumerate(itertools.cycle((1, 2))):
        assert life < 300, "no progress"
        allow_writes(writes)
        study = None
        try:
            study = open_study(tmp_path)
            search(study)
            break
        except Killed:
            pass
        finally:
            if study:
                rows = study.trials()
                study.close()
    assert life > 100
    assert rows == uninterrupted


def test_a_longer_search_begins_with_the_shorter_one(tmp_path: Path, uninterrupted: list[TrialRow]) -> None:
    for trials in (4, 9, TRIALS):
        with open_study(tmp_path) as study:
            search(study, trials)
            assert study.trials() == uninterrupted[:trials]


def test_a_half_asked_trial_gets_the_rest_it_would_have_had(tmp_path: Path, uninterrupted: list[TrialRow]) -> None:
    for number in (2, 10):  # a random one, and one of TPE's
        with open_study(tmp_path) as study:
            search(study, number)
            study.ask()
        with sqlite3.connect(tmp_path / "optuna.db") as database:
            database.execute("DELETE FROM trial_params WHERE param_id IN (SELECT MAX(param_id) - 1 FROM trial_params)")
        with open_study(tmp_path) as study:
            (trial,) = study.resume()
            assert (trial.number, trial.labels) == (number, uninterrupted[number].labels)
            assert study.trials()[number].labels == trial.labels


def test_the_default_recipe_comes_first_and_once(tmp_path: Path) -> None:
    with open_study(tmp_path) as study:
        assert [row.state for row in study.trials()] == ["waiting"]
    with open_study(tmp_path) as study:
        trial = study.ask()
        assert trial.number == 0
        assert trial.params == {name: DEFAULTS[name] for name in SPACE.words}
        assert study.ask().labels != trial.labels
    with open_study(tmp_path) as study:
        assert [again.number for again in study.resume()] == [0, 1]
        assert study.resume()[0] == trial
        assert study.ask().number == 2


def test_points_that_are_given_precede_the_default_and_the_sampler_s(
    tmp_path: Path, allow_writes: Callable[[int], None]
) -> None:
    first = [{**SPACE.default, "islands": "head"}, {**SPACE.default, "lr": 0.04}]
    study = None
    for _ in range(100):  # a kill anywhere while they are stored loses none and doubles none
        allow_writes(2)
        try:
            study = open_study(tmp_path, first=first)
            break
        except Killed:
            continue
    assert study is not None
    allow_writes(1000)
    with study:
        assert len(study.trials()) == 3
        assert [study.ask().labels for _ in range(3)] == [*first, SPACE.default]
        assert study.ask().labels["lr"] not in (SPACE.default["lr"], 0.04)
        assert study.trial(1).params == SPACE.decode(first[1])
    with open_study(tmp_path, first=first) as study:
        assert len(study.resume()) == 4
    with open_study(tmp_path) as other:
        assert other.name != study.name
        assert len(other.trials()) == 1


def test_trials_running_side_by_side_differ(tmp_path: Path) -> None:
    with open_study(tmp_path) as study:
        search(study, 8)
        together = [study.ask() for _ in range(4)]
        assert len({trial.labels["lr"] for trial in together}) == 4
    with open_study(tmp_path) as study:
        assert study.resume() == together


def test_seeds_differ(tmp_path: Path) -> None:
    asked = []
    for seed in (1, 2):
        with open_study(tmp_path, seed=seed) as study:
            study.ask()
            asked.append(study.ask().labels)
    assert asked[0] != asked[1]


def test_a_changed_question_is_another_study(tmp_path: Path) -> None:
    wider = resolve({"lr": log_uniform(1e-5, 1)}, DEFAULTS)
    variants: list[dict[str, Any]] = [{}, {"identity": {"images": 3}}, {"seed": 8}, {"space": wider}, {"name": "other"}]
    names = set()
    for variant in variants:
        with open_study(tmp_path, **variant) as study:
            study.ask()
            assert [row.number for row in study.trials()] == [0]
            names.add(study.name)
    assert len(names) == len(variants)
    with open_study(tmp_path, identity={"images": 3}) as study:
        assert study.name in names
        stored = optuna.load_study(study_name=study.name, storage=default_url(tmp_path)).user_attrs
        assert stored["identity"] == {"images": 3}
        assert stored["space"] == SPACE.describe()


def settled_study(tmp_path: Path, finals: list[float]) -> Study:
    study = open_study(tmp_path)
    for final in finals:
        trial = study.ask()
        for step in range(1, STEPS + 1):
            study.report(trial.number, step, final)
        study.finish(trial.number, final)
    return study


def test_pruning_needs_four_finished_trials_and_the_first_step(tmp_path: Path) -> None:
    with settled_study(tmp_path, [50, 51, 52]) as study:
        bad = study.ask().number
        assert [study.report(bad, step, 1.0) for step in (1, 2, 3)] == [False, False, False]
        study.finish(bad, 49)
        bad = study.ask().number
        assert [study.report(bad, step, 1.0) for step in (1, 2, 3)] == [False, True, True]
        fair = study.ask().number
        assert [study.report(fair, step, 50.5) for step in (1, 2, 3)] == [False, False, False]
        broken = study.ask().number
        assert [study.report(broken, step, math.nan) for step in (1, 2)] == [False, True]


def test_a_ranked_study_prunes_only_where_early_ap_ranks_as_the_final_one(tmp_path: Path) -> None:
    finals = [50.0, 51.0, 52.0, 53.0]
    with open_study(tmp_path, ranked=True) as study:
        for final in finals:
            number = study.ask().number
            for step, value in ((2, -final), (3, final), (4, final)):  # step 2 says the opposite of the end
                study.report(number, step, 100 + value)
            study.finish(number, final)
        bad = study.ask().number
        assert [study.report(bad, step, 1.0) for step in (2, 3)] == [False, True]
        assert {step: ranks.agree for step, ranks in study.ranks().items()} == {2: False, 3: True}
        assert study.ranks()[3].tau == -study.ranks()[2].tau == 1
        assert study.ranks()[3].p_value == pytest.approx(1 / 24)
    with open_study(tmp_path) as plain:
        assert plain.name != study.name
        assert plain.ranks() == {}


def test_values_that_do_not_differ_rank_nothing(tmp_path: Path) -> None:
    with open_study(tmp_path, ranked=True) as study:
        for _ in range(4):
            number = study.ask().number
            study.report(number, 2, 0.0)
            study.report(number, 4, 0.0)
            study.finish(number, 0.0)
        assert study.ranks() == {}
        assert not study.report(study.ask().number, 2, -1.0)


def test_reporting_again_changes_nothing_and_answers_the_same(tmp_path: Path) -> None:
    with settled_study(tmp_path, [50, 51, 52, 53]) as study:
        number = study.ask().number
        reports = [(1, 1.0), (2, 1.0), (3, 60.0)]
        answers = [study.report(number, step, value) for step, value in reports]
        assert answers == [False, True, False]
        assert [study.report(number, step, 99.0) for step, _ in reports] == answers
        assert study.trials()[number].reports == dict(reports)
        study.prune(number)
        assert study.report(number, 4, 99.0)
        assert study.trials()[number].reports == dict(reports)
        assert not study.report(0, 5, 1.0)


def test_the_default_recipe_is_never_pruned(tmp_path: Path) -> None:
    with open_study(tmp_path) as study:
        default = study.ask().number
        for final in (50, 51, 52, 53):
            other = study.ask().number
            study.report(other, 2, final)
            study.finish(other, final)
        assert not study.report(default, 2, 0.0)


def test_a_settled_trial_stays_as_it_is(tmp_path: Path) -> None:
    with open_study(tmp_path) as study:
        study.annotate(study.ask().number, signature="0123")
        study.finish(0, 40.0)
        pruned, failed, diverged = (study.ask().number for _ in range(3))
        study.report(pruned, 1, 3.0)
        study.prune(pruned)
        study.fail(failed, "out of memory")
        study.finish(diverged, math.nan)
        for number in (0, pruned, failed, diverged):
            study.finish(number, 99.0)
            study.prune(number)
            study.fail(number, "another reason")
        study.annotate(0, signature="0123")  # what is there already may be said again
        assert [(row.state, row.value, row.attrs) for row in study.trials()] == [
            ("finished", 40.0, {"signature": "0123"}),
            ("pruned", 3.0, {}),
            ("failed", None, {"reason": "out of memory"}),
            ("failed", None, {"reason": "the objective is nan"}),
        ]


def test_best_is_a_finished_trial_and_the_first_of_equals(tmp_path: Path) -> None:
    with open_study(tmp_path) as study:
        assert study.best() is None
        trials = [study.ask() for _ in range(5)]
        study.report(1, 1, 90.0)
        study.prune(1)
        study.fail(2, "killed")
        assert study.best() is None
        for number, final in ((4, 51.0), (3, 51.0), (0, 50.0)):
            study.finish(number, final)
        assert study.best() == trials[3]


def test_optuna_is_quiet(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from test_search_study import open_study, search
with open_study(Path({str(tmp_path)!r})) as study:
    search(study, 7)
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert (ran.stdout, ran.stderr) == ("", "")

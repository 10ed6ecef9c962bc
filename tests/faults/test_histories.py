"""Whatever happens to a sweep, it ends as if nothing had happened."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from agreement import contradictions, differences
from broken_tracking import Breakdown, broken_server
from histories import EXPERIMENT, SIZE, live_through
from synthetic_runs import answer_of, play, without_cost

from workspace.journal import JournalWriter

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")  # of MLflow's models


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("undisturbed") / "work"
    play(EXPERIMENT, work, *SIZE)
    return work


def test_a_sweep_that_nothing_disturbs_agrees_with_itself(undisturbed: Path) -> None:
    assert contradictions(undisturbed) == []


def lose_a_line(work: Path) -> str:
    file = finished_run(work) / "events.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:2] + lines[3:]))
    return "has lost steps of its journal"


def train_again(work: Path) -> str:
    journal = JournalWriter(finished_run(work))
    journal.write("start", step=0, epoch=0)
    journal.close()
    return "was trained again"


def forget_in_study(work: Path) -> str:
    with closing(sqlite3.connect(work / "optuna.db")) as database, database:
        database.execute("update trials set state = 'RUNNING' where number = 2")
    return "trial 2 is RUNNING"


def lose_points(work: Path) -> str:
    with closing(sqlite3.connect(work / "mlflow" / "mlflow.db")) as database, database:
        database.execute("delete from metrics where key = 'train/loss' and step = 3")
    return "has another curve in MLflow than in its journal"


def finished_run(work: Path) -> Path:
    return next(file.parent for file in sorted(work.glob("runs/*/result.json")))


@pytest.mark.parametrize("tamper", [lose_a_line, train_again, forget_in_study, lose_points])
def test_what_is_lost_is_noticed(tamper: Callable[[Path], str], undisturbed: Path, tmp_path: Path) -> None:
    shutil.copytree(undisturbed, tmp_path / "work")
    expected = tamper(tmp_path / "work")
    assert any(expected in found for found in contradictions(tmp_path / "work"))


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 5))])
def test_a_history_of_faults_changes_nothing(seed: int, undisturbed: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    live_through(work, seed, kills=4)
    assert differences(undisturbed, work) == []
    assert contradictions(work) == []


@pytest.mark.parametrize("seed", [pytest.param(seed, marks=pytest.mark.slow) for seed in (7, 8, 9)])
def test_with_several_workers_every_trial_is_its_own_replay(seed: int, undisturbed: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    live_through(work, seed, kills=3, workers=2)
    assert contradictions(work) == []
    for arm in ("baseline", "default"):
        assert answer_of(work)["arms"][arm] == answer_of(undisturbed)["arms"][arm]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["refuses", "fails", "hangs"])
def test_a_tracking_server_of_no_use_costs_nothing(how: Breakdown, undisturbed: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    with broken_server(how) as uri:
        assert without_cost(play(EXPERIMENT, work, *SIZE, "--tracking-uri", uri)) == without_cost(
            answer_of(undisturbed)
        )
    play(EXPERIMENT, work, *SIZE)  # with a store of its own, which gets all of it
    assert differences(undisturbed, work) == []
    assert contradictions(work) == []

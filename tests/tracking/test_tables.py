"""Tables of a store that the tracker filled."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from real_servers import free_port
from tracked_runs import FP16, METRIC, START, FakeRun, track

from workspace.errors import UserError
from workspace.tracking.store import default_uri
from workspace.tracking.tables import CURVE, curves_table, runs_table, write_tables

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")  # of MLflow's models
EXPERIMENT = "fcos_fp16_sweep"


@pytest.fixture
def filled(uri: str, work_dir: Path, make_run: Callable[..., FakeRun]) -> str:
    """A baseline run of 100 steps, and a trial pruned after 20."""
    baseline, trial = make_run(seed=7), make_run(seed=0, precision=FP16, lr=0.01)
    baseline.train(1, 100)
    baseline.end(at=START + 60)
    trial.train(1, 20)
    tracker = track(uri, work_dir)
    tracker.follow(baseline.spec, name="baseline seed 7", metric=METRIC, tags={"phase": "baseline", "arm": "baseline"})
    tracker.settle(baseline.spec.signature, "finished")
    tracker.follow(trial.spec, name="trial 4", metric=METRIC, tags={"phase": "search", "arm": "tuned", "trial": 4})
    tracker.settle(trial.spec.signature, "pruned")
    tracker.close("finished")
    return uri


def test_a_row_for_each_run(filled: str) -> None:
    table = runs_table(filled, EXPERIMENT)
    assert table["run_name"].tolist() == ["baseline seed 7", "trial 4"]
    assert table["state"].tolist() == ["finished", "pruned"]
    assert table["seed"].tolist() == [7, 0]
    assert table["trial"].tolist() == [pd.NA, 4]
    assert table["lr"].tolist() == [0.003, 0.01]
    assert table["precision"].tolist() == ["fp32", "fp16"]
    assert table["AP"].tolist() == pytest.approx([51.0, 50.2])
    assert table["seconds"][0] == 61.5
    assert math.isnan(table["seconds"][1])


def test_a_row_for_each_point_of_the_curves(filled: str) -> None:
    table = curves_table(filled, EXPERIMENT, metrics=("AP", "train/loss", "precision/grad_norm"))
    assert table.columns.tolist() == CURVE
    baseline = table[table["arm"] == "baseline"]
    assert baseline.groupby("metric").size().to_dict() == {"AP": 10, "train/loss": 100, "precision/grad_norm": 100}
    gradients = baseline[baseline["metric"] == "precision/grad_norm"]
    assert gradients["value"].tolist()[:2] == [math.inf, 1.5]


def test_thinning_keeps_sparse_curves_and_last_points(filled: str) -> None:
    table = curves_table(filled, EXPERIMENT, metrics=("AP", "train/loss"), every=10)
    steps = table[table["arm"] == "baseline"].groupby("metric")["step"].apply(list).to_dict()
    assert steps == {"AP": list(range(10, 101, 10)), "train/loss": list(range(10, 101, 10))}


def test_written_tables_are_the_same_every_time(filled: str, tmp_path: Path) -> None:
    first = [path.read_bytes() for path in write_tables(filled, EXPERIMENT, tmp_path / "a", metrics=("AP",))]
    second = [path.read_bytes() for path in write_tables(filled, EXPERIMENT, tmp_path / "b", metrics=("AP",))]
    assert first == second
    read = pd.read_csv(tmp_path / "a" / f"{EXPERIMENT}.runs.csv")
    assert read["AP"].tolist() == [51.0, 50.2]


def test_a_store_without_the_experiment_is_one_clear_line(work_dir: Path, uri: str) -> None:
    with pytest.raises(UserError, match=r"holds no runs of 'ssdlite_fp16_sweep'"):
        runs_table(default_uri(work_dir), "ssdlite_fp16_sweep")


@pytest.mark.parametrize("kind", ["a server that is down", "a database that is down", "a file that is no database"])
def test_a_store_that_cannot_be_read_is_one_clear_line(kind: str, tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("groceries" * 1000)
    uri = {
        "a server that is down": f"http://someone:hunter2@127.0.0.1:{free_port()}",
        "a database that is down": f"postgresql+psycopg://someone:hunter2@127.0.0.1:{free_port()}/mlflow",
        "a file that is no database": f"sqlite:///{tmp_path}/notes.db",
    }[kind]
    for read in (
        runs_table,
        partial(curves_table, metrics=("AP",)),
        partial(write_tables, folder=tmp_path, metrics=()),
    ):
        with pytest.raises(UserError, match="cannot be used: ") as refused:
            read(uri, EXPERIMENT)
        assert len(str(refused.value).splitlines()) == 1
        assert "hunter2" not in str(refused.value)

"""Exported tables, read back: arms, gaps, curves and trials as the notebooks take them."""

from pathlib import Path

import pandas as pd
import pytest

from workspace.errors import UserError
from workspace.exported import Exported, read, read_diagnosis

RUNS = pd.DataFrame(
    [
        ("search", "trial", 1000, 0, 61.0),
        ("baseline", "baseline", 0, None, 60.0),
        ("baseline", "baseline", 1, None, 62.0),
        ("default", "default", 0, None, 59.0),
        ("default", "default", 1, None, 60.0),
    ],
    columns=["phase", "arm", "seed", "trial", "AP"],
)
CURVES = pd.DataFrame(
    [("baseline", 0, "AP", 10, 30.0), ("default", 0, "AP", 10, 29.0), ("default", 0, "train/loss", 10, 1.5)],
    columns=["arm", "seed", "metric", "step", "value"],
)


@pytest.fixture
def exported(tmp_path: Path) -> Exported:
    RUNS.to_csv(tmp_path / "some_sweep.runs.csv", index=False)
    CURVES.to_csv(tmp_path / "some_sweep.curves.csv", index=False)
    return read("some_sweep", tmp_path)


def test_arms_come_in_the_order_asked_for_and_those_not_there_are_left_out(exported: Exported) -> None:
    assert exported.ap("default", "baseline", "tuned") == {
        "default": {0: 59.0, 1: 60.0},
        "baseline": {0: 60.0, 1: 62.0},
    }
    assert exported.mean_ap("baseline") == 61.0


def test_gaps_are_against_the_baseline(exported: Exported) -> None:
    gaps = exported.gaps(1.0)
    assert gaps.keys() == {"default"}
    assert gaps["default"].mean == pytest.approx(-1.5)
    assert gaps["default"].margin == 1.0


def test_curves_are_of_one_metric_and_those_arms(exported: Exported) -> None:
    assert exported.curve("AP", "default")["value"].tolist() == [29.0]
    assert exported.curve("AP", "default", "baseline")["value"].tolist() == [29.0, 30.0]


def test_trials_are_the_searchs_runs(exported: Exported) -> None:
    assert exported.trials[["number", "value"]].to_numpy().tolist() == [[0, 61.0]]


def test_missing_tables_say_how_to_write_them(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="workspace export no_such_sweep"):
        read("no_such_sweep", tmp_path)
    with pytest.raises(UserError, match="workspace diagnose MODEL --tables"):
        read_diagnosis(tmp_path)

"""``python -m workspace diagnose``: one small diagnosis as a user asks for it, and what it refuses."""

import json
import warnings
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from workspace.commands.diagnose import diagnose
from workspace.datasets import open_dataset
from workspace.exported import read_diagnosis
from workspace.tracking import default_uri
from workspace.tracking.store import connect


def call(work_dir: Path, *options: str) -> Result:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries that MLflow is made of
        return CliRunner().invoke(diagnose, [*options, "--work-dir", str(work_dir)])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("fcos", "--out", "nowhere/found.json"), "there is no folder nowhere"),
        (("fcos", "--set", "fp32_islands=nose"), "no FP32 island nose"),
        (("fcoss",), "no detector named 'fcoss'"),
    ],
)
def test_what_cannot_be_diagnosed_is_one_line(options: tuple[str, ...], said: str, tmp_path: Path) -> None:
    result = call(tmp_path, *options)
    assert result.exit_code == 2
    (line,) = [line for line in result.output.splitlines() if line.startswith("error: ")]
    assert said in line


def test_a_diagnosis_is_shown_written_and_tracked(tmp_path: Path) -> None:
    open_dataset(None, tmp_path)
    out, tables = tmp_path / "found.json", tmp_path / "notebook" / "fcos"
    options = ("fcos", "--warm-up", "2", "--set", "loss_scale=0.0001", "--set", "batch_size=2")
    result = call(tmp_path, *options, "--out", str(out), "--tables", str(tables))
    assert result.exit_code == 0, result.output
    assert "loss_scale  too small" in result.output
    written = json.loads(out.read_text())
    assert written["causes"][0]["kind"] == "loss_scale"
    assert written["proposals"][0]["changes"]["loss_scale"]["init"] == 65536
    (folder,) = (tmp_path / "experiments" / "diagnose").glob("fcos-*")
    assert json.loads((folder / "diagnosis.json").read_text()) == written
    causes, members = (pd.read_csv(folder / f"{name}.csv") for name in ("causes", "members"))
    assert list(causes["cause"]) == ["loss scale too small"]
    assert members["is_layer"].any()
    assert not (folder / "moments.csv").exists()
    read = read_diagnosis(tables)
    assert read.causes.equals(causes)
    assert read.members.equals(members)
    assert read.moments.empty
    assert json.loads(read.proposals["changes"][0]) == written["proposals"][0]["changes"]
    unit = written["errors"]["update"] / written["unit"]["update"]
    assert read.against_another_batch == pytest.approx(unit, rel=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries that MLflow is made of
        client = connect(default_uri(tmp_path))
        experiment = client.get_experiment_by_name("diagnose")
        assert experiment is not None
        (run,) = client.search_runs([experiment.experiment_id])
        assert run.data.metrics["diagnosis/update_error"] == pytest.approx(written["errors"]["update"])
        assert {file.path for file in client.list_artifacts(run.info.run_id)} >= {"diagnosis.json", "diagnosis.png"}

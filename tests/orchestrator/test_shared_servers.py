"""Several experiments at once over one server and one work folder: embedded stores, and those of a team."""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import store_contents
import synthetic_runs
from real_servers import free_port, mlflow_server, postgresql, s3, serving
from synthetic_runs import answer_of, play, without_cost

from workspace.tracking.sync import sync

SWEEPS = ("fcos_fp16_sweep", "ssd300_fp16_sweep")
EFFORT = ("--trials", "4", "--seeds", "2")

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")  # of MLflow's models


def play_together(work: Path, *options: str) -> dict[str, dict[str, Any]]:
    """The answers of both sweeps, started at the same moment."""
    answers = {name: work.with_name(f"{name}.json") for name in SWEEPS}
    started = [
        subprocess.Popen(
            synthetic_runs.command(name, work, *EFFORT, "--json", str(answer), *options),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name, answer in answers.items()
    ]
    for process in started:
        said = process.communicate()[1]
        assert process.returncode == 0, said
        assert "WARNING" not in said
    return {name: without_cost(json.loads(answer.read_text())) for name, answer in answers.items()}


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The answers of each sweep played by itself, on stores of its own."""
    folder = tmp_path_factory.mktemp("apart")
    answers = {}
    for name in SWEEPS:
        play(name, folder / name, *EFFORT)
        answers[name] = without_cost(answer_of(folder / name))
    return answers


@pytest.mark.slow
def test_two_at_once_share_a_work_folder(apart: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    assert play_together(tmp_path / "work") == apart
    states = [state for name, state in synthetic_runs.tracked_states(tmp_path / "work") if name.endswith(" demo")]
    assert states == ["finished", "finished"]


@pytest.mark.slow
def test_two_at_once_on_a_team_s_servers(apart: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    """mlflow server and Optuna on PostgreSQL, artifacts in S3: as on embedded stores, and so after a sync elsewhere."""
    port = free_port()
    uri, work = f"http://127.0.0.1:{port}", tmp_path / "work"
    with postgresql(["mlflow", "optuna"]) as database, s3(tmp_path, "team") as env:
        with mlflow_server(tmp_path, port, store=f"{database}/mlflow", artifacts="s3://team/mlflow", env=env):
            answers = play_together(work, "--tracking-uri", uri, "--storage", f"{database}/optuna")
            assert answers == apart
            team = store_contents.contents(uri, tmp_path / "team")
            assert {name: run["status"] for (name, _), run in team.items() if not run["child"]} == dict.fromkeys(
                SWEEPS, "FINISHED"
            )
            for name in SWEEPS:
                (parent,) = (run for (experiment, _), run in team.items() if experiment == name and not run["child"])
                assert parent["files"].keys() == {"figure.png", "result.json", "trials.csv"}
                assert json.loads(parent["files"]["result.json"])["gaps"] == answers[name]["gaps"]
                assert sync(work, uri, name).points == 0
        assert not (work / "mlflow" / "mlflow.db").exists()
        assert not (work / "optuna.db").exists()
        dashboard_shows_both(f"{database}/optuna", tmp_path)
    elsewhere = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    for name in SWEEPS:
        sync(work, elsewhere, name)
    assert store_contents.contents(elsewhere, tmp_path / "elsewhere") == team


def dashboard_shows_both(url: str, folder: Path) -> None:
    port = free_port()
    program = str(Path(sys.executable).with_name("optuna-dashboard"))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with serving([program, url, "--host", "127.0.0.1", "--port", str(port)], port, folder):
        with opener.open(f"http://127.0.0.1:{port}/api/studies", timeout=60) as answer:
            assert answer.status == 200
            studies = json.loads(answer.read())["study_summaries"]
        assert sorted(study["study_name"].rpartition("-")[0] for study in studies) == sorted(SWEEPS)
        with opener.open(f"http://127.0.0.1:{port}/dashboard/studies/{studies[0]['study_id']}", timeout=60) as answer:
            assert answer.status == 200

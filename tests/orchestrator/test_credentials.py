"""A password in an address is in nothing that a sweep prints or leaves, whether it is the right one or not."""

import subprocess
import sys
from pathlib import Path

import pytest
import store_contents
import synthetic_runs
from real_servers import PASSWORD, URL_PASSWORD, free_port, mlflow_server, postgresql

from workspace.errors import UserError
from workspace.search.storage import open_storage
from workspace.tracking.sync import sync

SECRET = "hunter2"
EFFORT = ("--trials", "2", "--seeds", "2")

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")  # of MLflow's models


def sweep(work: Path, *options: str) -> list[str]:
    return synthetic_runs.command("fcos_fp16_sweep", work, *EFFORT, *options)


def workspace(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "workspace", *map(str, arguments)]


def said(command: list[str], *codes: int) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in codes, done.stderr
    assert "Traceback" not in done.stderr
    assert SECRET not in done.stdout + done.stderr
    return done.stdout + done.stderr


def files_with_the_secret(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]


@pytest.mark.parametrize(
    "uri",
    [
        "http://someone:hunter2@127.0.0.1:1",
        "http://someone:hunter2%2Fa%40b@127.0.0.1:1/mlflow",
        "postgresql+psycopg://someone:hunter2/a@b@127.0.0.1:1/mlflow",
        "postgresql+psycopg://127.0.0.1:1/mlflow?user=someone&password=hunter2",
        "mysql+none://someone:hunter2@127.0.0.1:1/mlflow",
        "postgresql+psycopg://someone:hunter2@127.0.0.1:port/mlflow",
        "ftp://someone:hunter2@127.0.0.1/mlflow",
    ],
)
def test_addresses_that_do_not_answer_keep_it(uri: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(UserError) as untracked:
        sync(tmp_path, uri, "fcos_fp16_sweep")
    with pytest.raises(UserError) as unsearched:
        open_storage(uri)
    for said in (str(untracked.value), str(unsearched.value), caplog.text):
        assert SECRET not in said
        assert "***" in said or not said
    assert files_with_the_secret(tmp_path) == []


@pytest.mark.slow
def test_a_sweep_on_servers_with_passwords_keeps_them(tmp_path: Path) -> None:
    assert SECRET in PASSWORD
    assert SECRET in URL_PASSWORD
    work, port = tmp_path / "work", free_port()
    served = tmp_path / "served"
    served.mkdir()
    uri = f"http://someone:{URL_PASSWORD}@127.0.0.1:{port}"
    with postgresql(["mlflow", "optuna"]) as database:
        stores = ("--tracking-uri", uri, "--storage", f"{database}/optuna")
        answer = ("--json", str(tmp_path / "answer.json"))
        with mlflow_server(served, port):
            assert "***" in said(sweep(work, *stores, *answer), 0)
            assert "tuned" in said(sweep(work, *stores, "--plan"), 0)
            assert "***" in said(workspace("sync", "--work-dir", work, "--tracking-uri", uri), 0)
            assert "***" in said(
                workspace("doctor", "--device", "cpu", "--work-dir", work, "--tracking-uri", uri), 0, 1
            )
            shown = store_contents.contents(uri, tmp_path / "shown")
            assert len(shown) > 4
            assert SECRET not in repr(shown)
        direct = f"{database}/mlflow"
        assert "WARNING" not in said(sweep(work, "--tracking-uri", direct, "--storage", f"{database}/optuna"), 0)
        wrong = database.replace(URL_PASSWORD, "hunter2-wrong")
        assert "password authentication failed" in said(sweep(work, "--storage", f"{wrong}/optuna"), 2)
        lost = said(sweep(work, "--tracking-uri", f"{wrong}/mlflow", "--storage", f"{database}/optuna"), 0)
        assert "postgresql+psycopg://***@127.0.0.1" in lost
        assert "password authentication failed" in lost
        assert "does not take it" in said(workspace("sync", "--work-dir", work, "--tracking-uri", f"{wrong}/mlflow"), 2)
    assert not any(SECRET in row for row in store_contents.rows(served / "server.db"))
    assert files_with_the_secret(tmp_path) == []

"""Tracking URIs: which are taken, how they are shown."""

from pathlib import Path

import pytest

from workspace.errors import UserError
from workspace.tracking.store import artifact_location, check_uri, default_uri
from workspace.tracking.tracker import Tracker


def test_the_default_store_lies_in_the_work_folder(tmp_path: Path) -> None:
    uri = default_uri(tmp_path)
    check_uri(uri)
    assert uri == f"sqlite:///{tmp_path}/mlflow/mlflow.db"
    assert artifact_location(uri, tmp_path) == (tmp_path / "mlflow" / "artifacts").as_uri()


def test_a_server_decides_where_artifacts_go(tmp_path: Path) -> None:
    assert artifact_location("http://mlflow.example:5000", tmp_path) is None
    assert artifact_location("postgresql+psycopg2://u:p@db/mlflow", tmp_path) is not None


@pytest.mark.parametrize("uri", ["mlruns", "/data/mlruns", "file:///data/mlruns", "ftp://host", "sqlite://", ""])
def test_a_uri_of_no_database_and_no_server_is_refused_at_once(uri: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="tracking URI"):
        Tracker(uri, "experiment", tmp_path)

import io
import json
import sqlite3
import sys
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
import sqlalchemy
from small_search import SPACE, STEPS, open_study, search

from workspace.errors import UserError
from workspace.search import Study, default_url


def test_the_dashboard_shows_the_study(tmp_path: Path) -> None:
    import optuna_dashboard

    with open_study(tmp_path) as study:
        search(study, 3)
        name = study.name
    app = optuna_dashboard.wsgi(default_url(tmp_path))

    def get(path: str) -> bytes:
        environment: dict[str, Any] = {"PATH_INFO": path, "wsgi.errors": io.StringIO()}
        setup_testing_defaults(environment)
        statuses: list[str] = []
        body = b"".join(app(environment, lambda status, headers, *_: statuses.append(status)))
        assert statuses == ["200 OK"], path
        return body

    (summary,) = json.loads(get("/api/studies"))["study_summaries"]
    assert summary["study_name"] == name
    page = json.loads(get(f"/api/studies/{summary['study_id']}"))
    assert [trial["state"] for trial in page["trials"]] == ["Complete"] * 3
    assert [len(trial["intermediate_values"]) for trial in page["trials"]] == [STEPS] * 3
    get(f"/dashboard/studies/{summary['study_id']}")


def test_storage_that_cannot_be_opened_is_said_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failure(url: str) -> str:
        with pytest.raises(UserError) as caught:
            Study("s", identity=0, space=SPACE, seed=0, prune_from=0, url=url)
        message = str(caught.value)
        assert "\n" not in message
        return message

    assert "unable to open database file" in failure(default_url(tmp_path / "missing"))
    (tmp_path / "optuna.db").write_text("this is no database " * 100)
    assert "file is not a database" in failure(default_url(tmp_path))
    assert "optuna.db" in failure(default_url(tmp_path))
    assert "study storage nonsense: " in failure("nonsense")
    monkeypatch.setitem(sys.modules, "psycopg2", None)  # as if it were not installed
    message = failure("postgresql+psycopg2://me:secret@host/studies")
    assert "secret" not in message
    assert "driver is missing" in message
    with pytest.raises(UserError, match="must not contain '#'"):
        default_url(tmp_path / "run #1")


def test_a_full_disk_is_said_in_a_line_and_loses_nothing(tmp_path: Path) -> None:
    full = False

    def limit(connection: sqlite3.Connection, _: Any) -> None:
        if full:
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
            connection.execute(f"PRAGMA max_page_count = {pages}")

    sqlalchemy.event.listen(sqlalchemy.Engine, "connect", limit)
    try:
        with open_study(tmp_path) as study:
            study.finish(study.ask().number, 50.0)
            study.ask()
        full = True
        with (
            open_study(tmp_path) as study,
            pytest.raises(UserError, match=r"study storage .*optuna.db: database or disk is full"),
        ):
            study.annotate(1, notes="x" * 100_000)
        full = False
        with open_study(tmp_path) as study:
            assert [row.state for row in study.trials()] == ["finished", "running"]
            study.finish(1, 51.0)
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "connect", limit)

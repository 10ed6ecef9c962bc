"""What is left of an address when it is shown."""

import pytest

from workspace.redaction import redact


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://user:secret@host:5000/a", "http://***@host:5000/a"),
        ("https://token@host", "https://***@host"),
        (
            "postgresql+psycopg2://u:p@ss@db/mlflow?sslmode=require",
            "postgresql+psycopg2://***@db/mlflow?sslmode=require",
        ),
        (
            "failed at 'http://u:p@host/api' and mysql://v:q@db/x",
            "failed at 'http://***@host/api' and mysql://***@db/x",
        ),
        ("mssql://db/x?user=u&password=secret&a=b", "mssql://db/x?user=u&password=***&a=b"),
        ("sqlite:////data/mlflow.db", "sqlite:////data/mlflow.db"),
        ("http://host/a@b", "http://host/a@b"),
        ("postgresql://u:a/b?c@d@db/mlflow", "postgresql://***@db/mlflow"),
        (
            "postgresql:///mlflow?host=db&user=u&sslpassword=secret",
            "postgresql:///mlflow?host=db&user=u&sslpassword=***",
        ),
        ("mssql+pyodbc:///?odbc_connect=DRIVER%3Dx%3BPWD%3Dsecret", "mssql+pyodbc:///?odbc_connect=***"),
    ],
)
def test_credentials_are_never_shown(text: str, shown: str) -> None:
    assert redact(text) == shown

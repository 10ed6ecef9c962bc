"""The MLflow store behind a tracking URI: where it is, how to open it, how to speak of its failures."""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from workspace.errors import UserError
from workspace.redaction import redact

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_SERVERS = ("http", "https", "databricks")

_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # Our own loop retries. A retry inside the HTTP client could create a run twice, when only the answer was lost.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
}
_PASSING_REFUSALS = (401, 403, 408, 429)  # a password mended, a busy server: trying again can help
_LONGEST_REASON = 200
_PAGE = 200  # runs; SQLAlchemy's rows of a thousand, which MLflow would take, are some 50 MiB
_CHATTY = ("alembic", "mlflow", "urllib3.connectionpool")


def default_uri(work_dir: Path) -> str:
    """The store used unless another is named: SQLite in ``<work>/mlflow/``, its artifacts beside it."""
    return f"sqlite:///{_folder(work_dir) / 'mlflow.db'}"


def artifact_location(uri: str, work_dir: Path) -> str | None:
    """Where a new experiment keeps its artifacts; ``None`` where the tracking server decides."""
    if _scheme(uri) in _SERVERS:
        return None
    return (_folder(work_dir) / "artifacts").as_uri()


def check_uri(uri: str) -> None:
    """Raises UserError unless the URI names a database or a server; contacts neither."""
    if _scheme(uri) not in (*_DATABASES, *_SERVERS):
        raise UserError(
            f"tracking URI {redact(uri)!r}: MLflow keeps runs in a database or on a server; "
            "use sqlite:////absolute/path/mlflow.db or http://host:port"
        )
    if _scheme(uri) == "sqlite" and _sqlite_file(uri) is None:
        raise UserError(f"tracking URI {uri!r}: name a file, as in sqlite:////absolute/path/mlflow.db")


def connect(uri: str) -> "MlflowClient":
    """A client of that store, quiet and without telemetry; the schema of a new SQLite store is created.

    Raises:
        UserError: the URI names no database and no server.
    """
    check_uri(uri)
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient
    from mlflow.store.db import utils

    utils.MAX_RETRY_COUNT = 1  # of 10, which keep a caller for two minutes where a database does not answer
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR)
    # It logs each failed statement with its traceback before it raises; the tracker says the same in a line.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    file = _sqlite_file(uri)
    if file is None:
        return MlflowClient(tracking_uri=uri)
    with locked(file.with_name(f".{file.name}.lock")):  # processes that start together race for the schema
        if not file.exists():
            # Dozens of migrations that no transaction holds together: a kill among them must not leave them half done.
            with TemporaryDirectory(dir=file.parent, prefix=".new-") as folder:
                new = Path(folder) / file.name
                MlflowClient(tracking_uri=f"sqlite:///{new}").search_experiments(max_results=1)
                new.replace(file)
        return MlflowClient(tracking_uri=uri)


def all_runs(client: "MlflowClient", experiment_id: str, condition: str) -> "Iterator[Run]":
    """The runs of an experiment that meet MLflow's filter, the oldest first, over as many pages as it takes."""
    token = None
    while True:
        page = client.search_runs(
            [experiment_id], condition, max_results=_PAGE, order_by=["attributes.start_time ASC"], page_token=token
        )
        yield from page
        token = page.token
        if not token:
            return


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds an exclusive lock between processes; the kernel lets go of it when a process dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def is_refusal(error: Exception) -> bool:
    """Whether trying again is in vain, as for a run that someone deleted; a store that is down is no refusal."""
    from mlflow.exceptions import MlflowException
    from requests import HTTPError
    from sqlalchemy import exc

    # A database's own errors: MLflow passes them on while it opens a store, and as wrong requests or as outages later.
    outages = (exc.OperationalError, exc.InterfaceError, exc.TimeoutError)
    if isinstance(error, outages) or isinstance(error.__cause__, outages):
        return False
    if isinstance(error, MlflowException):
        status = error.get_http_status_code()  # type: ignore[no-untyped-call]
    elif isinstance(error, HTTPError) and error.response is not None:
        status = error.response.status_code
    else:
        return not isinstance(error, OSError)
    return 400 <= status < 500 and status not in _PASSING_REFUSALS


@contextmanager
def explained(uri: str) -> Iterator[None]:
    """Turns whatever a store raises that is down, damaged or no store into a UserError."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # of whichever database driver or HTTP library is behind it
        raise UserError(f"{redact(uri)} cannot be used: {reason_of(error)}") from error


def reason_of(error: Exception) -> str:
    """What went wrong, in one line that names no credentials."""
    said = str(error).strip().splitlines()
    # SQLAlchemy puts a remark on its own session before the reason.
    lines = [line for line in said if not line.startswith("(raised as")] or [type(error).__name__]
    return redact(lines[0])[:_LONGEST_REASON]


def _folder(work_dir: Path) -> Path:
    return work_dir.resolve() / "mlflow"


def _scheme(uri: str) -> str:
    return uri.partition(":")[0].partition("+")[0] if "://" in uri or uri == "databricks" else ""


def _sqlite_file(uri: str) -> Path | None:
    if _scheme(uri) != "sqlite":
        return None
    name = uri.partition("://")[2].removeprefix("/").partition("?")[0]
    return Path(name) if name and name != ":memory:" else None

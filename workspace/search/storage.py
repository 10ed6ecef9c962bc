"""Optuna's relational storage: where it lies, and its failures in one line."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from workspace.errors import UserError
from workspace.redaction import redact

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

_BUSY_SECONDS = 60  # how long a write waits for a reader, such as the dashboard, to let go of an SQLite file

_TABLES_SECONDS = 2.0  # how long another process takes to make all tables, generously


def default_url(work_dir: Path) -> str:
    """The URL of the studies' SQLite file in the work folder, for :class:`Study` and ``optuna-dashboard`` alike."""
    path = str(study_file(work_dir))
    for character in "?#{}":  # Optuna and SQLAlchemy give them a meaning in a URL
        if character in path:
            raise UserError(f"work folder {work_dir}: its path must not contain {character!r}; choose another")
    return f"sqlite:///{path}"


def study_file(work_dir: Path) -> Path:
    """The SQLite file of :func:`default_url`."""
    return work_dir.resolve() / "optuna.db"


def open_storage(url: str) -> "RDBStorage":
    """Opens the storage and makes its tables if need be; UserError where that fails."""
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import IntegrityError, ProgrammingError

    is_file = url.startswith("sqlite")
    # A server may have been restarted since the last trial: a connection is tried before it is used.
    options = {"connect_args": {"timeout": _BUSY_SECONDS}} if is_file else {"pool_pre_ping": True}
    with storage_errors(url):
        try:
            try:
                return RDBStorage(url, engine_kwargs=options)
            except (ProgrammingError, IntegrityError):  # another process made the tables of a new database just then
                time.sleep(_TABLES_SECONDS)
                return RDBStorage(url, engine_kwargs=options)
        except ImportError as error:
            raise UserError(f"study storage {redact(url)}: its database driver is missing: {error}") from error
        except ValueError as error:  # of a port that is no number
            raise UserError(f"study storage {redact(url)}: {_reason(error)}") from error


@contextlib.contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Turns what a missing folder, a full disk, a foreign file or an unreachable server raise into a UserError."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import ArgumentError, DBAPIError

    try:
        yield
    except StorageInternalError as error:
        raise UserError(f"study storage {redact(url)}: {_reason(error.__cause__ or error)}") from error
    except (ArgumentError, DBAPIError) as error:
        raise UserError(f"study storage {redact(url)}: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """What the database itself said, without SQLAlchemy's statement and parameters."""
    return redact(str(getattr(error, "orig", error)).splitlines()[0])

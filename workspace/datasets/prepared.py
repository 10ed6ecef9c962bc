"""Folders that are made once under the work folder and reused: whole, or not there at all.

A folder is made beside its final name and renamed when it is complete, so a kill leaves nothing half. A manifest in it
holds the digest of its content and the fingerprint of its files (names, sizes, modification times). While
the fingerprint holds, the content is taken as unchanged, as git does; otherwise it is read again, and a folder whose
content has changed is made anew.
"""

import fcntl
import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from workspace.errors import UserError

MANIFEST = "manifest.json"

_log = logging.getLogger(__name__)


def canonical_json(content: Any) -> bytes:
    """The one way of writing that value as JSON: sorted keys, no spaces, ASCII, a newline at the end."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"


def json_digest(content: Any) -> str:
    """SHA-256 of the canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical_json(content)).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of the file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(files: Iterable[tuple[str, Path]]) -> str:
    """A digest of (name, size, modification time) of each file, without reading any. Raises OSError if one is gone."""
    digest = hashlib.sha256()
    for name, path in files:
        stat = path.stat()
        digest.update(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def prepared(folder: Path, make: Callable[[Path], None]) -> str:
    """Ensures that ``folder`` is there and whole; ``make`` fills an empty folder when it is not.

    Safe against kills, and against other processes that prepare folders beside it, which wait.

    Returns: the SHA-256 of the folder's content, in hexadecimal.
    Raises: UserError where the work folder cannot be written, a full disk among the reasons.
    """
    known = intact(folder)
    if known is not None:
        return known
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _alone_in(folder.parent):
            known = intact(folder)  # another process may have made it meanwhile
            return known if known is not None else _made(folder, make)
    except OSError as error:
        raise cannot_write(folder, error) from error


def cannot_write(path: Path, error: OSError) -> UserError:
    """What to tell of a work folder that cannot be written."""
    return UserError(f"cannot write {path}: {error.strerror or error}; free some space or choose another work folder")


def _made(folder: Path, make: Callable[[Path], None]) -> str:
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)  # left by a kill
    part.mkdir()
    try:
        make(part)
        content = _content(part)
        manifest = {"content": content, "fingerprint": fingerprint(_files(part))}
        (part / MANIFEST).write_bytes(canonical_json(manifest))
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    if folder.exists():
        _log.warning("%s was damaged and is made anew", folder)
        shutil.rmtree(folder)
    part.rename(folder)
    return content


def intact(folder: Path) -> str | None:
    """The digest of the content, or None when the folder is missing, incomplete or changed."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        content = str(manifest["content"])
        unchanged = manifest["fingerprint"] == fingerprint(_files(folder)) or content == _content(folder)
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return content if unchanged else None


def _files(folder: Path) -> list[tuple[str, Path]]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    named = sorted((path.relative_to(folder).as_posix(), path) for path in paths)
    return [(name, path) for name, path in named if name != MANIFEST]


def _content(folder: Path) -> str:
    return json_digest([[name, file_digest(path)] for name, path in _files(folder)])


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Holds the folder's lock; the system frees it when its holder dies."""
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

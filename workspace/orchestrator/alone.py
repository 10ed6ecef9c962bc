"""One orchestrator for each experiment in a work folder, on one host or on several that share the folder.

The lock is flock(2). On one host it is exact: the kernel lets go of it when a process ends, however it ends. On NFS
Linux passes it on to the server as a lock of the whole file (since 2.6.12, flock(2)), so it is exact between hosts as
well; of a host that died the server lets go by itself (NFSv4) or when that host starts again (NFSv3).

Some mounts grant it on each host separately (NFS with ``nolock`` or ``local_lock``, Lustre with ``localflock``, some
FUSE file systems), and flock cannot tell. So whoever holds it also gives a sign of life, a new time of change of the
file. Who is granted the lock and reads that an orchestrator on another host has not let go of it watches for that
sign, by its change alone, since clocks differ. What this cannot see: two starts on two such hosts within those
seconds, and an orchestrator that was suspended for longer than that.
"""

import errno
import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from workspace.errors import UserError

_SIGN_SECONDS = 5.0
_WATCHED_SIGNS = 3
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextmanager
def alone(work_dir: Path, name: str, doing: str = "running") -> Iterator[None]:
    """Refuses a second orchestrator of the same experiment in the same work folder.

    Args:
        name: of the experiment, below which there may be parts (``train/<signature>``) with locks of their own.
        doing: what is done meanwhile, as another one is told.

    Raises:
        UserError: another process has the experiment, of which pid and host are named, or there are no locks there.
    """
    path = _lock_file(work_dir, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        _take(file, work_dir, name)
        _watch_other_host(path, work_dir, name)
        file.seek(0)
        file.truncate()
        owner = {"pid": os.getpid(), "host": socket.gethostname(), "kernel": _kernel(), "doing": doing}
        file.write(json.dumps(owner))
        file.flush()
        over = threading.Event()
        signs = threading.Thread(target=_give_signs, args=(file.fileno(), over), name="sign of life", daemon=True)
        signs.start()
        try:
            yield
        finally:
            over.set()
            signs.join()
            file.truncate(0)


def parts_at_work(work_dir: Path, name: str) -> list[str]:
    """Who holds locks below the experiment, each as in ``pid 12 on host``; as far as flock reaches."""
    holders = []
    for path in sorted(_lock_file(work_dir, name).parent.glob("*/lock")):
        with path.open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holders.append(_who(_owner(path)))
    return holders


def _take(file: IO[str], work_dir: Path, name: str) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _refusal(work_dir, name, _owner(Path(file.name))) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise UserError(
            f"{work_dir} lies on a file system without file locks ({error.strerror}): mount it with them "
            "(Lustre: -o flock), or choose another --work-dir"
        ) from error


def _watch_other_host(path: Path, work_dir: Path, name: str) -> None:
    """The lock is ours, as far as this host knows; refuses if its last owner, on another one, gives a sign of life."""
    owner = _owner(path)
    if owner.get("kernel") in (None, _kernel()):
        return
    seen = _changed(path)
    deadline = time.monotonic() + _WATCHED_SIGNS * _SIGN_SECONDS
    while time.monotonic() < deadline:
        time.sleep(_SIGN_SECONDS / 5)
        if _changed(path) != seen:
            raise _refusal(work_dir, name, owner)


def _give_signs(descriptor: int, over: threading.Event) -> None:
    while not over.wait(_SIGN_SECONDS):
        with suppress(OSError):  # of a file server that is away for a moment: the next sign may come through
            os.utime(descriptor)


def _refusal(work_dir: Path, name: str, owner: dict[str, object]) -> UserError:
    doing = owner.get("doing", "running")
    return UserError(
        f"{name} is already {doing} in {work_dir} ({_who(owner)}); wait for it, stop it, or use another --work-dir"
    )


def _who(owner: dict[str, object]) -> str:
    return f"pid {owner['pid']} on {owner['host']}" if owner else "it has just begun"


def _owner(path: Path) -> dict[str, object]:
    """Empty after an orchestrator that let go, or before it has written its name."""
    try:
        owner = json.loads(path.read_text())
    except ValueError:
        return {}
    return owner if isinstance(owner, dict) else {}


def _changed(path: Path) -> int:
    with path.open() as file:  # opened anew: only that asks an NFS server, and not the cache
        return os.fstat(file.fileno()).st_mtime_ns


def _kernel() -> str:
    """Tells hosts apart: flock is exact within one kernel, also between containers, whatever their host names are."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return boot.read_text().strip() if boot.exists() else socket.gethostname()


def _lock_file(work_dir: Path, name: str) -> Path:
    return work_dir / "experiments" / name / "lock"

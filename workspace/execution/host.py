"""What :class:`~workspace.execution.RayExecutor` runs on a node of a Ray cluster."""

import fcntl
import hashlib
import os
import pickle
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import workspace
from workspace.devices.visible import VARIABLE
from workspace.errors import UserError
from workspace.execution.executor import Ended
from workspace.execution.local import LocalExecutor

_CANCEL_SECONDS = 0.1
"""At most as long does a job not hear that it is cancelled."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What each node must have in common with the orchestrator's machine.

    Attributes:
        marker: file in the work folder that the orchestrator holds locked.
        token: what is in it.
        reads: other files and folders that runs need.
        code: see `code_digest`.
        python: version.
    """

    marker: Path
    token: str
    reads: tuple[Path, ...]
    code: str
    python: str

    def check_storage(self, node: str) -> None:
        """Whether a node of that name, on which this process is, shares the orchestrator's files.

        Raises:
            UserError: it does not; the message says what to do.
        """
        work_dir = self.marker.parent
        if not self.marker.exists() or self.marker.read_text() != self.token:
            raise UserError(
                f"node {node} does not see the work folder {work_dir}: give a --work-dir on storage that all nodes "
                "have mounted at the same path"
            )
        if not _is_locked(self.marker):
            raise UserError(
                f"node {node} does not see locks of other machines in {work_dir}: mount it with locks that hold across "
                "machines (NFS: without nolock and local_lock; Lustre: flock)"
            )
        for path in self.reads:
            if not path.exists():
                raise UserError(f"node {node} does not see {path}: put it on storage that all nodes have mounted there")

    def check_code(self, node: str) -> None:
        """Whether it would run the orchestrator's code.

        Raises:
            UserError: it would not; the message says what to do.
        """
        if self.python != _python():
            raise UserError(f"node {node} has Python {_python()}, this machine {self.python}: install the same on both")
        if self.code != code_digest():
            raise UserError(
                f"node {node} has another version of this project, in {Path(workspace.__path__[0]).parent}: bring it "
                "to this machine's"
            )


def surroundings(marker: Path, token: str, reads: tuple[Path, ...]) -> Surroundings:
    """Those of this machine."""
    return Surroundings(marker=marker, token=token, reads=reads, code=code_digest(), python=_python())


def code_digest() -> str:
    """Of this package's sources, as they are on this machine."""
    root = Path(workspace.__path__[0])
    digest = hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        digest.update(str(file.relative_to(root)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


@dataclass(frozen=True)
class Call:
    """A job: the pickled ``(target, args)``, and how its process is treated; see `RayExecutor`."""

    pickled: bytes
    log: Path
    threads: int
    grace: float


class Host:
    """A Ray actor for one job: its process is the orchestrator of a `LocalExecutor` with a single slot.

    So a job's log, threads, signals and end are the local executor's, and no job outlives its actor, whatever ends
    that: Ray's memory monitor, the loss of the node, or the end of the orchestrator.
    """

    def __init__(self) -> None:
        self._cancelled = threading.Event()
        # A job's process would import what Ray has as the main program of this one.
        vars(sys.modules["__main__"]).pop("__file__", None)

    def node(self) -> str:
        return node_name()

    def run(self, job_id: str, call: Call, expected: Surroundings) -> Ended:
        """Makes the call in a process of its own.

        Raises:
            UserError: this node cannot do it.
        """
        expected.check_storage(node_name())
        if visible := os.environ.get(VARIABLE):  # CANN takes ascending numbers only, Ray promises no order
            os.environ[VARIABLE] = ",".join(sorted(visible.split(","), key=int))
        with LocalExecutor(workers=1, threads=call.threads, grace=call.grace) as executor:
            executor.start(job_id, unpickle_and_call, (call.pickled,), call.log)
            while not (ended := executor.wait(_CANCEL_SECONDS)):
                if self._cancelled.is_set():
                    executor.cancel(job_id)
            return ended[0]

    def cancel(self) -> None:
        """Asks the job to stop; it is killed after the grace."""
        self._cancelled.set()


def unpickle_and_call(pickled: bytes) -> None:
    """In the job's own process, so that an import error is in its log."""
    target, args = pickle.loads(pickled)
    target(*args)


def check_node(expected: Surroundings) -> None:
    """A Ray task, which raises `UserError` when the node that it is on cannot run jobs; see `Surroundings`."""
    node = node_name()
    expected.check_storage(node)
    expected.check_code(node)


def node_name() -> str:
    """Ray's name of the node that this process is on: its address, unless it was started under another name."""
    import ray

    here = ray.get_runtime_context().get_node_id()
    return next((str(node["NodeName"]) for node in ray.nodes() if node["NodeID"] == here), str(here))


def _is_locked(path: Path) -> bool:
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _python() -> str:
    return ".".join(map(str, sys.version_info[:3]))

"""Runs on the nodes of a Ray cluster: an actor a run, which Ray places where so many devices are free.

Ray is imported when an executor is made, not before: it is an optional extra.
"""

import fcntl
import logging
import os
import pickle
import signal
import socket
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from workspace.errors import UserError
from workspace.execution.executor import Ended
from workspace.execution.host import Call, Host, check_node, surroundings
from workspace.spec import DeviceKind

RESOURCES: Mapping[DeviceKind, str] = {"npu": "NPU", "cuda": "GPU", "cpu": "CPU"}
"""Ray's names of the devices that it counts, and shows to an actor by ``ASCEND_RT_VISIBLE_DEVICES`` and its kin."""

_CONNECT_SECONDS = 5.0
_CHECK_SECONDS = 120.0
_OBJECT_STORE_BYTES = 100_000_000  # of a cluster started here; nothing but the ends of runs passes through it

_log = logging.getLogger(__name__)


@dataclass
class _Job:
    actor: Any
    node: Any  # reference to the name of the node where Ray has put it
    result: Any
    log: Path
    cancelled: bool = False


class RayExecutor:
    """An :class:`~workspace.execution.Executor` over the nodes of a Ray cluster.

    Each job finds its devices as the first ones of its process, whichever of the node's Ray has chosen. A job whose
    node is lost, or that Ray kills when its node's memory runs out, ends as killed, with the reason; a cluster with
    fewer free devices than slots lets jobs wait.

    The nodes import the project from their own environment and share the work folder. Both are checked at the start, of
    the nodes that are there; the folder again before each job, the code not, which somebody may be editing by then.

    Args:
        kind, devices: what each job is given; cores for ``cpu``.
        threads: of each worker, for OpenMP and its kin.
        work_dir: where jobs write: an absolute path, on storage that the nodes share.
        reads: other absolute paths that jobs need.
        workers: number of slots; ``None`` for as many jobs as the nodes have room for now.
        address: ``HOST:PORT`` of the cluster, of which this machine must be a node; ``None`` starts one of this machine
            alone, reachable from nowhere else, and ends it with the executor. A cluster to which this process is
            connected already is taken as it is.
        grace: seconds from a cancelled job's SIGTERM to its SIGKILL.

    Raises:
        UserError: Ray is not installed, there is no such cluster, no node of it has these devices, or one of those that
            have cannot run jobs.
    """

    def __init__(
        self,
        *,
        kind: DeviceKind,
        devices: int,
        threads: int,
        work_dir: Path,
        reads: Sequence[Path] = (),
        workers: int | None = None,
        address: str | None = None,
        grace: float = 5.0,
    ) -> None:
        self._ray = _import_ray(alone=address is None)
        self._resource = RESOURCES[kind]
        self._devices = devices
        self._threads = threads
        self._grace = grace
        self._jobs: dict[str, _Job] = {}
        self._marker: _Marker | None = None
        self._connected_before = self._ray.is_initialized()
        if not self._connected_before:
            _connect(self._ray, address)
        try:
            room = self._room()
            if not room:
                raise UserError(
                    f"no node of the Ray cluster has {devices} {self._resource}: `ray status` lists what they have; "
                    "Ray counts NPUs and GPUs of a node itself when it is started (ray start)"
                )
            self._workers = workers or sum(room.values())
            self._marker = _Marker(work_dir)
            self._expected = surroundings(self._marker.path, self._marker.token, tuple(reads))
            self._check(room)
        except BaseException:
            self._leave()
            raise

    @property
    def slots_free(self) -> int:
        return self._workers - len(self._jobs)

    def start(self, job_id: str, target: Callable[..., object], args: tuple[Any, ...], log: Path) -> None:
        if job_id in self._jobs:
            raise ValueError(f"job {job_id!r} is already running")
        if self.slots_free < 1:
            raise RuntimeError(f"job {job_id!r}: all {self._workers} slots are taken")
        log.parent.mkdir(parents=True, exist_ok=True)
        # A second thread of the actor hears that the job is cancelled while the first waits for its end.
        actor = self._ray.remote(Host).options(max_concurrency=2, **self._request()).remote()
        call = Call(pickle.dumps((target, args)), log.resolve(), self._threads, self._grace)
        result = actor.run.remote(job_id, call, self._expected)
        self._jobs[job_id] = _Job(actor, actor.node.remote(), result, log)

    def poll(self) -> list[Ended]:
        return self.wait(timeout=0)

    def wait(self, timeout: float | None = None) -> list[Ended]:
        if not self._jobs:
            return []
        by_result = {job.result: job_id for job_id, job in self._jobs.items()}
        done, _ = self._ray.wait(list(by_result), num_returns=1, timeout=timeout)
        if done:
            done, _ = self._ray.wait(list(by_result), num_returns=len(by_result), timeout=0)
        return [self._collect(by_result[result]) for result in done]

    def cancel(self, job_id: str) -> None:
        job = self._jobs.get(job_id)
        if job is None or job.cancelled:
            return
        job.cancelled = True
        if self._node(job) is None:  # it still waits for devices, and would not hear
            self._ray.kill(job.actor)
        else:
            job.actor.cancel.remote()

    def close(self) -> None:
        for job_id in self._jobs:
            self.cancel(job_id)
        while self._jobs:
            self.wait()
        self._leave()

    def __enter__(self) -> "RayExecutor":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _request(self) -> dict[str, Any]:
        """What a job takes, as options of a Ray actor."""
        if self._resource == "CPU":
            return {"num_cpus": self._devices}
        if self._resource == "GPU":
            return {"num_cpus": 0, "num_gpus": self._devices}
        return {"num_cpus": 0, "resources": {self._resource: self._devices}}

    def _room(self) -> dict[str, int]:
        """By id of each living node that has room for any, how many jobs it has devices for."""
        alive = (node for node in self._ray.nodes() if node["Alive"])
        room = {node["NodeID"]: int(node["Resources"].get(self._resource, 0) // self._devices) for node in alive}
        return {node: count for node, count in room.items() if count}

    def _check(self, nodes: Mapping[str, int]) -> None:
        """Whether these nodes can run jobs."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        task = self._ray.remote(check_node)
        checks = [
            task.options(
                num_cpus=0, max_retries=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)
            ).remote(self._expected)
            for node in nodes
        ]
        try:
            self._ray.get(checks, timeout=_CHECK_SECONDS)
        except self._ray.exceptions.OutOfMemoryError:
            raise UserError("a node of the Ray cluster has no memory left: free some, or stop Ray there") from None
        except self._ray.exceptions.RayError as error:
            raise _refusal(error) from error

    def _collect(self, job_id: str) -> Ended:
        job = self._jobs.pop(job_id)
        errors = self._ray.exceptions
        try:
            ended: Ended = self._ray.get(job.result)
            return ended
        except errors.RayError as error:
            if job.cancelled:
                return Ended(job_id, -signal.SIGTERM, "SIGTERM")
            if isinstance(error, errors.RayTaskError):
                raise _refusal(error) from error
            node = f"node {self._node(job) or 'unknown'}"
            if isinstance(error, errors.OutOfMemoryError):
                return self._killed(job_id, job, f"Ray killed it, the memory of {node} being used up")
            return self._killed(job_id, job, f"{node} or Ray's worker there was lost ({_last_line(error)})")
        finally:
            self._ray.kill(job.actor)

    def _killed(self, job_id: str, job: _Job, reason: str) -> Ended:
        with job.log.open("a") as log:
            log.write(f"{reason}\n")
        if not self._room():
            _log.warning("no node with %s %s is left; runs wait for one", self._devices, self._resource)
        return Ended(job_id, -signal.SIGKILL, "SIGKILL", reason)

    def _node(self, job: _Job) -> str | None:
        """Where a job is; ``None`` while it waits for devices."""
        done, _ = self._ray.wait([job.node], timeout=0)
        try:
            return str(self._ray.get(job.node)) if done else None
        except self._ray.exceptions.RayError:
            return None

    def _leave(self) -> None:
        if self._marker is not None:
            self._marker.remove()
        if not self._connected_before:
            self._ray.shutdown()


class _Marker:
    """A file in the work folder, locked by this process, by which nodes show that they see both."""

    def __init__(self, work_dir: Path) -> None:
        work_dir.mkdir(parents=True, exist_ok=True)
        self.token = uuid.uuid4().hex
        # Gone with this object, or with the process unless that is killed.
        self._file = tempfile.NamedTemporaryFile("w", dir=work_dir, prefix=".shared-")  # noqa: SIM115
        self._file.write(self.token)
        self._file.flush()
        fcntl.flock(self._file, fcntl.LOCK_EX)

    @property
    def path(self) -> Path:
        return Path(self._file.name)

    def remove(self) -> None:
        self._file.close()


def _import_ray(*, alone: bool) -> Any:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if alone:  # Ray then listens on the loopback interface only (ray/_private/services.py, get_node_ip_address)
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    try:
        import ray
    except ModuleNotFoundError as error:
        raise UserError(
            f"--executor ray: {error.name} is not installed; make setup EXTRAS=dev,cluster installs what it takes"
        ) from None
    return ray


def _connect(ray: Any, address: str | None) -> None:
    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    with _sigterm_kept():
        if address is None:
            ray.init("local", include_dashboard=False, object_store_memory=_OBJECT_STORE_BYTES, **quiet)
        else:
            _reach(address)
            try:
                ray.init(address, **quiet)
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise UserError(
                    f"--address {address}: {' '.join(str(error).split())}; this machine must be a node of the cluster, "
                    f"with the same Python and Ray: ray start --address={address}"
                ) from error
    # Ray prints what its nodes report whatever log_to_driver says (ray/_private/worker.py, listen_error_messages).
    ray._private.worker.print_to_stdstream = lambda data, **_: _log.info("%s", data)


def _reach(address: str) -> None:
    """Ray itself would try for minutes, aloud."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        raise UserError(f"--address {address}: give the HOST:PORT that `ray start --head` named, as in 10.0.0.1:6379")
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UserError(
            f"--address {address}: nothing answers there ({error}); start Ray with ray start --head --port={port}"
        ) from error


@contextmanager
def _sigterm_kept() -> Iterator[None]:
    """Ray's handler of SIGTERM would end the orchestrator without a word."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _refusal(error: BaseException) -> UserError:
    """Why a node did not run what it was given: its own word, or what went wrong before it could say one."""
    cause = getattr(error, "cause", None) or error
    if isinstance(cause, UserError):
        return cause
    return UserError(
        f"a node of the Ray cluster cannot run this project: {_last_line(cause)}; install this version of it there, in "
        "the environment that Ray was started in"
    )


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__

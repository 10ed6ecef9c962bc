import multiprocessing.forkserver
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from executor_waiting import MakeExecutor

from workspace.execution import Executor, LocalExecutor, RayExecutor

if TYPE_CHECKING:
    from pretended_cluster import PretendedCluster

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]


@pytest.fixture(scope="session")
def _import_path() -> Iterator[None]:
    """Workers see this folder and, in nodes of a cluster, what the orchestrator's tests train with."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(map(str, (HERE, HERE.with_name("orchestrator"), REPOSITORY))))
        patch.delenv("PYTHONUNBUFFERED", raising=False)
        yield


@pytest.fixture(scope="module", autouse=True)
def _own_fork_server(_import_path: None) -> Iterator[None]:
    """A server that sees this folder, gone afterwards so that other tests get one with their own modules."""
    server = multiprocessing.forkserver._forkserver  # type: ignore[attr-defined]
    server._stop()
    yield
    server._stop()


@pytest.fixture(scope="session")
def cluster(_import_path: None) -> Iterator["PretendedCluster"]:
    """A Ray cluster to which this process is connected."""
    pytest.importorskip("ray", reason="Ray comes with the extra `cluster`")
    from pretended_cluster import PretendedCluster

    with PretendedCluster() as cluster:
        yield cluster


@pytest.fixture(params=["local", "ray"])
def make_executor(request: pytest.FixtureRequest, tmp_path: Path) -> MakeExecutor:
    if request.param == "ray":
        request.getfixturevalue("cluster")

    def make(*, workers: int, threads: int = 1, grace: float = 5.0) -> AbstractContextManager[Executor]:
        if request.param == "local":
            return LocalExecutor(workers=workers, threads=threads, grace=grace)
        return RayExecutor(
            kind="cpu", devices=1, threads=threads, work_dir=tmp_path / "shared", workers=workers, grace=grace
        )

    return make

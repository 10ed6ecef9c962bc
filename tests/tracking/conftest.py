import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tracked_runs import FakeRun, make_spec

from workspace.tracking.store import connect, default_uri


@pytest.fixture(scope="session")
def new_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a new store: its schema takes hundreds of syncs to the disk, so it is made once."""
    work_dir = tmp_path_factory.mktemp("new")
    connect(default_uri(work_dir))
    return work_dir / "mlflow" / "mlflow.db"


@pytest.fixture
def work_dir(tmp_path: Path) -> Path:
    return tmp_path / "work folder"  # with a space, as users have them


@pytest.fixture
def uri(work_dir: Path, new_store: Path) -> str:
    (work_dir / "mlflow").mkdir(parents=True)
    shutil.copy(new_store, work_dir / "mlflow")
    return default_uri(work_dir)


@pytest.fixture
def make_run(work_dir: Path) -> Callable[..., FakeRun]:
    return lambda **changes: FakeRun(work_dir, make_spec(**changes))

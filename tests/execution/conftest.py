import multiprocessing.forkserver
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]


@pytest.fixture(scope="module", autouse=True)
def _own_fork_server() -> Iterator[None]:
    """A server that sees this folder, gone afterwards so that other tests get one with their own modules."""
    server = multiprocessing.forkserver._forkserver  # type: ignore[attr-defined]
    server._stop()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), str(REPOSITORY)]))
        patch.delenv("PYTHONUNBUFFERED", raising=False)
        yield
        server._stop()

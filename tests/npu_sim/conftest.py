"""Tests on the simulated NPU: the real torch_npu over the CANN of this folder. ``make test-npu`` runs them.

This process has an Ascend 910B3 of an Atlas A2 server. Other chips are tried in processes of their own, for the driver
comes up once: see `Chip`.
"""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from workspace.training.task import Task

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SIMULATED = "NPU_SIM_HALF" in os.environ

MakeTask = Callable[..., "Task"]
Chip = Callable[..., subprocess.CompletedProcess[str]]

collect_ignore_glob = [] if SIMULATED else ["test_*.py"]

_PARITY = pytest.StashKey[list[str]]()


@pytest.fixture
def parity_table(pytestconfig: pytest.Config) -> list[str]:
    """Lines that are printed at the end of the tests."""
    return pytestconfig.stash.setdefault(_PARITY, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if not SIMULATED:
        terminalreporter.write_line("tests/npu_sim: left out, for they need the simulated NPU of `make test-npu`")
    if lines := config.stash.get(_PARITY, []):
        terminalreporter.section("under autocast in FP16, each operator of the six models' training")
        terminalreporter.write_line("\n".join(lines))


@pytest.fixture
def make_task(few_shapes: object, tmp_path: Path) -> MakeTask:
    """Runs of a few steps on ``npu:0``; see `short_runs.short_task`."""
    from short_runs import short_task

    def make(name: str = "fcos", *args: object, work: str = "work", device: str = "npu:0", **kwargs: object) -> "Task":
        return short_task(few_shapes, name, *args, tmp_path / work, device=device, **kwargs)  # type: ignore[arg-type]

    return make


@pytest.fixture
def run_on() -> Chip:
    """Runs Python source in a process whose simulated NPU is that chip, with further variables set.

    Standard output and error are captured; a process that fails fails the test unless ``check`` is false.
    """

    def run(chip: str, source: str, *, check: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "NPU_SIM_SOC": chip, "PYTHONPATH": str(ROOT), **variables}
        done = subprocess.run(
            [sys.executable, "-c", source], env=environment, capture_output=True, text=True, check=False, cwd=ROOT
        )
        assert done.returncode == 0 or not check, done.stderr
        return done

    return run


@pytest.fixture
def train_on(run_on: Chip, tmp_path: Path) -> Chip:
    """Hands tasks to a worker's entry in a process whose simulated NPU is that chip; see `run_on`."""

    def train(chip: str, *tasks: "Task", **variables: str) -> subprocess.CompletedProcess[str]:
        handed = tmp_path / "tasks"
        handed.write_bytes(pickle.dumps(tasks))
        source = f"""
import pickle
from workspace.errors import UserError
from workspace.training.task import train

for task in pickle.load(open({str(handed)!r}, "rb")):
    try:
        train(task)
    except UserError as error:
        print("refused:", error)
"""
        return run_on(chip, source, **variables)

    return train

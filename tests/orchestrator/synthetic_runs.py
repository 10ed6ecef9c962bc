"""Scripts of ``experiments/`` played with the synthetic worker, in processes of their own."""

import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

SCRIPT = Path(__file__).with_name("synthetic_experiment.py")


def command(experiment: str, work: Path, *options: str, workers: int = 1) -> list[str]:
    fixed = ("--device", "cpu", "--workers", str(workers), "--work-dir", str(work))
    return [sys.executable, str(SCRIPT), experiment, *fixed, *options]


def play(experiment: str, work: Path, *options: str, workers: int = 1) -> dict[str, Any]:
    """The answer of an undisturbed start, also kept beside the work folder."""
    answer = work.with_suffix(".json")
    done = subprocess.run(
        command(experiment, work, "--json", str(answer), *options, workers=workers),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return answer_of(work)


def answer_of(work: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(work.with_suffix(".json").read_text())
    return result


def without_cost(result: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in result.items() if key != "cost"}


def tracked_states(work: Path) -> list[tuple[str, str]]:
    """Name and state of each run in the tracking store, parents included."""
    with sqlite3.connect(work / "mlflow" / "mlflow.db") as database:
        return sorted(database.execute("select name, value from runs join tags using (run_uuid) where key = 'state'"))


def kill_at_random(command: list[str], draw: random.Random) -> None:
    """Starts the command, and sends SIGKILL to it with all its workers, perhaps to a worker alone before."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    time.sleep(draw.uniform(1.0, 4.0))
    children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    workers = [child for child in children if child.name().startswith("python")]
    if draw.random() < 0.5 and workers:
        workers[-1].kill()
        time.sleep(draw.uniform(0.0, 0.5))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    psutil.wait_procs(children, timeout=10)
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)

"""``python -m workspace sync`` as a user calls it; what it ships is tested with the tracker."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

SWEEP = Path(__file__).parent / "orchestrator" / "synthetic_experiment.py"


def sync(*arguments: object, code: int = 0) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "workspace", "sync", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_a_folder_in_which_nothing_was_played_is_refused(tmp_path: Path) -> None:
    assert "no experiment was played there" in sync("--work-dir", tmp_path, code=2).stderr


def test_what_cannot_be_shipped_is_said_in_a_line_each(tmp_path: Path) -> None:
    (tmp_path / "experiments" / "fcos_fp16_sweep").mkdir(parents=True)
    (line,) = sync("--work-dir", tmp_path, code=2).stderr.splitlines()
    assert "an earlier version made it; start it again there" in line
    (line,) = sync("--work-dir", tmp_path, "fcos", code=2).stderr.splitlines()
    assert "fcos: not in" in line
    assert "it holds fcos_fp16_sweep" in line


def test_an_experiment_that_is_being_played_is_left_to_its_orchestrator(tmp_path: Path) -> None:
    work = tmp_path / "work"
    command = [sys.executable, str(SWEEP), "fcos_seed_noise", "--device", "cpu", "--workers", "1"]
    command += ["--work-dir", str(work), "--seeds", "2", "--tracking-uri", "http://someone:hunter2@127.0.0.1:1"]
    playing = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(work.glob("runs/*/events.jsonl")):
        assert playing.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (line,) = sync("--work-dir", work, code=2).stderr.splitlines()
    assert f"fcos_seed_noise is already running in {work} (pid {playing.pid} on " in line
    playing.send_signal(signal.SIGKILL)
    playing.communicate()
    said = sync("--work-dir", work).stdout
    assert re.fullmatch(
        rf"fcos_seed_noise: [1-4] runs, [1-9]\d* new points in sqlite:///{work}/mlflow/mlflow.db\n", said
    )
    assert " runs, 0 new points in " in sync("--work-dir", work, "fcos_seed_noise").stdout

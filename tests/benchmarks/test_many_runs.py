"""The benchmark of many recorded runs, with a few."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_many_runs_in_one_go(tmp_path: Path) -> None:
    call = [sys.executable, "benchmarks/many_runs.py", "--runs", "20", "--played", "10", "--folder", str(tmp_path)]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, *lines = done.stdout.splitlines()
    assert first.startswith("20 runs: 10 played in ")
    assert first.endswith("; 10 written")
    assert [line.partition(":")[0].split()[0] for line in lines] == ["--plan", "--plan", "the", "from", "export"]
    assert list(tmp_path.iterdir()) == []

"""The tables of the notebook ``where_precision_is_lost``: one that needs nothing trained, and one that needs data."""

import subprocess
import sys
from pathlib import Path

import pytest

from workspace.exported import read_diagnosis

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_an_example_is_made_and_one_without_data_is_left_out(tmp_path: Path) -> None:
    names = ("scene_coordinates", "ssdlite_full")
    call = [sys.executable, "-m", "benchmarks.where_precision_is_lost", "--only", *names]
    places = ["--work-dir", str(tmp_path / "work"), "--tables", str(tmp_path / "tables")]
    done = subprocess.run([*call, *places], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "ssdlite_full: left out, for want of --data" in done.stdout
    assert [path.name for path in (tmp_path / "tables").iterdir()] == ["scene_coordinates"]
    found = read_diagnosis(tmp_path / "tables" / "scene_coordinates")
    assert list(found.causes["where"]) == ["bbox_head.bbox_coder"]
    assert found.members.set_index("name").loc["bbox_head", "alone"] < 0.1, "it only hands FP32 on"

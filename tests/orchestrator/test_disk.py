"""Room on the disk: what runs need of it, told with the plan, and nothing is started where it lacks."""

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from small_plan import NULL, conditions, plan

from workspace.errors import UserError
from workspace.orchestrator.disk import Room, room
from workspace.orchestrator.phases import list_plan, play
from workspace.orchestrator.settings import Settings

MODEL = 3_187_596 + 100_000  # of the demo's FCOS for one class, as stored


def needed(*, runs: int = 4, slots: int = 1, **settings: object) -> int:
    specs = [plan().baseline()[0].spec] * runs
    return room(specs, conditions(), Settings(**settings), slots=slots).needed


def test_each_file_that_is_kept_counts() -> None:
    by_keep = {keep: needed(runs=1, keep=keep) for keep in ("last", "best", "all")}
    epochs = plan().baseline()[0].spec.epochs
    assert by_keep["best"] - by_keep["last"] == MODEL
    assert by_keep["all"] - by_keep["last"] == epochs * MODEL


def test_resume_checkpoints_count_for_the_runs_at_the_same_time() -> None:
    one, two, eight = (needed(slots=slots) for slots in (1, 2, 8))
    assert two - one == 2 * (3 * 3_187_596 + 100_000)  # AdamW keeps two moments
    assert eight - one == 3 * (two - one), "there are four runs"
    assert needed(runs=0, slots=8) == 0


def test_a_tracking_server_keeps_its_own() -> None:
    steps = conditions().steps(plan().baseline()[0].spec)
    assert needed(runs=1) - needed(runs=1, tracking_uri="http://localhost:5000") == 2_800 * steps


def test_what_is_free_is_that_of_the_work_folders_file_system(tmp_path: Path) -> None:
    found = room([], conditions(), Settings(work_dir=tmp_path / "not" / "yet"), slots=1)
    stat = os.statvfs(tmp_path)
    assert found.free == pytest.approx(stat.f_bavail * stat.f_frsize, rel=0.05)
    assert not (tmp_path / "not").exists()


def test_too_little_is_one_line() -> None:
    Room(needed=5, free=5, work_dir=Path("work")).check()
    with pytest.raises(UserError, match=r"work has 4 MB free.* take up to 12\.3 GB: make room.*--work-dir") as error:
        Room(needed=12_340_000_000, free=4_000_000, work_dir=Path("work")).check()
    assert "\n" not in str(error.value)


def test_nothing_starts_where_there_is_too_little(
    crowded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(data=crowded, device="cpu", work_dir=tmp_path / "work", workers=1, seeds=1)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=3_000_000))
    list_plan(NULL, settings)
    told = capsys.readouterr().out.splitlines()[-1]
    assert told.startswith("disk: at most ")
    assert told.endswith("work, where 3 MB are free")
    with pytest.raises(UserError, match=r"has 3 MB free"):
        play(NULL, settings)
    assert not (tmp_path / "work" / "runs").exists()
    assert not (tmp_path / "work" / "mlflow").exists()

"""What the folder of a run says, and what is left in it when the run is over."""

import fcntl
from pathlib import Path

import pytest

from workspace.errors import UserError
from workspace.files import write_json
from workspace.orchestrator.runs import RunRecord, tidy
from workspace.spec import CHECKPOINT, LOCK


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a run that was killed while it wrote."""
    for name in (".result.json.4711", ".best.pth.4711", CHECKPOINT, LOCK, "events.jsonl", "best.pth"):
        (tmp_path / name).write_text("half")
    (tmp_path / ".nfs000000000000beef").write_text("a file system's own")
    return tmp_path


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_half_written_files_go_and_the_checkpoint_of_a_run_that_is_over(folder: Path) -> None:
    before = names(folder)
    tidy(folder, goes_on=True)
    assert names(folder) == before - {".result.json.4711", ".best.pth.4711"}
    tidy(folder, goes_on=False)
    assert names(folder) == before - {".result.json.4711", ".best.pth.4711", CHECKPOINT}


def test_what_another_experiment_trains_is_left_alone(folder: Path) -> None:
    before = names(folder)
    with (folder / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        tidy(folder, goes_on=False)
    assert names(folder) == before


def test_a_folder_in_order_gets_no_lock(tmp_path: Path) -> None:
    write_json(tmp_path / "result.json", {})
    tidy(tmp_path, goes_on=False)
    assert names(tmp_path) == {"result.json"}
    tidy(tmp_path / "never started", goes_on=False)


@pytest.mark.parametrize("content", ["", '{"ap": 5', "[]", '{"ap": 50.0}', '{"audit": null}'])
def test_a_damaged_result_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(content)
    with pytest.raises(UserError, match=r"result\.json is damaged \(.+\): remove it"):
        RunRecord.load(tmp_path)

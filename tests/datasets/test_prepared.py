import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from workspace.datasets.prepared import prepared
from workspace.errors import UserError

ROOT = Path(__file__).parents[2]


class Maker:
    """Fills a folder with two files, and counts how often it did."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, folder: Path) -> None:
        self.times += 1
        (folder / "inner").mkdir()
        (folder / "inner" / "a.txt").write_text("a")
        (folder / "b.txt").write_text("b")


@pytest.fixture
def make() -> Maker:
    return Maker()


def test_made_once(tmp_path: Path, make: Maker) -> None:
    first = prepared(tmp_path / "new" / "folder", make)
    assert prepared(tmp_path / "new" / "folder", make) == first
    assert make.times == 1


def test_digest_is_of_names_and_content(tmp_path: Path, make: Maker) -> None:
    def other(folder: Path) -> None:
        make(folder)
        (folder / "b.txt").rename(folder / "c.txt")

    assert prepared(tmp_path / "1", make) == prepared(tmp_path / "2", make)
    assert prepared(tmp_path / "3", other) != prepared(tmp_path / "1", make)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "b.txt").unlink(),
        lambda folder: (folder / "b.txt").write_text("c"),
        lambda folder: (folder / "more.txt").write_text("c"),
        lambda folder: (folder / "manifest.json").unlink(),
        lambda folder: (folder / "manifest.json").write_text('{"content":'),
        shutil.rmtree,
    ],
    ids=["missing", "changed", "added", "no manifest", "torn manifest", "gone"],
)
def test_damaged_is_made_again(tmp_path: Path, make: Maker, damage: object) -> None:
    folder = tmp_path / "folder"
    first = prepared(folder, make)
    damage(folder)
    assert prepared(folder, make) == first
    assert make.times == 2
    assert sorted(path.name for path in folder.iterdir()) == ["b.txt", "inner", "manifest.json"]
    assert (folder / "b.txt").read_text() == "b"


def test_new_dates_alone_are_no_damage(tmp_path: Path, make: Maker) -> None:
    prepared(tmp_path / "folder", make)
    shutil.copytree(tmp_path / "folder", tmp_path / "copy", copy_function=shutil.copyfile)
    prepared(tmp_path / "copy", make)
    assert make.times == 1


def test_failed_making_leaves_nothing(tmp_path: Path, make: Maker) -> None:
    def fail(folder: Path) -> None:
        make(folder)
        raise UserError("no")

    with pytest.raises(UserError, match="no"):
        prepared(tmp_path / "folder", fail)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_full_disk_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot write .*folder: No space left on device; free some space"):
        prepared(tmp_path / "folder", lambda part: Path("/dev/full").write_text("x"))


def test_work_folder_that_is_a_file(tmp_path: Path, make: Maker) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*: (Not a directory|File exists)"):
        prepared(tmp_path / "file" / "folder", make)


PROCESS = """
import sys, time
from pathlib import Path
from workspace.datasets.prepared import prepared

def make(folder):
    (folder / "half.txt").write_text("x")
    print("making", flush=True)
    time.sleep(float(sys.argv[2]))
    (folder / "whole.txt").write_text("x")

prepared(Path(sys.argv[1]), make)
"""


def start(folder: Path, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROCESS, str(folder), str(seconds)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_a_kill_in_the_middle_leaves_nothing_half(tmp_path: Path, make: Maker) -> None:
    folder = tmp_path / "folder"
    with start(folder, 60) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "making\n"
        os.kill(process.pid, signal.SIGKILL)
    assert not folder.exists()
    prepared(folder, make)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "folder"]
    assert not (folder / "half.txt").exists()


def test_two_processes_make_it_once(tmp_path: Path) -> None:
    processes = [start(tmp_path / "folder", 0.5) for _ in range(2)]
    output = "".join(process.communicate()[0] for process in processes)
    assert [process.returncode for process in processes] == [0, 0]
    assert output == "making\n"

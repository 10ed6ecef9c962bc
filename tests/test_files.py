"""Files are replaced as a whole or not at all."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from workspace.files import write_atomically, write_json


def test_content_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text("a longer content than the new one")
    write_atomically(path, lambda temporary: temporary.write_text("new"))
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_until_it_is_complete_the_old_file_stands(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text("old")

    def write(temporary: Path) -> None:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.parent == tmp_path  # a move within one file system

    write_atomically(path, write)
    assert path.read_text() == "new"


@pytest.mark.parametrize("before", ["old", None])
def test_a_writer_that_fails_leaves_everything_as_it_was(before: str | None, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    if before is not None:
        path.write_text(before)

    def write(temporary: Path) -> None:
        temporary.write_text("half of it")
        raise RuntimeError("no further")

    with pytest.raises(RuntimeError, match="no further"):
        write_atomically(path, write)
    assert (path.read_text() if path.exists() else None) == before
    assert list(tmp_path.iterdir()) == ([] if before is None else [path])


def test_a_kill_in_the_middle_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text("old")
    source = (
        "import os, sys; from pathlib import Path; from workspace.files import write_atomically\n"
        "def write(temporary):\n"
        "    temporary.write_text('half of it')\n"
        "    os.kill(os.getpid(), 9)\n"
        "write_atomically(Path(sys.argv[1]), write)\n"
    )
    root = Path(__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", source, str(path)], cwd=root, check=False).returncode == -9
    assert path.read_text() == "old"


def test_json_is_written_for_people_and_in_one_order(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_json(path, {"b": [1, 2], "a": None})
    assert json.loads(path.read_text()) == {"a": None, "b": [1, 2]}
    assert path.read_text().endswith("}\n")
    other = tmp_path / "other.json"
    write_json(other, {"a": None, "b": [1, 2]})
    assert other.read_bytes() == path.read_bytes()


def test_what_is_no_json_replaces_nothing(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text("old")
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert path.read_text() == "old"

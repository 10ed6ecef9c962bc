"""What ``tools/setup`` says when a machine lacks something: one line with the step, the reason and the remedy."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def path_without_compiler(folder: Path) -> str:
    """A PATH that has only what the script calls before it asks for a compiler."""
    folder.mkdir()
    for program in ("bash", "dirname", "env"):
        found = shutil.which(program)
        assert found, f"this machine has no {program}"
        (folder / program).symlink_to(found)
    return str(folder)


def setup(environment: Path, **variables: str) -> tuple[int, str]:
    """Exit status and standard error of the script on that environment."""
    done = subprocess.run(
        [ROOT / "tools" / "setup", environment],
        env={"HOME": os.environ["HOME"], "PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stderr


def old_python(folder: Path) -> Path:
    """An interpreter whose version the project does not take."""
    folder.mkdir()
    interpreter = folder / "python3"
    interpreter.write_text('#!/bin/sh\n[ "$1" = -V ] && echo "Python 3.9.2" && exit 0\nexit 1\n')
    interpreter.chmod(0o755)
    return interpreter


def test_no_python(tmp_path: Path) -> None:
    old = old_python(tmp_path / "old")
    status, message = setup(tmp_path / "env", PYTHON=str(old))
    assert status != 0
    assert message.startswith(f"setup: no Python 3.11 or 3.12 among: {old}. What to do: ")
    assert message.count("\n") == 1
    assert not (tmp_path / "env").exists()


def test_active_environment_of_another_python(tmp_path: Path) -> None:
    old = old_python(tmp_path / "bin")
    (tmp_path / "bin" / "python").symlink_to(old)
    status, message = setup(tmp_path)
    assert status != 0
    assert message.startswith(f"setup: the environment {tmp_path} has Python 3.9.2, but Python 3.11 or 3.12 is needed.")
    assert message.count("\n") == 1


def test_no_compiler(tmp_path: Path) -> None:
    status, message = setup(tmp_path / "env", PATH=path_without_compiler(tmp_path / "bin"), PYTHON=sys.executable)
    assert status != 0
    assert message.startswith("setup: no C++ compiler: 'c++' is not on PATH")
    assert message.count("\n") == 1
    assert not (tmp_path / "env").exists()


def test_no_network(tmp_path: Path) -> None:
    """A closed port of this machine stands for the package index."""
    status, message = setup(
        tmp_path / "env",
        PYTHON=sys.executable,
        PIP_CONFIG_FILE=os.devnull,
        PIP_INDEX_URL="http://127.0.0.1:9/simple",
        PIP_RETRIES="1",
    )
    assert status != 0
    assert message.startswith("setup: step 'build tools' failed (no network): ")
    assert "What to do: connect the machine to a package index" in message
    assert message.count("\n") == 1
    log = Path(message.rsplit("Log: ", 1)[1].strip())
    assert "127.0.0.1" in log.read_text()


def setup_npu_sim(main: Path, environment: Path, **variables: str) -> tuple[int, str]:
    """Exit status and standard error of the script of the simulated NPU."""
    done = subprocess.run(
        [ROOT / "tools" / "setup-npu-sim", main, environment],
        env={"HOME": os.environ["HOME"], "PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stderr


def test_a_simulated_npu_needs_torch(tmp_path: Path) -> None:
    none = tmp_path / "none"
    status, message = setup_npu_sim(none, tmp_path / "npu")
    assert status != 0
    assert message.startswith(f"setup-npu-sim: the environment {none} has no torch. What to do: make it ready first ")
    assert message.count("\n") == 1
    assert not (tmp_path / "npu").exists()


def test_a_simulated_npu_without_network(tmp_path: Path) -> None:
    status, message = setup_npu_sim(
        Path(sys.prefix),
        tmp_path / "npu",
        PIP_CONFIG_FILE=os.devnull,
        PIP_INDEX_URL="http://127.0.0.1:9/simple",
        PIP_RETRIES="1",
    )
    assert status != 0
    assert message.startswith("setup-npu-sim: step 'torch_npu ")
    assert "failed (no network): " in message
    assert message.count("\n") == 1

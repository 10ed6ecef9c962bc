"""What workers run in the tests of this folder."""

import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


def write(path: Path, text: str) -> None:
    path.write_text(text)


def talk() -> None:
    print("said")
    print("complained", file=sys.stderr)
    subprocess.run(["echo", "echoed by a child"], check=True)


def report_surroundings(path: Path) -> None:
    import preload_witness

    facts = {
        "preloaded_by_parent": os.getppid() == preload_witness.IMPORTED_BY,
        "threads": os.environ["OMP_NUM_THREADS"],
        "threads_at_preload": preload_witness.THREADS,
    }
    path.write_text(repr(facts))


def announce_and_sleep(path: Path) -> None:
    path.write_text(str(os.getpid()))
    time.sleep(600)


def announce_and_ignore_sigterm(path: Path) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    announce_and_sleep(path)


def fail() -> None:
    raise ValueError("broken on purpose")


def leave(code: int) -> None:
    sys.exit(code)


def print_and_die(signum: int) -> None:
    print("last words")
    os.kill(os.getpid(), signum)


def crash() -> None:
    ctypes.string_at(0)


def start_a_child(path: Path) -> None:
    child = multiprocessing.get_context("spawn").Process(target=write, args=(path, "written by a child"))
    child.start()
    child.join()


class _Missing:
    def __reduce__(self) -> tuple[Any, ...]:
        return __import__, ("gone_by_then",)


def refer_to_a_missing_module() -> Any:
    """What is pickled here and cannot be loaded anywhere."""
    return _Missing()


def report_devices(path: Path) -> None:
    path.write_text(os.environ.get("ASCEND_RT_VISIBLE_DEVICES", "none"))

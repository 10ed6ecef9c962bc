"""A library that crashes, hangs or raises is a line of the report: each group of checks is a process of its own."""

import importlib.util
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from broken_installations import write_package

from workspace.devices.failures import known_cure
from workspace.doctor import Check, Request
from workspace.doctor.examination import examine_group

ROOT = Path(__file__).parents[2]
NPU = Request(device="npu")


@pytest.fixture
def npu_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Check]]:
    """The checks of the group npu, by name, with a torch_npu of that source installed."""

    def found(module: str, timeout: float = 60, version: str = "2.13.0") -> dict[str, Check]:
        write_package(tmp_path, "torch_npu", version, module, requires=("torch==2.13.0.*", "numpy"))
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT)]))
        return {check.name: check for check in examine_group("npu", NPU, timeout)}

    return found


def test_a_library_that_aborts(npu_group: Callable[..., dict[str, Check]]) -> None:
    found = npu_group("""
        import os, sys
        print("[ERROR] GE(1,python): undefined symbol: aclrtCreateStream", file=sys.stderr, flush=True)
        os.abort()
        """)
    assert found["torch_npu"].status == "ok"
    assert found["driver"].status == "error"
    assert found["driver"].value.startswith("ended by SIGABRT: [ERROR] GE(1,python): undefined symbol")
    assert "libraries of different versions" in found["driver"].cure
    assert list(found) == ["torch_npu", "driver"]


def test_a_library_that_ends_the_process(npu_group: Callable[..., dict[str, Check]]) -> None:
    found = npu_group("raise SystemExit('no licence')")
    assert (found["driver"].status, found["driver"].value) == ("error", "ended with exit code 1: no licence")


def test_a_library_that_hangs_ends_with_what_it_started(
    npu_group: Callable[..., dict[str, Check]], tmp_path: Path
) -> None:
    child = tmp_path / "child"
    found = npu_group(
        f"""
        import pathlib, subprocess, time
        print("waiting for device 0", flush=True)
        pathlib.Path({str(child)!r}).write_text(str(subprocess.Popen(["sleep", "600"]).pid))
        time.sleep(600)
        """,
        timeout=5,
    )
    assert (found["driver"].status, found["driver"].value) == ("error", "no answer within 5 s: waiting for device 0")
    assert "--timeout" in found["driver"].cure
    deadline = time.monotonic() + 10
    while is_running(int(child.read_text())):
        assert time.monotonic() < deadline, "what the library started is still there"
        time.sleep(0.05)


def is_running(process: int) -> bool:
    """Whether it is there and no mere entry that nobody has collected."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("raised", "cure"),
    [
        (
            "ImportError('libhccl.so: cannot open shared object file: No such file or directory')",
            "CANN is not installed",
        ),
        ("ImportError('libascend_hal.so: cannot open shared object file')", "mount /usr/local/Ascend/driver/lib64"),
        (
            "ImportError('/env/lib/libgomp-d22c30c5.so.1.0.0: cannot allocate memory in static TLS block')",
            "export LD_PRELOAD=/env/lib/libgomp-d22c30c5.so.1.0.0",
        ),
        ("Exception('ASCEND_HOME_PATH : /gone does not exist. Please run source set_env.sh')", "set_env.sh"),
        ("Exception('ASCEND_OPP_PATH environment variable is not set.')", "Ascend-cann-910b-ops"),
        ("RuntimeError('get platform info failed, drvErr=87.')", "davinci_manager"),
        ("RuntimeError('Two accelerators cannot be used at the same time in PyTorch: npu and cuda.')", "CPU build"),
        ("RuntimeError('EH9999: Inner Error!\\\\n[Init][Env]init env failed!')", "pip install -e .[npu]"),
    ],
)
def test_known_failures_have_their_cure(raised: str, cure: str, npu_group: Callable[..., dict[str, Check]]) -> None:
    failed = npu_group(f"raise {raised}")["driver"]
    assert failed.status == "error"
    assert cure in f"{failed.value} | {failed.cure}"


def test_the_guides_failures_are_the_doctors() -> None:
    guide = (ROOT / "docs" / "npu.md").read_text()
    table = guide.partition("| it says |")[2].partition("\n\n")[0].splitlines()[2:]
    texts = [re.findall("`([^`]+)`", row.split("|")[1]) for row in table]
    assert len(texts) > 10
    unknown = [row for row in texts if not any(map(known_cure, row))]
    assert not unknown


def test_a_torch_npu_for_another_torch(npu_group: Callable[..., dict[str, Check]]) -> None:
    found = npu_group("raise ImportError('undefined symbol: _ZN3c10')", version="2.12.0")
    assert found["torch_npu"].status == "error"
    assert found["torch_npu"].value == "torch_npu 2.12.0 is not <2.14,>=2.13"


@pytest.mark.skipif(importlib.util.find_spec("torch_npu") is not None, reason="torch_npu is installed")
def test_where_nothing_of_an_npu_is_nothing_is_missed() -> None:
    (check,) = examine_group("npu", Request(), 60)
    assert (check.status, check.value) == ("ok", "not installed; no NPU is here")
    assert not list(examine_group("cann", Request(), 60))

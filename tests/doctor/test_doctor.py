"""``python -m workspace doctor`` as an engineer calls it, on this machine and on broken ones."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from broken_installations import write_package

ROOT = Path(__file__).parents[2]
KEYS = ["group", "name", "status", "value", "cure"]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work folder for all calls: the embedded set is made once."""
    return tmp_path_factory.mktemp("doctor") / "work"


def called(*arguments: object, code: int, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "workspace", "doctor", *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def found(*arguments: object, code: int, **environment: str) -> dict[tuple[str, str], dict[str, Any]]:
    """The checks of ``--json``, by group and name."""
    report = json.loads(called(*arguments, "--json", code=code, **environment).stdout)
    checks = report["checks"]
    assert all(list(check) == KEYS for check in checks)
    assert report["errors"] == sum(check["status"] == "error" for check in checks)
    assert report["warnings"] == sum(check["status"] == "warning" for check in checks)
    assert (report["errors"] > 0) == (code == 1)
    return {(check["group"], check["name"]): check for check in checks}


def test_text_and_json_say_the_same(work: Path) -> None:
    text = called("--device", "cpu", "--work-dir", work, code=0).stdout
    checks = found("--device", "cpu", "--work-dir", work, code=0)
    *lines, last = text.splitlines()
    assert (
        last
        == f"{len(checks)} checks: 0 errors, {sum(each['status'] == 'warning' for each in checks.values())} warnings"
    )
    assert "\x1b" not in text
    for line, ((group, name), check) in zip(lines, checks.items(), strict=True):
        assert line.startswith(f"{check['status']:<8}{group:<9} {name:<14} ")
    assert [group for group, _ in checks][:4] == ["host", "host", "host", "host"]
    assert checks["packages", "torch"]["value"].startswith(torch.__version__)
    assert checks["cpu", "fp32"]["value"] == "strict"
    assert checks["cpu", "precisions"]["value"] == "fp32, hf32, fp16, fp16 overflow=saturate, bf16"
    assert "train 1200, search 200, eval 300" in checks["data", "data set"]["value"]
    assert not {"driver", "cann", "npu", "cuda"} & {group for group, _ in checks}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_was_asked_for_is_missed(work: Path) -> None:
    check = found("--device", "cuda", "--work-dir", work, code=1)["cuda", "device"]
    assert check["status"] == "error"
    assert "device cuda:" in check["value"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--device", "tpu"), "'tpu' is not one of"),
        (("--timeout", "0"), "not in the range"),
        (("x",), "unexpected extra"),
    ],
)
def test_wrong_calls_are_one_line(arguments: tuple[str, ...], said: str) -> None:
    error = called(*arguments, code=2).stderr
    assert said in error
    assert len(error.splitlines()) == 1


def test_a_torch_outside_the_range(work: Path, tmp_path: Path) -> None:
    write_package(tmp_path, "torch", "2.12.0")
    (tmp_path / "torch/version.py").write_text("__version__ = '2.12.0+cpu'\ncuda = None\n")
    checks = found("--device", "npu", "--work-dir", work, code=1, PYTHONPATH=with_path(tmp_path))
    assert checks["packages", "torch"]["status"] == "error"
    assert checks["packages", "torch"]["value"] == "torch 2.12.0 is not <2.14,>=2.13"
    assert "make setup TORCH=" in checks["packages", "torch"]["cure"]
    assert checks["npu", "torch_npu"]["value"] == "not installed"


def test_a_cuda_build_beside_torch_npu_and_a_rival_mmcv(work: Path, tmp_path: Path) -> None:
    write_package(tmp_path, "torch", "2.13.0+cu130")
    (tmp_path / "torch/version.py").write_text("__version__ = '2.13.0+cu130'\ncuda = '13.0'\n")
    write_package(tmp_path, "torch_npu", "2.13.0", requires=("torch==2.13.0.*",))
    write_package(tmp_path, "mmcv", "2.2.0")
    checks = found("--device", "npu", "--work-dir", work, code=1, PYTHONPATH=with_path(tmp_path))
    build = checks["packages", "torch"]
    assert (build["status"], build["value"]) == ("error", "2.13.0+cu130, CUDA 13.0 build")
    assert "torch_npu refuses to load beside a CUDA build" in build["cure"]
    assert checks["packages", "mmcv"]["value"] == "2.3.6, without its compiled operators"
    assert checks["packages", "rivals"]["value"].startswith("mmcv 2.2.0 beside the OneDL distributions")


def with_path(folder: Path) -> str:
    return os.pathsep.join([str(folder), str(ROOT)])


def test_a_work_folder_that_cannot_be(work: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    checks = found("--device", "cpu", "--work-dir", tmp_path / "file" / "work", code=1)
    check = checks["disk", "work"]
    assert check["status"] == "error"
    assert "cannot be written: Not a directory" in check["value"]
    assert "name another --work-dir" in check["cure"]
    assert checks["data", "data set"]["status"] == "error"


MOUNT = (
    shutil.which("unshare")
    and subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode == 0
)


@pytest.mark.skipif(not MOUNT, reason="no file system can be mounted here")
def test_a_full_disk(tmp_path: Path) -> None:
    folder = tmp_path / "full"
    folder.mkdir()
    mounted = f'mount -t tmpfs -o size=512k none {folder} && exec "$@"'
    command = [sys.executable, "-m", "workspace", "doctor", "--device", "cpu", "--json", "--work-dir", str(folder)]
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", mounted, "sh", *command], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 1, done.stderr
    checks = {(check["group"], check["name"]): check for check in json.loads(done.stdout)["checks"]}
    assert checks["disk", "work"]["value"] == f"work folder {folder} cannot be written: No space left on device"
    assert checks["disk", "file system"]["value"] == "tmpfs"
    assert "No space left on device" in checks["data", "data set"]["value"]


def test_data_that_cannot_be_trained_on(work: Path, tmp_path: Path) -> None:
    check = found("--device", "cpu", "--work-dir", work, "--data", tmp_path, code=1)["data", "data set"]
    assert check["status"] == "error"
    assert str(tmp_path) in check["value"]


def test_data_with_warnings(work: Path, crowded: Path) -> None:
    check = found("--device", "cpu", "--work-dir", work, "--data", crowded, code=0)["data", "data set"]
    assert check["status"] == "warning"
    assert "train 38, search 10, eval 21" in check["value"]
    assert "picture under 32 pixels, which is not trained on: 1" in check["value"]


def test_a_tracking_server_that_is_down_and_no_password_anywhere(work: Path) -> None:
    uri = "http://user:hunter2@127.0.0.1:9"
    done = called("--device", "cpu", "--work-dir", work, "--tracking-uri", uri, code=1, MLFLOW_TRACKING_URI=uri)
    assert "hunter2" not in done.stdout + done.stderr
    assert "error   tracking  runs           http://***@127.0.0.1:9: " in done.stdout
    assert "MLFLOW_TRACKING_URI=http://***@127.0.0.1:9" in done.stdout


def test_stores_that_are_no_databases(work: Path, tmp_path: Path) -> None:
    shutil.copytree(work / "data", tmp_path / "data")
    (tmp_path / "mlflow").mkdir()
    for name in ("mlflow/mlflow.db", "optuna.db"):
        (tmp_path / name).write_text("nothing that SQLite knows" * 100)
    checks = found("--device", "cpu", "--work-dir", tmp_path, code=1)
    for name in ("runs", "studies"):
        assert checks["tracking", name]["status"] == "error"
        assert "file is not a database" in checks["tracking", name]["value"]

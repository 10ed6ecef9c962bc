"""The doctor on the simulated NPU, through the real torch_npu: what it says of each family."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from workspace.doctor import Check, Request
from workspace.doctor.examination import examine_group

pytestmark = pytest.mark.skipif(importlib.util.find_spec("torch_npu") is None, reason="make test-npu has torch_npu")

TIMEOUT = 120


def npu_group(monkeypatch: pytest.MonkeyPatch, **environment: str) -> dict[str, Check]:
    """The checks of the group npu, by name, on a simulated NPU of that kind."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return {check.name: check for check in examine_group("npu", Request(device="npu"), TIMEOUT)}


def test_an_a2_computes_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    found = npu_group(monkeypatch, NPU_SIM_SOC="Ascend910B3", NPU_SIM_DEVICES="8")
    assert found["torch_npu"].value.startswith("2.13.0")
    assert found["driver"].value == "NPUs that torch_npu sees: 8"
    assert "name Ascend910B3, soc 223, family Atlas A2" in found["facts"].value
    assert found["precisions"].value == "fp32, hf32, fp16, fp16 overflow=saturate, bf16"
    assert (found["fp32"].status, found["fp32"].value) == ("ok", "strict")
    assert found["fp16"].status == "ok"
    assert found["nms"].status == "warning"
    assert "suppress boxes on the CPU" in found["nms"].value


def test_a_910a_has_no_fp32_arm(monkeypatch: pytest.MonkeyPatch) -> None:
    found = npu_group(monkeypatch, NPU_SIM_SOC="Ascend910A")
    assert found["driver"].status == "ok"
    assert found["precisions"].value == "fp16 overflow=saturate"
    assert found["fp32"].status == "warning"
    assert "has no FP32 matrix unit" in found["fp32"].value
    assert "docs/npu.md" in found["fp32"].cure
    assert "overflow saturate" in found["facts"].value


def test_an_overflow_mode_in_the_shell_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs set their own; torch_npu alone would refuse to start."""
    found = npu_group(monkeypatch, NPU_SIM_SOC="Ascend910B3", INF_NAN_MODE_ENABLE="0")
    assert {check.status for check in found.values()} == {"ok", "warning"}


def test_visible_devices_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    found = npu_group(monkeypatch, ASCEND_RT_VISIBLE_DEVICES="0,3")
    assert found["driver"].value == "NPUs that torch_npu sees: 2"


def test_the_whole_report_misses_the_driver_alone(tmp_path: Path) -> None:
    """A simulation has no device files; where an NPU was asked for, that is an error."""
    command = [sys.executable, "-m", "workspace", "doctor", "--device", "npu", "--json", "--work-dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    checks = json.loads(done.stdout)["checks"]
    assert {check["group"] for check in checks if check["status"] == "error"} == {"driver"}
    toolkit = next(check for check in checks if check["name"] == "toolkit")
    assert (toolkit["status"], toolkit["value"]) == ("ok", f"9.1.0, {os.environ['ASCEND_HOME_PATH']}")

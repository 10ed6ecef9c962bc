"""What an NPU's monitor adds to npu-smi: the memory of this process, once it uses the devices. And which those are."""

import sys
from pathlib import Path

import pytest

from workspace import devices
from workspace.devices import npu
from workspace.errors import UserError

TORCH_NPU = """
from types import SimpleNamespace
initialized = False
current = []
npu = SimpleNamespace(
    device_count=lambda: 4,
    is_initialized=lambda: initialized,
    max_memory_allocated=lambda device: (device + 1) * 10**9,
    set_device=current.append,
    set_compile_mode=lambda jit_compile: None,
)
"""


@pytest.fixture
def torch_npu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of that name, and neither driver nor npu-smi."""
    (tmp_path / "torch_npu.py").write_text(TORCH_NPU)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "torch_npu", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("TORCH_DEVICE_BACKEND_AUTOLOAD", "0")
    return tmp_path


def test_memory_of_tensors_is_told_once_the_process_uses_its_devices(torch_npu: Path) -> None:
    monitor = devices.device("npu").monitor(["npu:3", "npu:0"])
    assert monitor is not None
    assert monitor() == {}
    assert "torch_npu" not in sys.modules, "a sample must not bring the driver up"
    import torch_npu as module

    assert monitor() == {}
    module.initialized = True
    assert monitor() == {"npu_0_memory_peak_megabytes": 4000, "npu_1_memory_peak_megabytes": 1000}
    sys.modules.pop("torch_npu")


def test_a_device_that_was_lost_is_for_the_training_to_find(torch_npu: Path) -> None:
    monitor = devices.device("npu").monitor(["npu:0"])
    assert monitor is not None
    (torch_npu / "torch_npu.py").write_text(TORCH_NPU.replace("(device + 1) * 10**9", "exec('raise RuntimeError')"))
    import torch_npu as module

    module.initialized = True
    assert monitor() == {}
    sys.modules.pop("torch_npu")


def test_a_device_that_is_not_visible_is_refused_by_name(torch_npu: Path) -> None:
    devices.device("npu").select("npu:3")
    with pytest.raises(UserError, match="npu:5 was asked for, 4 NPUs are visible"):
        devices.device("npu").select("npu:5")
    assert sys.modules.pop("torch_npu").current == ["npu:3"]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("1,0", "ASCEND_RT_VISIBLE_DEVICES=1,0: CANN takes ascending numbers only"),
        ("npu:0", "ASCEND_RT_VISIBLE_DEVICES=npu:0 leaves no device: list some of 0 to 7"),
        ("0,1", "torch_npu sees no NPU"),
    ],
)
def test_where_no_npu_is_seen_the_reason_is_given(
    value: str, reason: str, torch_npu: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (torch_npu / "torch_npu.py").write_text(TORCH_NPU.replace("lambda: 4", "lambda: 0"))
    monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", value)
    monkeypatch.setattr(npu, "device_nodes", lambda: list(range(8)))
    with pytest.raises(UserError, match=reason):
        devices.device("npu").check()
    sys.modules.pop("torch_npu")

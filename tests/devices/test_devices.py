"""One contract for every kind of device, and clear words where one cannot be used. Never another in its place."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch

from workspace import devices
from workspace.errors import UserError
from workspace.precision import FP32
from workspace.precision.audit import contradictions

ROOT = Path(__file__).parents[2]


def usable(name: Any) -> bool:
    try:
        devices.resolve(name)
    except UserError:
        return False
    return True


USABLE = [name for name in ("cpu", "cuda", "npu") if usable(name)]


@pytest.fixture(params=USABLE)
def device(request: pytest.FixtureRequest) -> devices.Device:
    return devices.resolve(request.param)


def test_a_device_is_what_it_is_called(device: devices.Device) -> None:
    assert device is devices.device(device.kind)
    assert devices.resolve(device.kind) is device
    assert device.facts()["kind"] == device.kind
    assert device.facts()["name"]


def test_there_is_one_and_torch_can_compute_on_it(device: devices.Device) -> None:
    assert device.count() >= 1
    place = torch.device(device.torch_name(device.count() - 1))
    assert place.type == device.kind
    assert torch.ones(3, device=place).sum().item() == 3


def test_facts_are_json(device: devices.Device) -> None:
    assert json.loads(json.dumps(device.facts())) == device.facts()


def test_strict_fp32_is_strict(device: devices.Device) -> None:
    """Also after somebody allowed less: in TF32 or HF32 the product would be rounded to 1."""
    torch.set_float32_matmul_precision("medium")
    try:
        device.use_strict_fp32()
        assert device.facts()["reduced_fp32"] is False
        ones = torch.eye(16, device=device.torch_name(0))
        fine = ones * (1 + 2.0**-20)
        assert (fine @ ones).diagonal().sub(1).tolist() == [2.0**-20] * 16
    finally:
        torch.set_float32_matmul_precision("highest")


def test_reduced_fp32_is_a_fact_and_a_contradiction() -> None:
    torch.set_float32_matmul_precision("medium")
    try:
        facts = devices.device("cpu").facts()
    finally:
        torch.set_float32_matmul_precision("highest")
    audit = {"layer_outputs": {"float32": 1}, "island_outputs": {}, "parameters": {}, "autocast": [], "scaler": None}
    (found,) = contradictions({**audit, "device": facts}, FP32)
    assert "fewer mantissa bits" in found


def test_auto_is_the_best_that_is_there() -> None:
    assert devices.resolve("auto").kind == USABLE[-1]


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(UserError, match="unknown device 'tpu': use auto, cpu, cuda or npu"):
        devices.resolve("tpu")  # type: ignore[arg-type]


@pytest.mark.skipif("cuda" in USABLE, reason="there is a GPU")
def test_cuda_without_a_gpu_says_so() -> None:
    missing = "torch sees no GPU" if torch.version.cuda else "built without CUDA; install a CUDA build"
    with pytest.raises(UserError, match=missing):
        devices.resolve("cuda")


@pytest.mark.skipif("npu" in USABLE, reason="there is an NPU")
def test_npu_without_torch_npu_says_so() -> None:
    with pytest.raises(UserError, match=r"torch_npu is not installed; run `pip install -e .\[npu\]`"):
        devices.resolve("npu")


def with_torch_npu(folder: Path, module: str, source: str) -> str:
    """What ``source`` prints in a process whose ``torch_npu`` is that module: there is no NPU here to ask."""
    package = folder / "torch_npu"
    package.mkdir()
    (package / "__init__.py").write_text(textwrap.dedent(module))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
    program = "from workspace import devices\nfrom workspace.errors import UserError\n" + textwrap.dedent(source)
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


RESOLVE = """
    for name in ("npu", "auto"):
        try:
            print("resolved to", devices.resolve(name).kind)
        except UserError as error:
            print(error)
    """


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        ("ImportError('libhccl.so: cannot open shared object file\\nand more')", "libhccl.so: cannot open shared"),
        ("RuntimeError('driver version mismatch')", "driver version mismatch"),
        ("OSError()", "OSError"),
    ],
)
def test_a_broken_torch_npu_is_one_line_and_never_the_cpu(failure: str, reason: str, tmp_path: Path) -> None:
    said = with_torch_npu(tmp_path, f"raise {failure}", RESOLVE).splitlines()
    assert len(said) == 2
    assert said[0] == said[1]
    assert said[0].startswith(f"device npu: torch_npu does not load ({reason}")
    assert said[0].endswith("install CANN and `source set_env.sh` of its toolkit")


FAKE = """
    from types import SimpleNamespace
    npu = SimpleNamespace(
        device_count=lambda: {count},
        get_soc_version=lambda: {soc},
        get_device_name=lambda: "{name}",
        conv=SimpleNamespace(allow_hf32=True),
        matmul=SimpleNamespace(allow_hf32=False),
    )
    """


def test_an_npu_that_torch_npu_does_not_see_is_no_device(tmp_path: Path) -> None:
    said = with_torch_npu(tmp_path, FAKE.format(count=0, soc=223, name=""), RESOLVE).splitlines()
    assert said == ["device npu: torch_npu sees no NPU; check npu-smi info and ASCEND_RT_VISIBLE_DEVICES"] * 2


@pytest.mark.parametrize(("soc", "name"), [(103, "Ascend910ProB"), (104, "Ascend910B"), (205, "Ascend310P4")])
def test_strict_fp32_is_refused_where_the_cube_has_none(soc: int, name: str, tmp_path: Path) -> None:
    source = """
        npu = devices.resolve("auto")
        try:
            npu.use_strict_fp32()
        except UserError as error:
            print(error)
        """
    said = with_torch_npu(tmp_path, FAKE.format(count=1, soc=soc, name=name), source)
    assert said.startswith(f"device npu: {name} (SoC {soc}) has no FP32 matrix unit")
    assert "train the FP32 arm on" in said


@pytest.mark.parametrize("soc", [220, 250])
def test_strict_fp32_switches_hf32_off(soc: int, tmp_path: Path) -> None:
    source = """
        import json
        npu = devices.resolve("npu")
        before = npu.facts()
        npu.use_strict_fp32()
        print(json.dumps([before, npu.facts(), npu.count(), npu.torch_name(3)]))
        """
    said = with_torch_npu(tmp_path, FAKE.format(count=8, soc=soc, name="Ascend910B1"), source)
    before, after, count, name = json.loads(said)
    assert before["reduced_fp32"] is True
    assert after["reduced_fp32"] is False
    assert (after["kind"], after["soc"], after["name"]) == ("npu", soc, "Ascend910B1")
    assert (count, name) == (8, "npu:3")

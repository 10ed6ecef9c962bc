"""One contract for every kind of device, and clear words where one cannot be used. Never another in its place."""

import json
import os
import subprocess
import sys
import textwrap
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from workspace import devices
from workspace.errors import UserError
from workspace.precision import LossScale, Precision
from workspace.precision.audit import measured_fp32

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


def test_what_it_was_given_is_done_and_counted(device: devices.Device) -> None:
    """A gigabyte's worth of work is waited for; a peak is never below what is held."""
    place = device.torch_name(0)
    device.select(place)
    before = device.peak_memory()
    held = torch.ones(2**22, device=place)
    total = (held * 2).sum()
    device.synchronize()
    assert total.item() == 2**23
    assert device.peak_memory() >= max(before, 4 * 2**22)


def test_seeds_repeat_its_draws(device: devices.Device) -> None:
    torch.manual_seed(7)
    first = torch.rand(64, device=device.torch_name(0))
    torch.manual_seed(7)
    assert torch.equal(torch.rand(64, device=device.torch_name(0)), first)


def test_its_scaler_starts_where_it_is_told_and_is_on(device: devices.Device) -> None:
    scaler = device.grad_scaler(LossScale(init=512.0, growth_interval=7))
    assert scaler.is_enabled()
    assert (scaler.get_scale(), scaler.get_growth_interval()) == (512.0, 7)
    scaled = scaler.scale(torch.ones((), device=device.torch_name(0)))
    assert scaled.item() == 512.0


def test_every_precision_is_computed_or_refused(device: devices.Device) -> None:
    """And what FP16 does there by default is never refused."""
    for name in ("fp32", "hf32", "bf16"):
        with suppress(UserError):
            device.require(Precision(name=name))
    device.require(Precision(name="fp16", loss_scale=LossScale(), overflow=device.overflow))


def test_hf32_is_a_switch_that_is_put_back(device: devices.Device) -> None:
    try:
        device.require(Precision(name="hf32"))
        switch = device.hf32()
    except (UserError, NotImplementedError):
        pytest.skip(f"{device.kind} has no switch for HF32")
    device.use_strict_fp32()
    with switch:
        assert device.fp32_mode() == measured_fp32(device.torch_name(0)) == "hf32"
        with device.hf32():
            pass
        assert device.fp32_mode() == "hf32"
    assert device.fp32_mode() == measured_fp32(device.torch_name(0)) == "fp32"


def test_strict_fp32_is_strict(device: devices.Device) -> None:
    """Also after somebody allowed less: in TF32 or HF32 the product would be rounded to 1."""
    torch.set_float32_matmul_precision("medium")
    try:
        device.use_strict_fp32()
        if device.fp32_mode() == "fp16":
            pytest.skip("this hardware has no FP32")
        assert device.facts()["fp32"] == device.fp32_mode() == "fp32"
        assert measured_fp32(device.torch_name(0)) == "fp32"
        ones = torch.eye(16, device=device.torch_name(0))
        fine = ones * (1 + 2.0**-20)
        assert (fine @ ones).diagonal().sub(1).tolist() == [2.0**-20] * 16
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize(("setting", "mode"), [("high", "tf32"), ("medium", "bf16")])
def test_reduced_fp32_is_a_fact(setting: str, mode: str) -> None:
    torch.set_float32_matmul_precision(setting)
    try:
        facts = devices.device("cpu").facts()
    finally:
        torch.set_float32_matmul_precision("highest")
    assert facts["fp32"] == mode


@pytest.mark.parametrize(
    "precision",
    [Precision(name="hf32"), Precision(name="fp16", loss_scale=LossScale(), overflow="saturate")],
    ids=["hf32", "saturating fp16"],
)
def test_cuda_refuses_what_is_ascend_s(precision: Precision) -> None:
    with pytest.raises(UserError, match=r"device cuda: .*use an NPU .*or the CPU's model"):
        devices.device("cuda").require(precision)


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


def with_torch_npu(folder: Path, module: str, source: str, home: Path | None = None) -> str:
    """What ``source`` prints in a process whose ``torch_npu`` is that module: there is no NPU here to ask."""
    package = folder / "torch_npu"
    package.mkdir()
    (package / "__init__.py").write_text(textwrap.dedent(module))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
    environment.pop("ASCEND_HOME_PATH", None)  # a CANN that is there would be part of the answer
    if home is not None:
        environment["ASCEND_HOME_PATH"] = str(home)
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
    ("failure", "reason", "cure"),
    [
        (
            "ImportError('libhccl.so: cannot open shared object file\\nand more')",
            "libhccl.so: cannot open shared",
            "CANN is not installed, or not on LD_LIBRARY_PATH: `source ",
        ),
        ("RuntimeError('driver version mismatch')", "driver version mismatch", "install CANN and `source set_env.sh`"),
        ("OSError()", "OSError", "install CANN and `source set_env.sh` of its toolkit"),
        (
            "Exception('ASCEND_OPP_PATH environment variable is not set')",
            "ASCEND_OPP_PATH environment variable",
            "install the operators for this chip",
        ),
        (
            "RuntimeError('Two accelerators cannot be used at the same time')",
            "Two accelerators cannot be used",
            "exchange torch for its CPU build",
        ),
    ],
)
def test_a_broken_torch_npu_is_one_line_and_never_the_cpu(failure: str, reason: str, cure: str, tmp_path: Path) -> None:
    said = with_torch_npu(tmp_path, f"raise {failure}", RESOLVE).splitlines()
    assert len(said) == 2
    assert said[0] == said[1]
    assert said[0].startswith(f"device npu: torch_npu does not load ({reason}")
    assert f"; {cure}" in said[0]


@pytest.mark.parametrize(
    ("failure", "home", "cure"),
    [
        (
            "libhccl.so: cannot open shared object file",
            "gone",
            "ASCEND_HOME_PATH is {home}, and no such folder is there",
        ),
        ("libhccl.so: cannot open shared object file", ".", "; CANN is not installed, or not on LD_LIBRARY_PATH"),
        ("undefined symbol: aclrtFoo", ".", "; libraries of different versions"),
        ("something else", ".", "; the CANN in {home} does not fit"),
    ],
)
def test_what_is_wrong_with_the_home_of_cann_is_said(failure: str, home: str, cure: str, tmp_path: Path) -> None:
    folder = tmp_path / home
    said = with_torch_npu(tmp_path, f"raise ImportError({failure!r})", RESOLVE, home=folder).splitlines()
    assert cure.format(home=folder) in said[0]


def test_a_torch_npu_that_does_not_load_is_no_matter_of_a_cpu_s(tmp_path: Path) -> None:
    """torch loads what calls itself a backend as soon as it is imported, unless it is told not to."""
    metadata = tmp_path / "broken_backend-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-backend\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[torch.backends]\nbroken = torch_npu:autoload\n")
    source = """
        import torch
        print(devices.resolve("cpu").kind, torch.ones(2).sum().item())
        """
    assert with_torch_npu(tmp_path, "raise ImportError('libhccl.so')", source) == "cpu 2.0"


@pytest.mark.skipif("CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="another C library than glibc")
def test_what_large_tensors_leave_on_the_cpu_is_kept_for_the_next() -> None:
    script = """
        import resource
        import torch
        from workspace import devices

        def faults() -> int:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            for _ in range(10):
                torch.ones(64, 1024, 1024 // 4)
            return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

        faults()
        given_back = faults()
        devices.resolve("cpu").keep_freed_memory()
        faults()
        print(given_back, faults())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    given_back, kept = map(int, done.stdout.split())
    assert kept < given_back / 10

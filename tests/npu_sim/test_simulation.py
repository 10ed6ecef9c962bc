"""The simulated NPU itself, through torch_npu's public interface: nothing that it does not serve passes in silence."""

from collections.abc import Callable
from subprocess import CompletedProcess

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from workspace import devices
from workspace.precision.hf32 import HighFloat32

RunOn = Callable[..., CompletedProcess[str]]


@pytest.fixture(autouse=True)
def npu() -> None:
    devices.resolve("npu")
    torch.npu.set_device(0)  # a test before this one may have trained on another


def test_an_operator_without_a_kernel_fails_and_is_named() -> None:
    import torch_npu

    with pytest.raises(RuntimeError, match="operator RmsNorm is not served by the simulated NPU"):
        torch_npu.npu_rms_norm(torch.ones(4, 8, device="npu"), torch.ones(8, device="npu"))


def test_results_are_the_cpus_and_stay_on_the_device() -> None:
    x = torch.randn(2, 3, 8, 8)
    layer = nn.Conv2d(3, 4, 3)
    on_npu = nn.Conv2d(3, 4, 3).npu()
    on_npu.load_state_dict(layer.state_dict())
    devices.device("npu").use_strict_fp32()
    out = on_npu(x.npu())
    assert out.device == torch.device("npu:0")
    assert torch.equal(out.detach().cpu(), layer(x).detach())
    total, where = torch.stack([out, out]).flatten(1).max(dim=1)
    assert (total.device.type, where.device.type) == ("npu", "npu")


def test_writing_in_place_writes_to_the_device() -> None:
    x = torch.zeros(4, 4, device="npu")
    x[1:3].add_(1)
    x.t()[0].mul_(5)
    torch._foreach_add_([x], 1)
    out = torch.empty(0, device="npu")
    torch.add(x, x, out=out)
    assert x.tolist() == [[1, 1, 1, 1], [6, 2, 2, 2], [6, 2, 2, 2], [1, 1, 1, 1]]
    assert out.tolist() == (2 * x).tolist()


def test_random_numbers_follow_the_devices_own_seed() -> None:
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    torch.npu.manual_seed(7)
    first = torch.rand(5, device="npu"), torch.randperm(20, device="npu"), F.dropout(torch.ones(50, device="npu"))
    torch.npu.manual_seed(7)
    again = torch.rand(5, device="npu"), torch.randperm(20, device="npu"), F.dropout(torch.ones(50, device="npu"))
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    assert not torch.equal(first[0], torch.rand(5, device="npu"))
    assert torch.equal(torch.random.get_rng_state(), before), "the CPU's random numbers were used up"


def test_hf32_rounds_the_operands_of_convolutions_while_it_is_allowed() -> None:
    import torch_npu

    x, weight = torch.randn(1, 8, 6, 6), torch.randn(4, 8, 3, 3)
    devices.device("npu").use_strict_fp32()
    assert torch.equal(F.conv2d(x.npu(), weight.npu()).cpu(), F.conv2d(x, weight))
    with devices.device("npu").hf32():
        rounded = F.conv2d(x.npu(), weight.npu()).cpu()
    assert torch_npu.npu.conv.allow_hf32 is False
    with HighFloat32():
        assert torch.equal(rounded, F.conv2d(x, weight))
    assert not torch.equal(rounded, F.conv2d(x, weight))


def test_memory_is_counted() -> None:
    torch.npu.empty_cache()
    free, total = torch.npu.mem_get_info()
    assert total == 64 << 30
    held = torch.empty(100 << 20, dtype=torch.uint8, device="npu")
    assert free - torch.npu.mem_get_info()[0] >= held.numel()
    del held
    torch.npu.empty_cache()
    assert torch.npu.mem_get_info()[0] == free
    with pytest.raises(torch.OutOfMemoryError, match=r"NPU out of memory\. Tried to allocate 128\.00 GiB"):
        torch.empty(128 << 30, dtype=torch.uint8, device="npu")


def test_devices_are_those_that_are_visible(run_on: RunOn) -> None:
    count = "import torch, torch_npu; print(torch.npu.device_count())"
    assert torch.npu.device_count() == 8
    assert run_on("Ascend910B3", count, NPU_SIM_DEVICES="4").stdout.split()[-1] == "4"
    # The runtime reads the list up to the first device that is not there.
    assert run_on("Ascend910B3", count, ASCEND_RT_VISIBLE_DEVICES="0,2,9,3").stdout.split()[-1] == "2"
    assert run_on("Ascend910B3", count, ASCEND_RT_VISIBLE_DEVICES="2,0").stdout.split()[-1] == "0"
    with pytest.raises(RuntimeError, match="device 8 of 8"):
        torch.ones(1, device="npu:8")


def test_the_first_series_computes_fp32_products_in_fp16_and_raises_its_flag(run_on: RunOn) -> None:
    source = """
import torch, torch_npu
from torch_npu.npu import utils

fine = torch.eye(4, device="npu") * (1 + 2.0**-20)
print("fine", (fine @ torch.eye(4, device="npu")).diagonal().unique().tolist())
print("flag", utils.get_npu_overflow_flag())
large = torch.full((2, 2), 60000.0, device="npu").half()
print("sum", (large + large).unique().tolist(), "flag", utils.get_npu_overflow_flag())
utils.clear_npu_overflow_flag()
print("nan", (torch.zeros(2, device="npu").half() / 0).tolist(), "flag", utils.get_npu_overflow_flag())
"""
    said = run_on("Ascend910A", source).stdout.splitlines()
    assert said[-4:] == ["fine [1.0]", "flag False", "sum [65504.0] flag True", "nan [0.0, 0.0] flag True"]

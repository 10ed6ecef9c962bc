"""Whether a device computes, and FP32 as FP32: tried, not believed."""

from typing import TYPE_CHECKING

from workspace.devices import Device
from workspace.doctor.check import Answer, error, ok
from workspace.errors import UserError
from workspace.precision import FP32, LossScale, Precision

if TYPE_CHECKING:
    import torch


_SWITCHED_ON = "no FP32 arm can be trained here: see which variable or library switches TF32, HF32 or BF16 on"
_PRECISIONS = {
    "fp32": FP32,
    "hf32": Precision(name="hf32"),
    "fp16": Precision(name="fp16", loss_scale=LossScale()),
    "fp16 overflow=saturate": Precision(name="fp16", loss_scale=LossScale(), overflow="saturate"),
    "bf16": Precision(name="bf16"),
}


def precisions(device: Device) -> Answer:
    """Those that runs on the device may have."""
    return ok(", ".join(name for name, precision in _PRECISIONS.items() if _is_possible(device, precision)))


def _is_possible(device: Device, precision: Precision) -> bool:
    try:
        device.require(precision)
    except UserError:
        return False
    return True


def strict_fp32(device: Device) -> Answer:
    """A convolution and a matrix product of 1 + 2^-20 with 1: HF32, TF32, BF16 and FP16 would round it to 1.

    Raises:
        UserError: the hardware has no FP32.
    """
    import torch  # here, for a torch that does not load must not hide what is said without it

    from workspace.precision.audit import measured_fp32

    device.require(FP32)
    device.use_strict_fp32()
    convolved_in = measured_fp32(device.torch_name(0))
    if convolved_in != "fp32":
        return error(f"convolutions of FP32 come out in {convolved_in}", _SWITCHED_ON)
    ones = torch.eye(16)
    product = _product(device, ones * (1 + 2.0**-20), ones)
    if torch.equal(product, ones * (1 + 2.0**-20)):
        return ok("strict")
    return error(f"a product of 1 + 2^-20 and 1 comes out as 1 + {product[0, 0].item() - 1:.1e}", _SWITCHED_ON)


def half(device: Device) -> Answer:
    """A matrix product in FP16 on the device: 64 ones times 64 ones."""
    import torch

    ones = torch.ones(64, 64, dtype=torch.float16)
    product = _product(device, ones, ones)
    if torch.equal(product, 64 * ones):
        return ok("computes")
    return error(
        f"the sum of 64 ones comes out as {product[0, 0].item():g}",
        "the device or its driver is broken: try another device",
    )


def _product(device: Device, left: "torch.Tensor", right: "torch.Tensor") -> "torch.Tensor":
    """Of two matrices on the CPU, computed on the device."""
    place = device.torch_name(0)
    return (left.to(place) @ right.to(place)).cpu()

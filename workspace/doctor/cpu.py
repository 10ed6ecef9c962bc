"""The processor, strict FP32 on it, and the half arithmetic that stands for the NPU's."""

from workspace import devices
from workspace.doctor.arithmetic import precisions, strict_fp32
from workspace.doctor.check import Answer, Checks, Request, ok


def device(_: Request) -> Answer:
    return ok(", ".join(f"{name} {value}" for name, value in devices.device("cpu").facts().items() if name != "kind"))


def possible(_: Request) -> Answer:
    return precisions(devices.device("cpu"))


def fp32(_: Request) -> Answer:
    return strict_fp32(devices.device("cpu"))


def fp16(_: Request) -> Answer:
    """Compiles the extension where this was not done before, as the first run in FP16 would: about 15 seconds."""
    import torch

    from workspace.precision.half import HalfArithmetic

    ones = torch.ones(64, 64, dtype=torch.float16)
    with HalfArithmetic():
        product = ones @ ones
    return ok(f"half arithmetic compiled and loaded, 64 times 1 is {product.mean().item():g}")


CHECKS: Checks = {"device": device, "precisions": possible, "fp32": fp32, "fp16": fp16}

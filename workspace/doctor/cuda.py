"""NVIDIA GPUs."""

from workspace import devices
from workspace.doctor.arithmetic import half, precisions, strict_fp32
from workspace.doctor.check import Answer, Checks, Request, ok
from workspace.errors import UserError


def _usable() -> bool:
    try:
        devices.device("cuda").check()
    except UserError:
        return False
    return True


def device(request: Request) -> Answer:
    cuda = devices.device("cuda")
    if request.device == "auto" and not _usable():
        return ok("none that torch can use")
    cuda.check()
    found = cuda.facts()
    described = ", ".join(f"{name} {value}" for name, value in found.items() if name != "kind")
    return ok(f"GPUs: {cuda.count()}, {described}")


def possible(_: Request) -> Answer | None:
    return precisions(devices.device("cuda")) if _usable() else None


def fp32(_: Request) -> Answer | None:
    return strict_fp32(devices.device("cuda")) if _usable() else None


def fp16(_: Request) -> Answer | None:
    return half(devices.device("cuda")) if _usable() else None


CHECKS: Checks = {"device": device, "precisions": possible, "fp32": fp32, "fp16": fp16}

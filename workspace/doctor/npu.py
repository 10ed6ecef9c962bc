"""The NPU as torch_npu shows it. All of it goes through :mod:`workspace.devices.npu`, which alone imports torch_npu."""

import importlib.util
from functools import cache
from importlib.metadata import requires

from packaging.requirements import Requirement

from workspace import devices
from workspace.devices.visible import device_nodes
from workspace.doctor.arithmetic import half, precisions, strict_fp32
from workspace.doctor.check import Answer, Checks, Request, error, ok, warning
from workspace.doctor.packages import installed, misfit, requirements
from workspace.errors import UserError

_WITHOUT_FP32 = 'see docs/npu.md, "What differs between families"'


def torch_npu(request: Request) -> Answer:
    """Its version, beside the range of this project and the torch that it was built for."""
    if not _is_installed():
        if request.device == "npu":
            return error("not installed", "pip install -e .[npu], beside a CPU build of torch, on a machine with CANN")
        if count := len(device_nodes()):
            return warning(
                f"not installed, and {count} NPUs are here: --device auto does not use them",
                "set up torch_npu (docs/npu.md), or name another --device",
            )
        return ok("not installed; no NPU is here")
    requirement = next(each for each in requirements("npu") if each.name == "torch_npu")
    wrong = [misfit(requirement)] if misfit(requirement) else list(map(misfit, _torch_of_torch_npu()))
    if said := ", ".join(filter(None, wrong)):
        return error(said, f"pip install '{requirement}' and the torch of the same version")
    return ok(str(installed("torch_npu")))


def _torch_of_torch_npu() -> list[Requirement]:
    """What the wheel pins: torch_npu 2.13.0 goes with torch 2.13.0 and no other."""
    return [each for each in map(Requirement, requires("torch_npu") or ()) if each.name == "torch"]


def _is_installed() -> bool:
    return importlib.util.find_spec("torch_npu") is not None


@cache
def _failure() -> Exception | None:
    """Why the NPU cannot be used. It is asked once: a library that failed to load is not to be loaded again."""
    try:
        devices.device("npu").check()
    except Exception as failure:
        return failure
    return None


def _usable() -> bool:
    return _is_installed() and _failure() is None


def driver(_: Request) -> Answer | None:
    """Whether torch_npu loads, sees devices, and the driver comes up; raises what keeps it from that."""
    if not _is_installed():
        return None
    if failure := _failure():
        raise failure
    return ok(f"NPUs that torch_npu sees: {devices.device('npu').count()}")


def facts(_: Request) -> Answer | None:
    """Name, SoC, family, what FP32 is computed in and what FP16 does on overflow, before a run sets either."""
    if not _usable():
        return None
    found = devices.device("npu").facts()
    return ok(", ".join(f"{name} {value}" for name, value in found.items() if name != "kind"))


def possible(_: Request) -> Answer | None:
    return precisions(devices.device("npu")) if _usable() else None


def fp32(_: Request) -> Answer | None:
    if not _usable():
        return None
    npu = devices.device("npu")
    npu.select(npu.torch_name(0))
    try:
        return strict_fp32(npu)
    except UserError as refusal:
        return warning(str(refusal), _WITHOUT_FP32)


def fp16(_: Request) -> Answer | None:
    return half(devices.device("npu")) if _usable() else None


def nms(_: Request) -> Answer | None:
    """Whether mmcv was compiled for the NPU; asked of the function that a run's evaluation asks."""
    if not _usable():
        return None
    from workspace.training.nms import has_nms

    if has_nms(devices.device("npu").torch_name(0)):
        return ok("mmcv's, on the NPU")
    return warning(
        "mmcv was compiled without NPU operators: evaluations suppress boxes on the CPU, which is slower",
        'compile it again beside torch_npu and CANN (docs/npu.md, "mmcv"), or leave it so',
    )


CHECKS: Checks = {
    "torch_npu": torch_npu,
    "driver": driver,
    "facts": facts,
    "precisions": possible,
    "fp32": fp32,
    "fp16": fp16,
    "nms": nms,
}

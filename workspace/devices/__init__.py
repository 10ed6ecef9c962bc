"""npu, cuda and cpu behind one small interface. Nothing here ever falls back to another device."""

import importlib.util
from typing import Literal

from workspace.devices.cpu import Cpu
from workspace.devices.cuda import Cuda
from workspace.devices.interface import Device
from workspace.devices.npu import Npu
from workspace.errors import UserError
from workspace.spec import DeviceKind

__all__ = ["Device", "device", "resolve"]

_DEVICES: dict[DeviceKind, Device] = {"cpu": Cpu(), "cuda": Cuda(), "npu": Npu()}


def device(kind: DeviceKind) -> Device:
    """The device of that kind, checked or not."""
    return _DEVICES[kind]


def resolve(name: Literal["auto", "cpu", "cuda", "npu"]) -> Device:
    """The device that a user asked for, present and usable.

    ``auto`` takes the NPU where torch_npu is installed, else CUDA where torch sees a GPU, else the CPU.

    Raises:
        UserError: it is not there, or does not work; the message says what to do. An installed torch_npu that cannot
            load is an error for ``auto`` too, for training on the CPU would be no answer to a broken NPU.
    """
    if name == "auto":
        if importlib.util.find_spec("torch_npu") is not None:
            name = "npu"
        else:
            name = "cuda" if _DEVICES["cuda"].count() else "cpu"
    if name not in _DEVICES:
        raise UserError(f"unknown device {name!r}: use auto, cpu, cuda or npu")
    chosen = _DEVICES[name]
    chosen.check()
    return chosen

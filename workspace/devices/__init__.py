"""npu, cuda and cpu behind one small interface. Nothing here ever falls back to another device."""

import importlib.util
from typing import Literal

from workspace.devices.cpu import Cpu
from workspace.devices.cuda import Cuda
from workspace.devices.interface import Device
from workspace.devices.npu import Npu
from workspace.errors import UserError
from workspace.spec import DeviceKind

__all__ = ["Device", "device", "kind", "of", "resolve"]

DeviceName = Literal["auto", "cpu", "cuda", "npu"]

_DEVICES: dict[DeviceKind, Device] = {"cpu": Cpu(), "cuda": Cuda(), "npu": Npu()}


def device(kind: DeviceKind) -> Device:
    """The device of that kind, checked or not."""
    return _DEVICES[kind]


def of(torch_name: str) -> Device:
    """The kind of device that a torch device such as ``npu:3`` is."""
    return next(known for known in _DEVICES.values() if known.kind == torch_name.partition(":")[0])


def kind(name: DeviceName) -> DeviceKind:
    """The kind of device that a user asked for, here or not.

    ``auto`` takes the NPU where torch_npu is installed, else CUDA where torch sees a GPU, else the CPU.

    Raises:
        UserError: there is no such kind.
    """
    if name == "auto":
        if importlib.util.find_spec("torch_npu") is not None:
            return "npu"
        return "cuda" if _DEVICES["cuda"].count() else "cpu"
    if name not in _DEVICES:
        raise UserError(f"unknown device {name!r}: use auto, cpu, cuda or npu")
    return name


def resolve(name: DeviceName) -> Device:
    """The device that a user asked for, present and usable; see `kind`.

    Raises:
        UserError: it is not there, or does not work; the message says what to do. An installed torch_npu that cannot
            load is an error for ``auto`` too, for training on the CPU would be no answer to a broken NPU.
    """
    chosen = _DEVICES[kind(name)]
    chosen.check()
    return chosen

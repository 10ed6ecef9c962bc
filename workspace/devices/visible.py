"""Which NPUs a process may use: ``ASCEND_RT_VISIBLE_DEVICES``, read as CANN reads it.

The vendor tells three numbers of a device apart (cann/runtime, ``docs/zh/api_ref/04_device_management.md``): the
user's, N of torch's ``npu:N``, which counts the visible devices; the logical one, which the variable lists and
``npu-smi info -m`` shows; and the physical one, N of ``/dev/davinciN``, which differs from it in a container only.
"""

import re
from pathlib import Path

from workspace.errors import UserError

VARIABLE = "ASCEND_RT_VISIBLE_DEVICES"


def visible_devices(value: str | None, count: int) -> list[int]:
    """Logical IDs of the devices that a process sees, in torch's order.

    As ``Runtime::GetVisibleDevices`` does (cann/runtime, ``src/runtime/core/src/runtime.cc``): numbers between commas,
    up to the first other character or the first device that is not there; what follows is ignored, without a word.

    Args:
        value: of ``ASCEND_RT_VISIBLE_DEVICES``; ``None`` where it is not set, and all devices are visible.
        count: number of devices that the driver has.

    Raises:
        UserError: CANN would find no device at all: nothing is left, or the numbers do not ascend.
    """
    if value is None:
        return list(range(count))
    listed = re.match(r"\d+(?:,\d+)*", value)
    visible: list[int] = []
    for number in map(int, listed[0].split(",")) if listed else ():
        if number >= count:
            break
        if visible and number <= visible[-1]:
            raise UserError(f"{VARIABLE}={value}: CANN takes ascending numbers only, each of them once")
        visible.append(number)
    if not visible:
        raise UserError(
            f"{VARIABLE}={value} leaves no device: list some of 0 to {count - 1} as in 0,1,2, without spaces"
        )
    return visible


def check_visible(torch_name: str, count: int) -> None:
    """Whether a device that somebody asks for is there.

    Args:
        torch_name: as in ``npu:3``.
        count: number of devices that this process sees.

    Raises:
        UserError: it is not.
    """
    if int(torch_name.removeprefix("npu:")) >= count:
        raise UserError(
            f"{torch_name} was asked for, {count} NPUs are visible (npu:0 to npu:{count - 1}): ask for one of those, "
            f"or list more in {VARIABLE}"
        )


def device_nodes(folder: Path = Path("/dev")) -> list[int]:
    """Physical IDs of the devices that the driver shows to this machine or container, ascending."""
    names = (re.fullmatch(r"davinci(\d+)", node.name) for node in folder.glob("davinci*"))
    return sorted(int(name[1]) for name in names if name)

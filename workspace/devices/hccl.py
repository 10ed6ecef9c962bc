"""What HCCL, through which the processes of a run on several NPUs talk, is told by its environment.

Sources: cann/hccl ``docs/zh/user_guide/hccl_env`` and ``cluster_info_config``; torch_npu (Ascend/pytorch)
``docs/zh/developer_notes/distributed/ranktable_link_setup.md`` and ``torch_npu/csrc/distributed/ProcessGroupHCCL.cpp``.

Left at HCCL's defaults, for one machine needs no more: ``HCCL_EXEC_TIMEOUT`` (1836 s, longer than any process waits for
the first one's evaluation); ``HCCL_IF_IP`` and ``HCCL_SOCKET_IFNAME`` (the first network interface but Docker's);
``HCCL_IF_BASE_PORT`` (60000: a run's first process listens on that port plus the number of its device, or on a free one
of the 32 from there, so that runs side by side do not meet); ``HCCL_WHITELIST_DISABLE`` (1 since CANN 8.0).
"""

import json
from collections import Counter
from collections.abc import Collection, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from workspace.devices.visible import device_nodes
from workspace.errors import UserError

RANK_TABLE = "RANK_TABLE_FILE"

DEFAULTS = {
    # Sums over processes that come out the same every time: an A2's do not by default. HCCL says that it takes time; a
    # 910A does not know it.
    "HCCL_DETERMINISTIC": "true",
    # Seconds that the first sum waits for a process that still imports and builds; torch_npu advises 300 and more.
    # HCCL's own 120 are soon over on cold disks. A process that died is found by the elastic agent long before.
    "HCCL_CONNECT_TIMEOUT": "600",
}
"""Variables that a run on several NPUs is given where they are not set."""

_CURE = f"mend the file, or unset {RANK_TABLE}: torch_npu needs none"


def settings(environment: Mapping[str, str]) -> dict[str, str]:
    """What to add to that environment for a run on several NPUs; what a user has set stays."""
    return {name: value for name, value in DEFAULTS.items() if name not in environment}


def check_rank_table(path: Path, processes: int, present: Collection[int] | None = None) -> None:
    """Whether a rank table says what a run on this machine is: HCCL itself finds out later, or never comes up.

    torch_npu takes the table that ``RANK_TABLE_FILE`` names, and without one lets the processes find each other; none
    is written here. Templates 1.0 and 1.2 are checked, others are left to HCCL.

    Args:
        processes: of the run, one for each of its devices.
        present: physical IDs of the devices; those under ``/dev`` when not given.

    Raises:
        UserError: the file is missing, no JSON or incomplete; it describes another number of devices or servers, a
            device that is not there, or one twice; ranks that are not 0 to ``processes`` - 1; addresses that are none,
            that are there twice, or for some devices only.
    """
    servers = _servers(path)
    if servers is None:
        return
    if len(servers) != 1:
        raise _wrong(path, f"lists {len(servers)} servers, and a run is on one")
    devices = servers[0].get("device")
    if not isinstance(devices, list) or not all(isinstance(device, dict) for device in devices):
        raise _wrong(path, "has no list of devices under server_list[0].device")
    if len(devices) != processes:
        raise _wrong(path, f"lists {len(devices)} devices, and the run has {processes}")
    numbers = _numbers(path, devices, "device_id")
    present = device_nodes() if present is None else present
    if present and (missing := sorted(set(numbers) - set(present))):
        raise _wrong(path, f"lists device {missing[0]}, and this machine has {', '.join(map(str, sorted(present)))}")
    ranks = _numbers(path, devices, "rank_id")
    if sorted(ranks) != list(range(processes)):
        raise _wrong(path, f"has ranks {', '.join(map(str, sorted(ranks)))}, and the run has 0 to {processes - 1}")
    _check_addresses(path, devices)


def _servers(path: Path) -> list[Any] | None:
    """The servers of a rank table, or ``None`` where its template is not one of those checked here."""
    try:
        table = json.loads(path.read_text())
    except OSError as error:
        raise _wrong(path, f"cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise _wrong(path, f"is no JSON ({error})") from None
    if not isinstance(table, dict):
        raise _wrong(path, "is no rank table")
    if table.get("version") not in ("1.0", "1.2"):
        return None
    if table.get("status") != "completed":
        raise _wrong(path, f"has status {table.get('status')!r}, and not 'completed'")
    servers = table.get("server_list")
    if not isinstance(servers, list) or not all(isinstance(server, dict) for server in servers):
        raise _wrong(path, "has no server_list")
    return servers


def _numbers(path: Path, devices: list[dict[str, Any]], key: str) -> list[int]:
    """That number of each device, all of them different."""
    texts = [str(device.get(key)) for device in devices]
    for text, count in Counter(texts).items():
        if not text.isdecimal():
            raise _wrong(path, f"has a device whose {key} is {text}, and not a number")
        if count > 1:
            raise _wrong(path, f"has {key} {text} twice")
    return [int(text) for text in texts]


def _check_addresses(path: Path, devices: list[dict[str, Any]]) -> None:
    """An A2 or A3 needs no ``device_ip`` on one server; where one device has it, all do."""
    given = {device["device_id"]: device.get("device_ip") for device in devices}
    if not any(given.values()):
        return
    for number, address in given.items():
        if not address:
            raise _wrong(path, f"has no device_ip of device {number}")
        try:
            ip_address(address)
        except ValueError:
            raise _wrong(path, f"has device_ip {address!r} of device {number}, which is no address") from None
    address, count = Counter(given.values()).most_common(1)[0]
    if count > 1:
        raise _wrong(path, f"has device_ip {address} twice")


def _wrong(path: Path, what: str) -> UserError:
    return UserError(f"{RANK_TABLE}={path} {what}: {_CURE}")

"""What runs on several NPUs tell HCCL, and rank tables that are of another run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from workspace.devices.hccl import check_rank_table, settings
from workspace.errors import UserError

Table = dict[str, Any]
Change = Callable[[Table], object]


def rank_table(count: int, version: str = "1.0") -> Table:
    """As in HCCL's documentation, with the fields of an A3's super node in version 1.2."""
    devices = [
        {"device_id": str(number), "device_ip": f"192.168.1.{8 + number}", "rank_id": str(number)}
        for number in range(count)
    ]
    if version == "1.2":
        devices = [{**device, "super_device_id": device["device_id"], "device_port": "16666"} for device in devices]
    servers = [{"server_id": "node_0", "device": devices}]
    return {"status": "completed", "version": version, "server_count": "1", "server_list": servers}


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Any], Path]:
    def write(content: Any) -> Path:
        path = tmp_path / "ranks.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def devices(table: Table) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = table["server_list"][0]["device"]
    return found


def test_what_a_user_has_set_stays() -> None:
    assert settings({}) == {"HCCL_DETERMINISTIC": "true", "HCCL_CONNECT_TIMEOUT": "600"}
    assert settings({"HCCL_DETERMINISTIC": "false"}) == {"HCCL_CONNECT_TIMEOUT": "600"}
    assert settings({"HCCL_DETERMINISTIC": "", "HCCL_CONNECT_TIMEOUT": "7200"}) == {}


@pytest.mark.parametrize("version", ["1.0", "1.2"])
def test_the_table_of_this_run_is_good(version: str, write: Callable[[Any], Path]) -> None:
    check_rank_table(write(rank_table(4, version)), 4, present=range(8))
    check_rank_table(write(rank_table(4, version)), 4, present=())  # nothing is known of the devices


def test_devices_of_one_server_need_no_address(write: Callable[[Any], Path]) -> None:
    table = rank_table(2)
    for device in devices(table):
        del device["device_ip"]
    check_rank_table(write(table), 2, present=range(8))


def test_another_template_is_left_to_hccl(write: Callable[[Any], Path]) -> None:
    check_rank_table(write({"version": "2.0", "rank_count": "2", "rank_list": []}), 2, present=range(8))
    check_rank_table(write({"status": "completed", "group_count": "1", "group_list": []}), 2, present=range(8))


def assign(**fields: Any) -> Change:
    return lambda table: devices(table)[1].update(fields)


WRONG: dict[str, tuple[Change, str]] = {
    "initializing": (lambda t: t.update(status="initializing"), "has status 'initializing', and not 'completed'"),
    "no servers": (lambda t: t.pop("server_list"), "has no server_list"),
    "servers are names": (lambda t: t.update(server_list=["node_0"]), "has no server_list"),
    "two servers": (lambda t: t["server_list"].append({}), "lists 2 servers, and a run is on one"),
    "no devices": (lambda t: t["server_list"][0].pop("device"), "has no list of devices"),
    "too many": (lambda t: devices(t).append({}), "lists 3 devices, and the run has 2"),
    "too few": (lambda t: devices(t).pop(), "lists 1 devices, and the run has 2"),
    "unknown device": (assign(device_id="9"), "lists device 9, and this machine has 0, 1, 2, 3"),
    "device twice": (assign(device_id="0"), "has device_id 0 twice"),
    "device is a name": (assign(device_id="npu:1"), "has a device whose device_id is npu:1, and not a number"),
    "no rank": (lambda t: devices(t)[1].pop("rank_id"), "has a device whose rank_id is None, and not a number"),
    "rank twice": (assign(rank_id="0"), "has rank_id 0 twice"),
    "ranks of a part": (assign(rank_id="4"), "has ranks 0, 4, and the run has 0 to 1"),
    "one address missing": (assign(device_ip=""), "has no device_ip of device 1"),
    "no address": (assign(device_ip="192.168.1"), "has device_ip '192.168.1' of device 1, which is no address"),
    "address twice": (assign(device_ip="192.168.1.8"), "has device_ip 192.168.1.8 twice"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_table_of_another_run_is_refused(case: str, write: Callable[[Any], Path]) -> None:
    change, what = WRONG[case]
    table = rank_table(2)
    change(table)
    path = write(table)
    with pytest.raises(UserError) as caught:
        check_rank_table(path, 2, present=range(4))
    said = str(caught.value)
    assert said.startswith(f"RANK_TABLE_FILE={path} {what}")
    assert said.endswith("mend the file, or unset RANK_TABLE_FILE: torch_npu needs none")
    assert "\n" not in said


@pytest.mark.parametrize(
    ("content", "what"),
    [("{", "is no JSON"), ("", "is no JSON"), ("[]", "is no rank table"), ("null", "is no rank table")],
)
def test_a_file_that_is_no_table_is_refused(content: str, what: str, write: Callable[[Any], Path]) -> None:
    with pytest.raises(UserError, match=what):
        check_rank_table(write(content), 2)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be read \(No such file or directory\)"):
        check_rank_table(tmp_path / "none.json", 2)

"""npu-smi's tables of several versions, as recorded; and what is not a table of npu-smi at all."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from workspace.devices import npu_smi
from workspace.devices.npu_smi import Monitor, parse_mapping, parse_table

RECORDED = Path(__file__).parent / "npu_smi"
MIB = 1024 * 1024 / 1e6
Install = Callable[..., Path]


def recorded(name: str) -> str:
    return (RECORDED / f"{name}.txt").read_text()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a command ``npu-smi`` on the path, and nothing else but the system's own; `calls` counts its uses."""

    def make(table: str = "", mapping: str = "", *, then: str = "") -> Path:
        (tmp_path / "table").write_text(table)
        (tmp_path / "mapping").write_text(mapping)
        command = tmp_path / "bin" / "npu-smi"
        command.parent.mkdir(exist_ok=True)
        command.write_text(
            f'#!/bin/sh\necho "$*" >> "{tmp_path}/calls"\n'
            f'case "$*" in "info -m") cat "{tmp_path}/mapping" ;; info) cat "{tmp_path}/table" ;; esac\n{then}\n'
        )
        command.chmod(command.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{command.parent}:/usr/bin:/bin")
        monkeypatch.delenv("ASCEND_RT_VISIBLE_DEVICES", raising=False)
        return tmp_path / "calls"

    return make


def readings(power: float | None, temperature: float, utilization: float, used: int, total: int) -> dict[str, float]:
    known = {
        "power_usage_watts": power,
        "temperature_celsius": temperature,
        "utilization_percentage": utilization,
        "memory_usage_megabytes": pytest.approx(used * MIB),
        "memory_usage_percentage": pytest.approx(100 * used / total),
    }
    return {name: value for name, value in known.items() if value is not None}


@pytest.mark.parametrize(
    ("name", "count", "place", "expected"),
    [
        ("910a-22.0.4.1", 1, (0, 0), readings(79.4, 82, 0, 0, 32768)),
        ("910a-24.1.0", 8, (0, 0), readings(70.0, 34, 0, 1365, 32768)),  # its HBM, though it has DDR too
        ("910a-24.1.0", 8, (7, 0), readings(65.6, 33, 0, 4, 32768)),
        ("910b3-23.0.7", 8, (4, 0), readings(103.9, 58, 0, 3334, 65536)),
        ("910b3-25.5.1", 2, (5, 0), readings(100.8, 44, 12, 60156, 65536)),
        ("910_93-25.2.0", 16, (4, 0), readings(219.9, 43, 8, 61602, 65536)),
        ("910_93-25.2.0", 16, (7, 1), readings(None, 43, 7, 61631, 65536)),  # its card's power stands with chip 0
        ("950pr-25.7.rc1", 7, (5, 0), readings(195.2, 44, 0, 10569, 131072)),
        ("310p3-25.3.rc1", 1, (6, 0), readings(None, 50, 0, 1839, 21525)),
    ],
)
def test_a_recorded_table_is_read(name: str, count: int, place: tuple[int, int], expected: dict[str, float]) -> None:
    chips = parse_table(recorded(name))
    assert len(chips) == count, "a process was taken for a chip, or a chip was missed"
    assert chips[place] == expected


@pytest.mark.parametrize("text", ["", "\n\n", "|", "||||", "| a |\n| 1 |", "\x00\xff" * 9, recorded("no-driver")])
def test_what_is_no_table_has_no_chip(text: str) -> None:
    assert parse_table(text) == {}
    assert parse_mapping(text) == []


@pytest.mark.parametrize("name", ["910b3-23.0.7", "910_93-25.2.0", "950pr-25.7.rc1"])
def test_a_table_cut_anywhere_has_no_wrong_chip(name: str) -> None:
    text = recorded(name)
    whole = parse_table(text)
    for end in range(0, 1500, 3):
        assert parse_table(text[:end]).items() <= whole.items()


@pytest.mark.parametrize(
    ("power", "temperature", "utilization", "memory", "left"),
    [
        ("NA", "-", "NA", "NA / 65536", set()),
        # What npu-smi prints of values that the driver does not have.
        ("-0.1", "-200", "4294967295", "0    / 0", set()),
        ("nan", "45", "101", "70000/ 65536", {"temperature_celsius"}),
        ("80.0", "-5", "100", "65536/ 65536", None),
    ],
)
def test_a_value_that_is_not_there_is_left_out(
    power: str, temperature: str, utilization: str, memory: str, left: set[str] | None
) -> None:
    text = (
        f"| 0     910B3               | Alarm         | {power}       {temperature}        0    / 0             |\n"
        f"| 0                         | 0000:C1:00.0  | {utilization}           0    / 0          {memory} |\n"
    )
    (found,) = parse_table(text).values()
    assert set(found) == (set(readings(0, 0, 0, 0, 1)) if left is None else left)


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("910b3-25.5.1.mapping", [(0, 0), (1, 0)]),
        ("910_93.mapping", [(0, 0), (0, 1), (1, 0)]),
        ("950pr.mapping", [(5, 0)]),
    ],
)
def test_a_mapping_has_the_places_of_devices_alone(name: str, places: list[tuple[int, int]]) -> None:
    assert parse_mapping(recorded(name)) == places


def test_a_mapping_is_in_the_order_of_logical_ids() -> None:
    header, *rows = recorded("910_93.mapping").splitlines()
    assert parse_mapping("\n".join([header, *reversed(rows)])) == [(0, 0), (0, 1), (1, 0)]


def mapping(*places: tuple[int, int]) -> str:
    rows = [f"\t{card:<30} {chip:<30} {logical:<30} Ascend910\n" for logical, (card, chip) in enumerate(places)]
    return (
        "\t"
        + " ".join(f"{name:<30}" for name in ("NPU ID", "Chip ID", "Chip Logic ID", "Chip Name"))
        + "\n"
        + "".join(rows)
    )


@pytest.mark.parametrize(
    ("indices", "visible", "temperatures"),
    [
        ([0], None, [43]),
        ([3], None, [45]),
        ([0], "3", [45]),
        ([1, 0], "2,10", [47, 45]),
        ([1], "2,10, 11", [47]),
        ([2], "2,10, 11", [None]),  # CANN does not see what stands behind the space either
        ([0], "3,1", [None]),
        ([0], "", [None]),
    ],
)
def test_devices_are_counted_as_torch_counts_them(
    indices: list[int],
    visible: str | None,
    temperatures: list[int | None],
    install: Install,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(recorded("910_93-25.2.0"), mapping(*((card, chip) for card in range(8) for chip in range(2))))
    if visible is not None:
        monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", visible)
    found = Monitor(indices)()
    assert [found.get(f"npu_{place}_temperature_celsius") for place in range(len(indices))] == temperatures


def test_in_a_container_logical_ids_are_not_cards(install: Install) -> None:
    install(recorded("910b3-25.5.1"), mapping((0, 0), (5, 0)))
    assert Monitor([1])()["npu_0_utilization_percentage"] == 12


def test_without_a_mapping_the_table_is_in_order(install: Install) -> None:
    install(recorded("910b3-25.5.1"), "This device does not support querying mapping.")
    assert Monitor([1])()["npu_0_utilization_percentage"] == 12


def test_a_device_that_npu_smi_does_not_show_is_left_out(install: Install) -> None:
    install(recorded("910b3-25.5.1"), mapping((0, 0), (1, 0)))
    assert Monitor([1, 2])() == {}


def test_the_mapping_is_asked_for_once(install: Install) -> None:
    calls = install(recorded("910b3-25.5.1"), mapping((0, 0), (5, 0)))
    monitor = Monitor([0])
    assert monitor() == monitor() != {}
    assert calls.read_text().splitlines() == ["info", "info -m", "info"]


@pytest.mark.parametrize("then", ["exit 1", "kill -9 $$"])
def test_an_npu_smi_that_fails_says_nothing(then: str, install: Install, capfd: pytest.CaptureFixture[str]) -> None:
    install(recorded("910b3-25.5.1"), then=f"echo broken >&2; {then}")
    assert Monitor([0])() == {}
    assert capfd.readouterr() == ("", "")


def test_an_npu_smi_that_hangs_is_given_up(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install(recorded("910b3-25.5.1"), then="exec sleep 600")
    monkeypatch.setattr(npu_smi, "_TIMEOUT", 0.3)
    assert Monitor([0])() == {}


def test_where_there_is_no_npu_smi_there_is_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Monitor([0])() == {}
    (tmp_path / "npu-smi").write_text("no program, and not allowed to run")
    assert not os.access(tmp_path / "npu-smi", os.X_OK)
    assert Monitor([0])() == {}


def test_an_npu_smi_that_recovers_is_read_again(install: Install) -> None:
    install(recorded("no-driver"))
    monitor = Monitor([0])
    assert monitor() == {}
    install(recorded("910b3-25.5.1"), mapping((0, 0), (5, 0)))
    assert monitor()["npu_0_temperature_celsius"] == 45

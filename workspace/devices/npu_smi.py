"""What ``npu-smi``, which comes with the driver, says of the NPUs: how busy they are, their memory, power, temperature.

Sources: cann/driver, ``src/custom/dev_prod/user/npucli/src/npu_info_print.c``, prints the tables read here; outputs of
versions 22 to 25, as recorded, are in ``tests/devices/npu_smi``. ``npu-smi info`` has two lines for a chip. Both end
with a cell of numbers, the second one's with a pair "used / total" that is the memory which tensors live in: HBM where
there is any, else DDR. ``npu-smi info -m`` has the logical ID of each chip.
"""

import os
import re
import subprocess
from collections.abc import Sequence

from workspace.devices.visible import VARIABLE, visible_devices
from workspace.errors import UserError

Place = tuple[int, int]
"""What npu-smi calls "NPU ID" (a card) and "Chip ID" (on that card; an A3 card has two)."""

Readings = dict[str, float]

_TIMEOUT = 10.0
"""Seconds; it takes one or two, and may hang where a chip does."""

_MEGABYTES = 1024 * 1024 / 1e6
"""npu-smi's MB are 1024 * 1024 bytes (``dcmi_inner_info_get.c``), MLflow's are 10^6."""

_STATE = re.compile(r"(?P<power>\S+)\s+(?P<temperature>\S+)\s+\w+\s*/\s*\w+")
_LOAD = re.compile(r"(?P<utilization>\S+)(?:\s+\S+\s*/\s*\d+)?\s+(?P<used>\S+?)\s*/\s*(?P<total>\d+)")


class Monitor:
    """Reads some NPUs each time it is called; whatever npu-smi does not say is left out, without a word.

    The names and units are those of MLflow's monitor of GPUs (``mlflow/system_metrics/metrics/gpu_monitor.py``): after
    ``npu_`` and the position among the devices, ``utilization_percentage``, ``memory_usage_megabytes``,
    ``memory_usage_percentage``, ``power_usage_watts``; and ``temperature_celsius``, which that one lacks. The power of
    a card with two chips stands with its first chip.

    Args:
        indices: of the devices, as torch counts them in this process.
    """

    def __init__(self, indices: Sequence[int]) -> None:
        self._indices = tuple(indices)
        self._places: list[Place] = []

    def __call__(self) -> Readings:
        chips = parse_table(_npu_smi("info"))
        if not chips:
            return {}
        self._places = self._places or parse_mapping(_npu_smi("info", "-m")) or list(chips)
        try:
            visible = visible_devices(os.environ.get(VARIABLE), len(self._places))
        except UserError:
            return {}
        found = {}
        for position, index in enumerate(self._indices):
            if index < len(visible):
                chip = chips.get(self._places[visible[index]], {})
                found.update({f"npu_{position}_{name}": value for name, value in chip.items()})
        return found


def parse_table(text: str) -> dict[Place, Readings]:
    """Readings of each chip in the output of ``npu-smi info``, in its order; empty where that is something else."""
    chips: dict[Place, Readings] = {}
    card: int | None = None
    state: Readings = {}
    for line in re.findall(r"^[ \t]*\|(.*)\|[ \t]*$", text, re.MULTILINE):
        cells = [cell.strip() for cell in line.split("|")]
        number = re.match(r"\d+", cells[0])
        if (match := _STATE.fullmatch(cells[-1])) and number:
            card = int(number[0])
            # Printed where the driver has no value: -1 tenths of a watt, and -200 degrees.
            state = {
                **_reading("power_usage_watts", match["power"], least=0),
                **_reading("temperature_celsius", match["temperature"], least=-199),
            }
        elif (match := _LOAD.fullmatch(cells[-1])) and card is not None:
            chip = int(number[0]) if number else 0  # a 950 has one chip a card, and no number for it
            utilization = _reading("utilization_percentage", match["utilization"], least=0, most=100)
            chips[card, chip] = {**utilization, **_memory(match["used"], int(match["total"])), **state}
            card = None
    return chips


def parse_mapping(text: str) -> list[Place]:
    """Where each device is, in the order of their logical IDs, from the output of ``npu-smi info -m``.

    What has no logical ID (the controller of a card) is left out. A 950's table has no such column; its rows are taken
    to be in that order.
    """
    columns: list[str] = []
    rows: list[dict[str, str]] = []
    for line in text.splitlines():
        if "NPU ID" in line and "Chip ID" in line:
            columns = re.split(r"\s{2,}", line.strip())
        elif columns and len(values := line.split(None, len(columns) - 1)) == len(columns):
            rows.append(dict(zip(columns, values, strict=True)))
    found: list[tuple[int, Place]] = []
    for row in rows:
        numbers = [row["NPU ID"], row["Chip ID"], row.get("Chip Logic ID", str(len(found)))]
        if all(number.isdecimal() for number in numbers):
            card, chip, logical = map(int, numbers)
            found.append((logical, (card, chip)))
    return [place for _, place in sorted(found)]


def _npu_smi(*arguments: str) -> str:
    """What npu-smi prints; nothing where it is not there, fails or hangs."""
    try:
        done = subprocess.run(
            ["npu-smi", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_TIMEOUT,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode(errors="replace")


def _reading(name: str, text: str, *, least: float, most: float = float("inf")) -> Readings:
    """That number under that name; nothing where it is none, or out of range. "NA" and "-" stand for no value."""
    try:
        value = float(text)
    except ValueError:
        return {}
    return {name: value} if least <= value <= most else {}


def _memory(used: str, total: int) -> Readings:
    if not used.isdecimal() or not 0 < total >= int(used):
        return {}
    return {
        "memory_usage_megabytes": int(used) * _MEGABYTES,
        "memory_usage_percentage": 100 * int(used) / total,
    }

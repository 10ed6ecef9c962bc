"""Ascend's driver, the files of its devices, and what its own tool says. No library of it is loaded here.

Sources: Ascend HDK's versions are in the release notes of CANN 9.1.0; ``npu-smi``'s words for health in the driver's
``npucli`` (cann/driver); device files and their group in Ascend's "Installing the NPU Driver and Firmware".
"""

import importlib.util
import os
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

from workspace.devices.failures import UNKNOWN_CURE, known_cure, telling_line
from workspace.devices.npu_smi import parse_table
from workspace.devices.visible import VARIABLE, device_nodes, visible_devices
from workspace.doctor.check import Answer, Checks, Request, error, ok, warning
from workspace.doctor.host import in_container

OLDEST_DRIVER = (25, 2)
"""Of Ascend HDK, that CANN 9.1 runs on."""

ROOT = Path("/")

_SHARED_NODES = ("davinci_manager", "devmm_svm", "hisi_hdc")
_HEALTH = re.compile(
    r"\|\s*(?P<health>[A-Za-z]+)\s*\|\s*\S+\s+\S+\s+\w+\s*/\s*\w+\s*\|"
)  # the cell before a chip's power
_NPU_SMI_SECONDS = 20.0  # it takes one or two


def concerned(request: Request, root: Path = ROOT) -> bool:
    """Whether anything here has to do with an NPU: it was asked for, or something of it is there."""
    return (
        request.device == "npu"
        or importlib.util.find_spec("torch_npu") is not None
        or "ASCEND_HOME_PATH" in os.environ
        or bool(device_nodes(root / "dev"))
        or _folder(root).exists()
    )


def value_of(file: Path, key: str) -> str | None:
    """What a file with lines of ``key=value`` says; ``None`` where it does not, or is not there."""
    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError:
        return None
    return next((line.partition("=")[2].strip() for line in lines if line.partition("=")[0].strip() == key), None)


def numbers(version: str) -> tuple[int, ...]:
    """The first two of a version: ``(9, 1)`` for ``9.1.0-beta.3``, ``(8, 3)`` for ``8.3.RC1``."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


def driver(request: Request, root: Path = ROOT) -> Answer | None:
    if not concerned(request, root):
        return None
    folder = _folder(root)
    version = value_of(folder / "version.info", "Version")
    if version is None:
        cure = (
            "mount the host's /usr/local/Ascend/driver/version.info and lib64 into this container"
            if in_container()
            else "install the NPU's driver, then its firmware (Ascend HDK), and start the machine anew: docs/npu.md"
        )
        return error(f"no {folder / 'version.info'}", cure)
    firmware = value_of(folder.parent / "firmware" / "version.info", "Version")
    value = f"{version}, firmware {firmware or 'unknown here'}"
    if numbers(version) < OLDEST_DRIVER:
        return error(value, "renew driver and firmware: CANN 9.1 runs on Ascend HDK 25.2 and newer")
    return ok(value)


def devices(request: Request, root: Path = ROOT) -> Answer | None:
    """``/dev/davinci0`` and so on, and the three files that all of them share; this user must be able to open them."""
    if not concerned(request, root):
        return None
    folder = root / "dev"
    present = device_nodes(folder)
    if not present:
        cure = (
            "start it with --device /dev/davinci0 (and so on) --device /dev/davinci_manager --device /dev/devmm_svm "
            "--device /dev/hisi_hdc"
            if in_container()
            else "see with `lspci | grep -i accelerators` whether the cards are there; install the driver"
        )
        return error(f"none in {folder}", cure)
    value = f"{len(present)}: davinci {', '.join(map(str, present))}"
    shared = [folder / name for name in _SHARED_NODES]
    if missing := [str(node) for node in shared if not node.exists()]:
        return error(
            f"{value}; no {', '.join(missing)}", "pass them to the container with --device, or reinstall the driver"
        )
    nodes = [*(folder / f"davinci{number}" for number in present), *shared]
    if closed := [node for node in nodes if not os.access(node, os.R_OK | os.W_OK)]:
        return error(
            f"{value}; this user may not open {', '.join(map(str, closed))}",
            f"sudo usermod -aG {_group(closed[0])} $USER and log in again; in a container, --group-add",
        )
    return ok(value)


def visible(request: Request, root: Path = ROOT) -> Answer | None:
    """``ASCEND_RT_VISIBLE_DEVICES``, of which CANN drops in silence what it does not understand."""
    listed, count = os.environ.get(VARIABLE), len(device_nodes(root / "dev"))
    if listed is None or not count:
        return None
    seen = visible_devices(listed, count)
    value = f"{VARIABLE}={listed}: {len(seen)} devices"
    if len(seen) < len(listed.split(",")):
        return warning(
            value, f"CANN reads it up to the first that is not there: list some of 0 to {count - 1}, ascending"
        )
    return ok(value)


def npu_smi(request: Request, root: Path = ROOT) -> Answer | None:
    if not concerned(request, root):
        return None
    if shutil.which("npu-smi") is None:
        return warning(
            "not on PATH: no power, temperature and health of the devices",
            "add /usr/local/sbin or /usr/local/bin to PATH; in a container, mount npu-smi and /usr/local/dcmi",
        )
    return _chips()


def _chips() -> Answer:
    try:
        done = subprocess.run(
            ["npu-smi", "info"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_NPU_SMI_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return error(
            f"no answer from `npu-smi info` within {_NPU_SMI_SECONDS:g} s",
            "a device or its driver hangs: see dmesg on the host, and start the machine anew",
        )
    except OSError as failure:
        return error(f"npu-smi does not run: {failure.strerror}", "install the driver for this machine's architecture")
    chips = parse_table(done.stdout)
    if done.returncode or not chips:
        said = f"{done.stdout}\n{done.stderr}"
        return error(f"npu-smi info: {telling_line(said) or 'says nothing'}", known_cure(said) or UNKNOWN_CURE)
    health = Counter(match["health"] for match in map(_HEALTH.search, done.stdout.splitlines()) if match)
    value = f"{len(chips)} chips, health {', '.join(f'{word} {count}' for word, count in health.items())}"
    if set(health) <= {"OK"}:
        return ok(value)
    return warning(value, "see `npu-smi info -t health -i CARD`; leave that device out with ASCEND_RT_VISIBLE_DEVICES")


def _folder(root: Path) -> Path:
    """Where the driver is; its installer writes down where it put it."""
    base = value_of(root / "etc/ascend_install.info", "Driver_Install_Path_Param") or "/usr/local/Ascend"
    return root / base.lstrip("/") / "driver"


def _group(node: Path) -> str:
    """Whom a device file belongs to; in a container its number may have no name."""
    try:
        return node.group()
    except KeyError:
        return str(node.stat().st_gid)


CHECKS: Checks = {"driver": driver, "devices": devices, "visible": visible, "npu-smi": npu_smi}

"""This project, the operating system, the processor and the interpreter."""

import os
import platform
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.specifiers import SpecifierSet

from workspace.doctor.check import Answer, Checks, Request, error, ok, warning

ROOT = Path(__file__).parents[2]

_ARCHITECTURES = ("x86_64", "aarch64")
_PREFIXES = ("ASCEND_", "HCCL_", "INF_NAN_", "ACL_", "PYTORCH_", "CUDA_", "NCCL_", "OMP_", "TASK_QUEUE_")
_VARIABLES = (
    "RANK_TABLE_FILE",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "NPUJITCompile",
    "TORCH_ACL_INIT_CONFIG_PATH",
    "TMPDIR",
    "MAX_JOBS",
    "FORCE_NPU",
    "FORCE_CUDA",
    "CXX",
    "PYTHONPATH",
    "MLFLOW_TRACKING_URI",
)


def project() -> dict[str, object]:
    """The table ``project`` of pyproject.toml, which says what the installed package can be older than."""
    table: dict[str, object] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return table


def in_container() -> bool:
    return any(Path(mark).exists() for mark in ("/.dockerenv", "/run/.containerenv"))


def workspace(_: Request) -> Answer:
    version = str(project()["version"])
    try:
        described = subprocess.run(
            ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return ok(f"{version}, in {ROOT}")
    return ok(f"{version}, commit {described.stdout.strip()}, in {ROOT}")


def python(_: Request) -> Answer:
    value = f"{platform.python_version()}, {sys.executable}"
    allowed = SpecifierSet(str(project()["requires-python"]))
    if platform.python_version() in allowed:
        return ok(value)
    return error(f"{value} is not {allowed}", "make another environment: make setup PYTHON=/path/to/python3.11")


def system(_: Request) -> Answer:
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        name = platform.system()
    library, version = platform.libc_ver()
    value = f"{name}, kernel {platform.release()}, {library} {version}"
    return ok(f"{value}, in a container" if in_container() else value)


def machine(_: Request) -> Answer:
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    value = f"{platform.machine()}, {cores} cores, {memory:.0f} GiB"
    if platform.machine() in _ARCHITECTURES:
        return ok(value)
    return warning(value, f"nothing here was ever run on this architecture; known are {' and '.join(_ARCHITECTURES)}")


def variables(_: Request) -> Answer:
    """Those that change what is trained or where."""
    known = [name for name in sorted(os.environ) if name.startswith(_PREFIXES) or name in _VARIABLES]
    return ok(", ".join(f"{name}={os.environ[name]}" for name in known) or "none that matter here")


CHECKS: Checks = {
    "workspace": workspace,
    "python": python,
    "system": system,
    "machine": machine,
    "variables": variables,
}

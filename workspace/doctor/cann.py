"""CANN, as torch_npu will find it, and what HCCL is told. Nothing of it is loaded here.

Sources: versions that go together, ``COMPATIBILITY.md`` and ``.ci/docker/common/install_cann.sh`` of Ascend/pytorch
(August 2026); the compiler's Python packages, "Runtime Dependencies" of CANN's installation guide (8.5 to 9.1);
what torch_npu insists on, ``torch_npu/_init/registry/registry_manager.py``.
"""

import importlib.util
import os
import platform
from pathlib import Path

from workspace.devices.hccl import RANK_TABLE, check_rank_table, settings
from workspace.devices.visible import VARIABLE, device_nodes, visible_devices
from workspace.doctor.check import Answer, Checks, Request, error, ok, warning
from workspace.doctor.driver import ROOT, concerned, numbers, value_of

TESTED = (9, 1)
"""What Ascend/pytorch tests torch_npu 2.13 with; its table of versions ends at 2.12, with the same CANN."""
OLDEST = (9, 0)
"""Before it, CANN's compiler asks for numpy < 2 (on Python < 3.13), and this project for numpy >= 2."""

_SCRIPTS = ("usr/local/Ascend/cann/set_env.sh", "usr/local/Ascend/ascend-toolkit/set_env.sh")  # since 8.5, and before

# What CANN's operator compiler imports, by the name that pip knows it by.
_COMPILER_PACKAGES = {
    "absl-py": "absl",
    "attrs": "attr",
    "cffi": "cffi",
    "cython": "Cython",
    "decorator": "decorator",
    "numpy": "numpy",
    "pathlib2": "pathlib2",
    "protobuf": "google.protobuf",
    "psutil": "psutil",
    "pyyaml": "yaml",
    "requests": "requests",
    "scipy": "scipy",
    "sympy": "sympy",
}


def toolkit(request: Request, root: Path = ROOT) -> Answer | None:
    """The CANN that ``ASCEND_HOME_PATH`` names: ``set_env.sh`` sets that, and nothing works without."""
    if not concerned(request, root):
        return None
    source = _source(root)
    home = os.environ.get("ASCEND_HOME_PATH")
    if home is not None:
        return _installed(Path(home), source)
    if any((root / script).exists() for script in _SCRIPTS):
        return error("installed, but not in this shell: ASCEND_HOME_PATH is not set", source)
    return error("not installed", "install CANN 9.1, its toolkit and the operators for the chip: docs/npu.md")


def _installed(home: Path, source: str) -> Answer:
    if not home.is_dir():
        return error(f"ASCEND_HOME_PATH={home}: there is no such folder", source)
    places = ("ascend_toolkit", "*/ascend_toolkit", "ascend_*", "*/ascend_*")  # nnae is a toolkit too, for running only
    info = next((found for place in places for found in home.glob(f"{place}_install.info")), Path())
    version, architecture = value_of(info, "version"), value_of(info, "arch")
    if version is None:
        return error(f"ASCEND_HOME_PATH={home}: no ascend_toolkit_install.info in it", f"{source}, or install it again")
    value = f"{version}, {home}"
    if architecture not in (None, platform.machine()):
        return error(f"{value}, for {architecture}", f"install the CANN for {platform.machine()}")
    other = os.environ.get("ASCEND_TOOLKIT_HOME")
    if other is not None and Path(other).resolve() != home.resolve():
        return error(
            f"{value}, but ASCEND_TOOLKIT_HOME={other}", f"two set_env.sh were sourced: in a new shell, {source}"
        )
    return _beside_torch_npu(value, numbers(version))


def _beside_torch_npu(value: str, version: tuple[int, ...]) -> Answer:
    if version < OLDEST:
        return error(value, "install CANN 9.1, which torch_npu 2.13 is tested with: older compilers need numpy < 2")
    if version < TESTED:
        return warning(
            value, "torch_npu 2.13 is tested with CANN 9.1, and 9.0 asks for protobuf 3.20: better install 9.1"
        )
    if version > TESTED:
        return warning(
            value, "newer than CANN 9.1, which torch_npu 2.13 is tested with: see the versions in docs/npu.md"
        )
    return ok(value)


def operators(request: Request, root: Path = ROOT) -> Answer | None:
    """``ASCEND_OPP_PATH`` and the parts of CANN that torch_npu looks for."""
    home = Path(os.environ.get("ASCEND_HOME_PATH", "/nowhere"))
    if not home.is_dir():
        return None
    source = _source(root)
    opp = os.environ.get("ASCEND_OPP_PATH")
    if opp is None or not Path(opp).is_dir():
        value = "ASCEND_OPP_PATH is not set" if opp is None else f"ASCEND_OPP_PATH={opp}: there is no such folder"
        return error(value, f"install the operators for the chip (Ascend-cann-910b-ops or another); then {source}")
    if missing := [part for part in ("runtime", "compiler") if not (home / part).exists()]:
        return error(f"{home} has no {' and no '.join(missing)}", f"install the toolkit whole (--full); then {source}")
    return ok(opp)


def python(request: Request, root: Path = ROOT) -> Answer | None:
    """CANN compiles operators in the Python that asks for them, which aborts where a package is missing."""
    if not concerned(request, root):
        return None
    missing = [name for name, module in _COMPILER_PACKAGES.items() if not _is_there(module)]
    if missing:
        return warning(
            f"CANN lists for its operator compiler, and not here: {', '.join(missing)}", "pip install -e .[npu]"
        )
    return ok("the packages of CANN's operator compiler are there")


def hccl(request: Request, root: Path = ROOT) -> Answer | None:
    """What runs on several NPUs find in their environment."""
    if not concerned(request, root):
        return None
    own = [f"{name}={value}" for name, value in os.environ.items() if name.startswith("HCCL_")]
    added = [f"{name}={value} (set by runs)" for name, value in settings(os.environ).items()]
    table, count = os.environ.get(RANK_TABLE), len(device_nodes(root / "dev"))
    if table and count:
        check_rank_table(Path(table), len(visible_devices(os.environ.get(VARIABLE), count)))
        own.append(f"{RANK_TABLE}={table}")
    return ok(", ".join([*sorted(own), *added]))


def _source(root: Path) -> str:
    script = next((root / path for path in _SCRIPTS if (root / path).exists()), None)
    return f"source {script or 'set_env.sh of the CANN that is to be used'}"


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:  # of the package that it lies in
        return False


CHECKS: Checks = {"toolkit": toolkit, "operators": operators, "python": python, "hccl": hccl}

"""Installations of Ascend's software, whole and broken, as real files."""

import os
import platform
import textwrap
from pathlib import Path


def write_package(folder: Path, name: str, version: str, module: str = "", requires: tuple[str, ...] = ()) -> Path:
    """A distribution with one module, as pip leaves it; for ``PYTHONPATH``."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / name / "__init__.py").write_text(textwrap.dedent(module))
    information = folder / f"{name}-{version}.dist-info"
    information.mkdir()
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {name}",
        f"Version: {version}",
        *(f"Requires-Dist: {each}" for each in requires),
    ]
    (information / "METADATA").write_text("\n".join(lines) + "\n")
    return folder


def write_driver(root: Path, version: str = "26.0.rc1", devices: int = 8) -> Path:
    """What the driver's and the firmware's installers leave on a server."""
    for name, text in (("driver", version), ("firmware", "7.8.0.1.200")):
        folder = root / "opt/Ascend" / name
        folder.mkdir(parents=True)
        (folder / "version.info").write_text(f"Version={text}\npackage_version={text}\n")
    (root / "etc").mkdir()
    (root / "etc/ascend_install.info").write_text("UserGroup=HwHiAiUser\nDriver_Install_Path_Param=/opt/Ascend\n")
    (root / "dev").mkdir()
    for name in ("davinci_manager", "devmm_svm", "hisi_hdc", *(f"davinci{number}" for number in range(devices))):
        (root / "dev" / name).touch()
    return root


def write_cann(home: Path, version: str = "9.1.0", architecture: str = platform.machine()) -> dict[str, str]:
    """What CANN's installer leaves, and the environment of its ``set_env.sh``."""
    information = home / f"{architecture}-linux"
    information.mkdir(parents=True)
    (information / "ascend_toolkit_install.info").write_text(
        f"package_name=Ascend-cann-toolkit\nversion={version}\narch={architecture}\nos=linux\npath={home}\n"
    )
    for name in ("runtime", "compiler", "opp"):
        (home / name).mkdir()
    return {"ASCEND_HOME_PATH": str(home), "ASCEND_TOOLKIT_HOME": str(home), "ASCEND_OPP_PATH": str(home / "opp")}


def write_program(path: Path, source: str) -> None:
    """A shell script in the place of a program."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{source}\n")
    path.chmod(0o755)


def path_with(folder: Path) -> str:
    return os.pathsep.join([str(folder), os.environ["PATH"]])

"""What is installed beside what pyproject.toml asks for. Nothing is imported here: a broken library must not matter."""

import importlib.util
import runpy
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from workspace.doctor.check import Answer, Checks, Request, error, ok
from workspace.doctor.host import project

_INSTALL = "make setup"
_SETUP_BY_HAND = ("torch", "onedl-mmcv")  # these come in steps of their own: docs/decisions/001-set-up-in-steps.md

# Distributions that fill the folders of the OneDL ones; the last one installed wins, file by file.
_RIVALS = ("mmcv", "mmcv-full", "mmcv-lite", "mmdet", "mmengine", "mmengine-lite")


def requirements(extra: str | None = None) -> list[Requirement]:
    """What pyproject.toml asks for: its dependencies, or those of an extra."""
    table: Any = project()
    return list(map(Requirement, table["dependencies"] if extra is None else table["optional-dependencies"][extra]))


def installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def package_folder(module: str) -> Path | None:
    """Where a package lies, without importing it."""
    spec = importlib.util.find_spec(module)
    return Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None


def torch_build() -> dict[str, Any]:
    """torch's own ``version.py``: ``__version__``, ``cuda`` and so on; empty where torch is not installed."""
    folder = package_folder("torch")
    return {} if folder is None or not (folder / "version.py").exists() else runpy.run_path(str(folder / "version.py"))


def misfit(requirement: Requirement) -> str | None:
    """What is wrong with the installed version, if anything is."""
    found = installed(requirement.name)
    if found is None:
        return f"{requirement.name} is not installed"
    fits = requirement.specifier.contains(found, prereleases=True)
    return None if fits else f"{requirement.name} {found} is not {requirement.specifier}"


def torch(request: Request) -> Answer:
    (requirement,) = (each for each in requirements() if each.name == "torch")
    build = torch_build()
    if wrong := misfit(requirement):
        return error(
            wrong, f"{_INSTALL} TORCH='torch{requirement.specifier}' (with the index of its CPU or CUDA build)"
        )
    kind = f"CUDA {build['cuda']}" if build.get("cuda") else "CPU"
    value = f"{build['__version__']}, {kind} build"
    if build.get("cuda") and (request.device == "npu" or installed("torch_npu")):
        return error(
            value,
            "torch_npu refuses to load beside a CUDA build: exchange it for the CPU build (its index is on PyTorch's "
            "installation page)",
        )
    return ok(value)


def mmcv(_: Request) -> Answer:
    """Its version, and for which devices its operators are compiled: told from the libraries that they link."""
    (requirement,) = (each for each in requirements() if each.name == "onedl-mmcv")
    if wrong := misfit(requirement):
        return error(wrong, _INSTALL)
    folder = package_folder("mmcv")
    compiled = [] if folder is None else sorted(folder.glob("_ext*.so"))
    if not compiled:
        return error(
            f"{installed(requirement.name)}, without its compiled operators",
            "pip cache remove onedl_mmcv; pip uninstall onedl-mmcv; make setup (it compiles them)",
        )
    content = compiled[0].read_bytes()
    kinds = {"CUDA": b"libtorch_cuda", "NPU": b"libtorch_npu"}
    devices = ["CPU", *(kind for kind, library in kinds.items() if library in content)]
    return ok(f"{installed(requirement.name)}, operators for {' and '.join(devices)}")


def others(_: Request) -> Answer:
    rest = [each for each in requirements() if each.name not in _SETUP_BY_HAND]
    if wrong := [found for each in rest if (found := misfit(each))]:
        return error(", ".join(wrong), _INSTALL)
    return ok(", ".join(f"{each.name.removeprefix('onedl-')} {installed(each.name)}" for each in rest))


def rivals(_: Request) -> Answer | None:
    found = [f"{name} {installed(name)}" for name in _RIVALS if installed(name)]
    if not found:
        return None
    return error(
        f"{', '.join(found)} beside the OneDL distributions of the same modules",
        f"pip uninstall {' '.join(name.partition(' ')[0] for name in found)}; pip install --force-reinstall --no-deps "
        "onedl-mmengine onedl-mmdetection; then pip uninstall onedl-mmcv and make setup",
    )


CHECKS: Checks = {"torch": torch, "mmcv": mmcv, "others": others, "rivals": rivals}

"""Room and rights where runs are kept, where compilers and loaders work, and where loaders share memory."""

import os
import shutil
import tempfile
from pathlib import Path

from workspace.doctor.check import Answer, Checks, Request, error, ok, warning

_WORK = (1, 10)  # GiB: too little for a demo experiment, and few for one at full scale (a checkpoint takes 0.3)
_TEMPORARY = (0.1, 1)  # compiling mmcv's operators takes several hundred MiB
_SHARED = (0.05, 1)  # a batch at full scale takes about 0.2 in each loader
_NETWORK = ("nfs", "cifs", "smb", "lustre", "fuse", "9p", "ceph", "gpfs", "beegfs")


def work_folder(request: Request) -> Answer:
    return _room(
        request.work_dir,
        _WORK,
        name="work folder",
        cure="free some space, or name another --work-dir",
    )


def temporary_folder(_: Request) -> Answer:
    """``tempfile`` passes over what it cannot write to, in silence."""
    chosen = os.environ.get("TMPDIR")
    try:
        used = tempfile.gettempdir()
    except FileNotFoundError as failure:
        return error(str(failure), "free some space in /tmp, or name another folder in TMPDIR")
    if chosen and Path(used) != Path(chosen).absolute():
        return warning(f"TMPDIR={chosen} cannot be written, {used} is used", "name a folder in TMPDIR that can")
    return _room(
        Path(used), _TEMPORARY, name="temporary folder", cure="free some space, or name another folder in TMPDIR"
    )


def shared_memory(request: Request) -> Answer:
    """Loaders hand pictures to an accelerator's process through ``/dev/shm``; a container has 64 MiB unless told."""
    cure = "start the container with --shm-size=16g or --ipc=host"
    answer = _room(Path("/dev/shm"), _SHARED, name="shared memory", cure=cure)
    if answer.status == "error" and request.device == "cpu":
        return warning(answer.value, cure)
    return answer


def file_system(request: Request) -> Answer:
    """SQLite's locks, which the MLflow store and the study rely on, are unsafe on most network file systems."""
    place = _there(request.work_dir)
    kind = _file_system(place)
    if kind.startswith(_NETWORK):
        return warning(
            f"{kind} under the work folder",
            "SQLite's locks may fail there: name a local --work-dir, or servers in --tracking-uri and --storage",
        )
    return ok(kind)


def _room(folder: Path, needed: tuple[float, float], *, name: str, cure: str) -> Answer:
    place = _there(folder)
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(bytes(2**20))
        free = shutil.disk_usage(place).free / 2**30
    except OSError as failure:
        return error(f"{name} {folder} cannot be written: {failure.strerror or failure}", cure)
    value = f"{folder if folder.exists() else f'{folder} (not made yet)'}, {free:.1f} GiB free"
    least, comfortable = needed
    if free < least:
        return error(value, cure)
    return warning(value, cure) if free < comfortable else ok(value)


def _there(folder: Path) -> Path:
    """The folder itself, or the nearest above it that is there."""
    absolute = folder.absolute()
    return next(each for each in (absolute, *absolute.parents) if os.path.lexists(each))


def _file_system(place: Path) -> str:
    """Its type, by the longest mount point above the place, and the last one mounted there."""
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    above = [
        (len(point), order, kind) for order, (point, kind) in enumerate(mounts) if place.resolve().is_relative_to(point)
    ]
    return max(above)[2] if above else "unknown"


CHECKS: Checks = {
    "work": work_folder,
    "file system": file_system,
    "temporary": temporary_folder,
    "shared memory": shared_memory,
}

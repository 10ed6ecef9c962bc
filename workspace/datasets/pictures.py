"""Checks of picture files: that they are there, decode as training will decode them, and have the size that is stated.

Decoding goes through ``cv2.imdecode``, as in MMCV's loader, which refuses truncated files of every format tried (the
JPEG reader behind ``cv2.imread`` fills the missing part with grey). Flipped bits inside a JPEG cannot be told from a
picture.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from heapq import nsmallest
from pathlib import Path

from workspace.datasets.findings import Findings
from workspace.datasets.prepared import file_digest
from workspace.datasets.splits import seeded_key

DECODE_ALL = 5000  # pictures; of larger sets a sample is decoded
DECODE_SAMPLE = 1000


@dataclass(frozen=True)
class Picture:
    """A picture as the annotations state it; ``size`` is (width, height) in pixels."""

    name: str
    path: Path
    size: tuple[int, int]


def present(pictures: Iterable[Picture], where: str, findings: Findings, *, inside: Sequence[Path]) -> list[Picture]:
    """Those whose file is there; the others are errors.

    Args:
        inside: folders that no symbolic link may lead out of.
    """
    roots = [folder.resolve() for folder in inside]
    found = []
    for picture in pictures:
        try:
            there = picture.path.is_file()
        except OSError:  # a name too long for the file system, a folder that may not be entered
            there = False
        if not there:
            findings.error(f"{where}: picture file missing", picture.name)
        elif not any(picture.path.resolve().is_relative_to(root) for root in roots):
            findings.error(f"{where}: picture that a symbolic link takes out of the folder", picture.name)
        else:
            found.append(picture)
    return found


def check_decoding(pictures: Sequence[Picture], findings: Findings) -> None:
    """Decodes all pictures, or of more than :data:`DECODE_ALL` a fixed sample, and compares their sizes."""
    if len(pictures) > DECODE_ALL:
        sample = nsmallest(DECODE_SAMPLE, pictures, key=lambda picture: seeded_key(0, picture.name))
        findings.remarks.append(
            f"decoded a fixed sample of {len(sample)} pictures to check them, not all {len(pictures)}"
        )
    else:
        sample = list(pictures)
    with _quiet_opencv(), ThreadPoolExecutor(os.cpu_count()) as pool:
        for picture, size in zip(sample, pool.map(_decoded_size, sample), strict=True):
            if size is None:
                findings.error("picture unreadable or cut short", picture.name)
            elif size != picture.size:
                stated = "{}x{}".format(*picture.size)
                findings.error(
                    "size differs from the JSON's (turned by EXIF?)",
                    f"{picture.name}: {size[0]}x{size[1]}, not {stated}",
                )


def digests(pictures: Sequence[Picture]) -> list[str]:
    """SHA-256 of each file. Raises OSError when one cannot be read."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda picture: file_digest(picture.path), pictures))


def warn_of_shared(
    train: Sequence[Picture], val: Sequence[Picture], content: Mapping[Path, str], findings: Findings
) -> None:
    """Warns of pictures in both splits: the same file, or the same bytes where ``content`` has the digests."""

    def identity(picture: Picture) -> str:
        return content.get(picture.path) or str(picture.path.resolve())

    trained_on = {identity(picture): picture.name for picture in train}
    for picture in val:
        if twin := trained_on.get(identity(picture)):
            findings.warn("val picture that train has too", f"{picture.name} = {twin}")


def _decoded_size(picture: Picture) -> tuple[int, int] | None:
    import cv2
    import numpy as np

    try:
        pixels = cv2.imdecode(np.fromfile(picture.path, np.uint8), cv2.IMREAD_COLOR)
    except (OSError, cv2.error):  # cv2.error: an empty file, or more pixels than OpenCV accepts
        return None
    return (pixels.shape[1], pixels.shape[0]) if pixels is not None else None


@contextmanager
def _quiet_opencv() -> Iterator[None]:
    """Keeps OpenCV's own account of each broken file off the terminal; ours names them all."""
    import cv2

    level = cv2.setLogLevel(0)
    try:
        yield
    finally:
        cv2.setLogLevel(level)

"""The embedded data set: circles, squares and triangles on textured, noisy backgrounds, drawn from seeds.

128 x 128 pixels, one to three objects a picture, 20 to 70 pixels across (log-uniform, so COCO's *small* and
*medium*; nothing is *large* on 128 pixels), colours at random, also close to the background's. Objects may overlap, but
each keeps at least 70 % of its pixels in sight. Masks show what is visible and boxes are the masks' bounds, as in COCO.

The files are the same bytes on every platform: the only random source is ``RandomState``, whose stream NumPy has frozen
(NEP 19), and only its integers are used; pixels come from integer arithmetic; pictures are written as uncompressed BMP
and annotations as canonical JSON. The data set's digest is therefore a constant, and a test pins it.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workspace.datasets.dataset import write_split, write_summary

NAME = "shapes"
VERSION = 1  # of the drawing: a change of any pixel or annotation is a new version
CLASSES = ("circle", "square", "triangle")
PICTURES = {"train": 1200, "search": 200, "eval": 300}
SIZE = 128

_SIDES = (20, 24, 29, 34, 41, 49, 59, 70)  # pixels, in equal ratios: uniform over the steps is log-uniform
_MAX_OBJECTS = 3
_VISIBLE_PERCENT = 70
_PLACEMENTS = 10  # tries to place an object without hiding the others, before it is left out
_TEXTURE_CELLS = 8  # of the background, a side
_SPLIT_SEEDS = {"train": 1, "search": 2, "eval": 3}


@dataclass(frozen=True)
class Drawing:
    """One picture and its objects.

    Attributes:
        pixels: (128, 128, 3) uint8, in BGR order as OpenCV reads it.
        labels: index into :data:`CLASSES`, one an object.
        masks: (objects, 128, 128) bool, the visible pixels; disjoint.
    """

    pixels: NDArray[np.uint8]
    labels: tuple[int, ...]
    masks: NDArray[np.bool_]


def draw(split: str, index: int) -> Drawing:
    """The picture of that index in ``train``, ``search`` or ``eval``; it depends on nothing else."""
    rng = np.random.RandomState([VERSION, _SPLIT_SEEDS[split], index])
    pixels = _background(rng)
    owner = np.zeros((SIZE, SIZE), np.int8)  # 0: background, k: the k-th object, the later ones on top
    labels: list[int] = []
    areas: list[int] = []
    for _ in range(_integer(rng, 1, _MAX_OBJECTS)):
        label = _integer(rng, 0, len(CLASSES) - 1)
        shape = _shape(label, _side(rng))
        colour = rng.randint(0, 256, 3, dtype=np.int32)
        for _ in range(_PLACEMENTS):
            window = _place(rng, shape.shape[0])
            after = owner.copy()
            after[window][shape] = len(labels) + 1
            visible = np.bincount(after.ravel(), minlength=len(labels) + 2)[1:-1]
            if all(100 * left >= _VISIBLE_PERCENT * area for left, area in zip(visible, areas, strict=True)):
                owner = after
                pixels[window][shape] = colour + 2 * _noise(rng, (int(shape.sum()), 3))
                labels.append(label)
                areas.append(int(shape.sum()))
                break
    pixels += _noise(rng, (SIZE, SIZE, 3))
    masks = owner == np.arange(1, len(labels) + 1, dtype=np.int8)[:, None, None]
    return Drawing(np.clip(pixels, 0, 255).astype(np.uint8), tuple(labels), masks)


def make(folder: Path) -> None:
    """Writes the whole set: ``<split>/<index>.bmp`` and ``<split>.json`` for each of :data:`PICTURES`."""
    written = {}
    for split, pictures in PICTURES.items():
        (folder / split).mkdir()
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for index in range(pictures):
            drawing = draw(split, index)
            file_name = f"{index:04d}.bmp"
            (folder / split / file_name).write_bytes(_bmp(drawing.pixels))
            images.append({"id": index + 1, "file_name": file_name, "width": SIZE, "height": SIZE})
            for fields in _objects(drawing):
                annotations.append({"id": len(annotations) + 1, "image_id": index + 1, **fields})
        categories = [{"id": label + 1, "name": name} for label, name in enumerate(CLASSES)]
        content = {"images": images, "annotations": annotations, "categories": categories}
        numbers = write_split(folder, split, content)
        written[split] = {name: numbers[name] for name in ("pictures", "objects")}  # the digest stands on these bytes
    write_summary(folder, classes=list(CLASSES), splits=written, has_masks=True, native_size=(SIZE, SIZE), notes=[])


def _integer(rng: np.random.RandomState, low: int, high: int) -> int:
    """Uniform in low..high, both included."""
    return int(rng.randint(low, high + 1, dtype=np.int64))


def _noise(rng: np.random.RandomState, shape: tuple[int, ...]) -> NDArray[np.int32]:
    """Near-Gaussian integers of mean 0 and standard deviation 4: the ones among 64 random bits, less 32."""
    words = rng.randint(0, 2**64, shape, dtype=np.uint64)
    return np.bitwise_count(words).astype(np.int32) - 32


def _background(rng: np.random.RandomState) -> NDArray[np.int32]:
    """A random colour, varied (standard deviation 16) over coarse cells and interpolated bilinearly between them."""
    colour = rng.randint(40, 200, 3, dtype=np.int32)
    cells = np.clip(colour + 4 * _noise(rng, (_TEXTURE_CELLS, _TEXTURE_CELLS, 3)), 0, 255)
    pitch = SIZE // _TEXTURE_CELLS
    # In half pixels from the first cell's centre, so that all weights are integers; beyond the outer centres, clamped.
    position = np.clip(2 * np.arange(SIZE) + 1 - pitch, 0, 2 * pitch * (_TEXTURE_CELLS - 1))
    distance = np.abs(position[:, None] - 2 * pitch * np.arange(_TEXTURE_CELLS))
    weights = np.maximum(2 * pitch - distance, 0).astype(np.int32)  # (128, cells), each row adds up to 2 * pitch
    rows = np.tensordot(weights, cells, axes=(1, 0))
    both = np.tensordot(weights, rows, axes=(1, 1))  # axes (x, y, channel)
    return both.transpose(1, 0, 2) // (2 * pitch) ** 2


def _side(rng: np.random.RandomState) -> int:
    step = _integer(rng, 0, len(_SIDES) - 2)
    return _integer(rng, _SIDES[step], _SIDES[step + 1])


def _shape(label: int, side: int) -> NDArray[np.bool_]:
    """The shape that fills a (side, side) window; coordinates are doubled, so that pixel centres are integers."""
    x = 2 * np.arange(side)[None, :] + 1 - side  # from the vertical axis
    y = 2 * np.arange(side)[:, None] + 1  # from the upper edge
    match CLASSES[label]:
        case "circle":
            return x**2 + (y - side) ** 2 <= side**2
        case "square":
            return np.ones((side, side), np.bool_)
        case _:  # an isosceles triangle with its apex at the top
            return 2 * np.abs(x) <= y


def _place(rng: np.random.RandomState, side: int) -> tuple[slice, slice]:
    top, left = _integer(rng, 0, SIZE - side), _integer(rng, 0, SIZE - side)
    return slice(top, top + side), slice(left, left + side)


def _objects(drawing: Drawing) -> Iterator[dict[str, Any]]:
    """The fields of COCO annotations: box and area in pixels, mask as compressed run lengths."""
    from pycocotools import mask as coco_mask

    for label, mask in zip(drawing.labels, drawing.masks, strict=True):
        columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
        left, top = int(columns[0]), int(rows[0])
        encoded = coco_mask.encode(np.asfortranarray(mask, np.uint8))
        yield {
            "category_id": label + 1,
            "bbox": [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top],
            "area": int(mask.sum()),
            "iscrowd": 0,
            "segmentation": {"size": [SIZE, SIZE], "counts": encoded["counts"].decode("ascii")},
        }


def _bmp(pixels: NDArray[np.uint8]) -> bytes:
    """An uncompressed 24-bit Windows bitmap; the width must be a multiple of 4, so that rows need no padding."""
    height, width, channels = pixels.shape
    body = pixels[::-1].tobytes()  # rows are stored from the bottom up
    headers = 14 + 40
    file_header = struct.pack("<2sIHHI", b"BM", headers + len(body), 0, 0, headers)
    info_header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8 * channels, 0, len(body), 0, 0, 0, 0)
    return file_header + info_header + body

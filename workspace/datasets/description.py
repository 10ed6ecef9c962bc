"""What is in a data set: pictures, objects, crowds and sizes of each split and class."""

import json
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from typing import Any

from workspace.datasets.dataset import DataSet, Split

SMALL_AREA, MEDIUM_AREA = 32**2, 96**2
"""COCO's bounds, in pixels of the object's area: small is below the first, large from the second on."""

_EDGES = (4, 8, 16, 32, 64, 128, 256, 512, 1024)

SIZE_BINS = (
    f"under {_EDGES[0]}",
    *(f"{low} to {high}" for low, high in pairwise(_EDGES)),
    f"{_EDGES[-1]} and more",
)
"""The bins of the histogram of box sizes, in pixels; a bin's upper edge is the next one's."""


@dataclass(frozen=True)
class ClassCounts:
    """Of one class in one split. Crowd regions are in ``crowd`` alone; sizes are by area."""

    name: str
    pictures: int
    objects: int
    small: int
    medium: int
    large: int
    crowd: int


@dataclass(frozen=True)
class SplitCounts:
    """Of one split.

    Attributes:
        trained_on: as `Split.trained_on`.
        empty: pictures without an object; some may show a crowd.
        box_sizes: objects by the square root of their box's area, in `SIZE_BINS`.
    """

    pictures: int
    trained_on: int
    empty: int
    objects: int
    crowd: int
    box_sizes: tuple[int, ...]
    classes: tuple[ClassCounts, ...]


def describe(dataset: DataSet) -> Mapping[str, SplitCounts]:
    """Counts by split, read from the annotation files."""
    return {name: _counts(split) for name, split in dataset.splits.items()}


def _counts(split: Split) -> SplitCounts:
    content = json.loads(split.annotations.read_bytes())
    objects: dict[int, list[dict[str, Any]]] = defaultdict(list)
    crowds: Counter[int] = Counter()
    for annotation in content["annotations"]:
        if annotation["iscrowd"]:
            crowds[annotation["category_id"]] += 1
        else:
            objects[annotation["category_id"]].append(annotation)
    everything = [item for items in objects.values() for item in items]
    return SplitCounts(
        pictures=split.pictures,
        trained_on=split.trained_on,
        empty=split.pictures - _pictures(everything),
        objects=len(everything),
        crowd=crowds.total(),
        box_sizes=_histogram(sqrt(item["bbox"][2] * item["bbox"][3]) for item in everything),
        classes=tuple(
            _class_counts(category["name"], objects[category["id"]], crowds[category["id"]])
            for category in content["categories"]
        ),
    )


def _class_counts(name: str, objects: list[dict[str, Any]], crowd: int) -> ClassCounts:
    small = sum(item["area"] < SMALL_AREA for item in objects)
    large = sum(item["area"] >= MEDIUM_AREA for item in objects)
    medium = len(objects) - small - large
    return ClassCounts(name, _pictures(objects), len(objects), small, medium, large, crowd)


def _pictures(objects: list[dict[str, Any]]) -> int:
    return len({item["image_id"] for item in objects})


def _histogram(sizes: Iterable[float]) -> tuple[int, ...]:
    bins = Counter(bisect_right(_EDGES, size) for size in sizes)
    return tuple(bins[i] for i in range(len(SIZE_BINS)))

"""`DataSet`: a COCO-format set with its three splits, ready to train on, and its statistics."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from workspace.datasets.prepared import canonical_json

SPLITS = ("train", "search", "eval")
SUMMARY = "dataset.json"

SMALL_AREA, MEDIUM_AREA = 32**2, 96**2  # pixels; COCO's bounds


@dataclass(frozen=True)
class Split:
    """Where a split lies.

    Attributes:
        annotations: COCO JSON file.
        images: the folder that its ``file_name`` entries are relative to.
        objects: annotated ones; crowd regions are not counted.
    """

    annotations: Path
    images: Path
    pictures: int
    objects: int


@dataclass(frozen=True)
class DataSet:
    """A checked data set.

    Attributes:
        digest: SHA-256 over everything that a run on it can depend on: pictures, annotations, and how ``search`` was
            carved; where the files lie does not enter.
        classes: in the order of their labels.
        splits: ``train``, ``search`` (used by trials, never trained on) and ``eval`` (used by the verdict alone).
        has_masks: whether every object has one.
        native_size: (width, height) in pixels when all pictures have the same.
    """

    name: str
    digest: str
    classes: tuple[str, ...]
    splits: Mapping[str, Split]
    has_masks: bool
    native_size: tuple[int, int] | None


class Row(NamedTuple):
    """Counts for one class in one split; sizes are COCO's, by area (small: under 32^2, large: from 96^2 pixels)."""

    split: str
    category: str
    pictures: int
    objects: int
    small: int
    medium: int
    large: int


def statistics(dataset: DataSet) -> list[Row]:
    """A row for each split and class: the pictures that show the class, and its objects by size, without crowds."""
    rows = []
    for name, split in dataset.splits.items():
        content = json.loads(split.annotations.read_bytes())
        by_category: dict[int, list[dict[str, Any]]] = {category["id"]: [] for category in content["categories"]}
        for annotation in content["annotations"]:
            if not annotation["iscrowd"]:
                by_category[annotation["category_id"]].append(annotation)
        for category in content["categories"]:
            objects = by_category[category["id"]]
            small = sum(item["area"] < SMALL_AREA for item in objects)
            large = sum(item["area"] >= MEDIUM_AREA for item in objects)
            pictures = len({item["image_id"] for item in objects})
            sizes = (small, len(objects) - small - large, large)
            rows.append(Row(name, category["name"], pictures, len(objects), *sizes))
    return rows


def write_split(folder: Path, name: str, content: Mapping[str, list[dict[str, Any]]]) -> dict[str, int]:
    """Writes ``<name>.json`` (images, annotations, categories) and returns its entry for :func:`write_summary`."""
    # pycocotools' loadRes wants "info"
    (folder / f"{name}.json").write_bytes(canonical_json({"info": {}, **content}))
    objects = sum(not annotation["iscrowd"] for annotation in content["annotations"])
    return {"pictures": len(content["images"]), "objects": objects}


def write_summary(
    folder: Path,
    *,
    classes: list[str],
    splits: dict[str, dict[str, int]],
    has_masks: bool,
    native_size: tuple[int, int] | None,
    notes: list[str],
) -> None:
    """Writes what :func:`load` needs beside the annotation files; ``notes`` are warnings to repeat at each use."""
    summary = {
        "classes": classes,
        "splits": splits,
        "has_masks": has_masks,
        "native_size": native_size,
        "notes": notes,
    }
    (folder / SUMMARY).write_bytes(canonical_json(summary))


def load(folder: Path, *, name: str, digest: str, images: Mapping[str, Path]) -> tuple[DataSet, list[str]]:
    """The data set prepared in that folder, whose pictures lie under ``images[split]``, and the notes on it."""
    summary = json.loads((folder / SUMMARY).read_bytes())
    splits = {
        split: Split(annotations=folder / f"{split}.json", images=images[split], **summary["splits"][split])
        for split in SPLITS
    }
    size = summary["native_size"]
    dataset = DataSet(
        name=name,
        digest=digest,
        classes=tuple(summary["classes"]),
        splits=splits,
        has_masks=summary["has_masks"],
        native_size=(size[0], size[1]) if size else None,
    )
    return dataset, summary["notes"]

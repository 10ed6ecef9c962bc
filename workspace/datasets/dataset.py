"""`DataSet`: a COCO-format set with its three splits, ready to train on."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workspace.datasets.prepared import canonical_json

SPLITS = ("train", "search", "eval")
SUMMARY = "dataset.json"

SMALLEST_SIDE = 32  # pixels; MMDetection leaves smaller pictures out of training (``filter_cfg.min_size``)


@dataclass(frozen=True)
class Split:
    """Where a split lies.

    Attributes:
        annotations: COCO JSON file.
        images: the folder that its ``file_name`` entries are relative to.
        objects: annotated ones; crowd regions are not counted.
        trained_on: pictures that training on this split sees. As `CocoDataset.filter_data` has it for every verified
            model: those with an annotation, be it a crowd's, and no side under `SMALLEST_SIDE`. Evaluation sees all.
    """

    annotations: Path
    images: Path
    pictures: int
    objects: int
    trained_on: int


@dataclass(frozen=True)
class DataSet:
    """A checked data set.

    Attributes:
        name: for people; like the digest it follows from the content, wherever the files lie.
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


def write_split(folder: Path, name: str, content: Mapping[str, list[dict[str, Any]]]) -> dict[str, int]:
    """Writes ``<name>.json`` (images, annotations, categories) and returns the numbers of its `Split`."""
    # pycocotools' loadRes wants "info"
    (folder / f"{name}.json").write_bytes(canonical_json({"info": {}, **content}))
    objects = sum(not annotation["iscrowd"] for annotation in content["annotations"])
    annotated = {annotation["image_id"] for annotation in content["annotations"]}
    seen = [image for image in content["images"] if image["id"] in annotated and _large_enough(image)]
    return {"pictures": len(content["images"]), "objects": objects, "trained_on": len(seen)}


def _large_enough(image: Mapping[str, Any]) -> bool:
    return bool(min(image["width"], image["height"]) >= SMALLEST_SIDE)


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
    splits = {}
    for split in SPLITS:
        numbers = summary["splits"][split]
        # The embedded set's summary, on which its digest stands, has no such field; all its pictures are trained on.
        numbers.setdefault("trained_on", numbers["pictures"])
        splits[split] = Split(annotations=folder / f"{split}.json", images=images[split], **numbers)
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

"""Reading a folder in COCO format, and checking all that its annotations say before anything is trained on them.

Two layouts are known: ``images/`` with ``annotations/{train,val}.json``, and COCO's own, ``train2017/`` and
``val2017/`` with ``annotations/instances_{train,val}2017.json``.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from workspace.datasets.findings import Findings
from workspace.errors import UserError

Item = dict[str, Any]

_LARGEST_NUMBER = 1e9  # pixels, or square pixels
_OUTSIDE_TOLERANCE = 1.0  # pixels by which a box may reach over the edge without a word


@dataclass(frozen=True)
class Layout:
    """Where the parts of a data set lie, by split (``train``, ``val``)."""

    folder: Path
    annotations: Mapping[str, Path]
    images: Mapping[str, Path]


@dataclass(frozen=True)
class Content:
    """The usable part of an annotation file, as MMDetection and pycocotools need it.

    Entries keep COCO's own fields alone. Annotations have ``area`` and ``iscrowd``, a ``segmentation`` where it is
    usable, and ids from 1 up (COCOeval takes a match with id 0 for none). Categories are in the order of their ids.
    """

    images: list[Item]
    annotations: list[Item]
    categories: list[Item]

    @property
    def classes(self) -> list[str]:
        return [category["name"] for category in self.categories]

    def objects_by_class(self) -> NDArray[np.int64]:
        """(images, classes): how many objects of each class each picture shows, without crowds."""
        row = {image["id"]: i for i, image in enumerate(self.images)}
        column = {category["id"]: i for i, category in enumerate(self.categories)}
        counts = np.zeros((len(row), len(column)), np.int64)
        for item in self.annotations:
            if not item["iscrowd"]:
                counts[row[item["image_id"]], column[item["category_id"]]] += 1
        return counts

    def only(self, image_ids: set[int]) -> dict[str, list[Item]]:
        """The COCO lists for these pictures alone, with annotation ids from 1 up."""
        annotations = [item for item in self.annotations if item["image_id"] in image_ids]
        return {
            "images": [image for image in self.images if image["id"] in image_ids],
            "annotations": [{**item, "id": i} for i, item in enumerate(annotations, start=1)],
            "categories": self.categories,
        }


def find_layout(folder: Path) -> Layout:
    """Recognises the layout. Raises UserError that names the file or folder that is missing."""
    if not folder.is_dir():
        raise UserError(f"data set {folder}: {'not a folder' if folder.exists() else 'no such folder'}")
    notes = folder / "annotations"
    own = {split: notes / f"instances_{split}2017.json" for split in ("train", "val")}
    if any(path.exists() for path in own.values()):
        layout = Layout(folder, own, {split: folder / f"{split}2017" for split in own})
    else:
        plain = {split: notes / f"{split}.json" for split in ("train", "val")}
        layout = Layout(folder, plain, dict.fromkeys(plain, folder / "images"))
    missing = [path for path in layout.annotations.values() if not path.is_file()]
    missing += dict.fromkeys(path for path in layout.images.values() if not path.is_dir())
    if missing:
        names = ", ".join(str(path.relative_to(folder)) for path in missing)
        raise UserError(
            f"data set {folder}: {names} missing; it needs images/ and annotations/train.json and val.json, "
            "or COCO's train2017/, val2017/ and annotations/instances_train2017.json and instances_val2017.json"
        )
    return layout


def read(path: Path, findings: Findings) -> Content:
    """Reads and checks an annotation file; entries with errors are left out, and reported to ``findings``.

    Raises: UserError when the file is no JSON or no COCO at all.
    """
    data = _json_object(path)
    where = path.name
    categories = _categories(data["categories"], where, findings)
    images = _images(data["images"], where, findings)
    annotations = _annotations(data["annotations"], images, categories, where, findings)
    if not images:
        findings.error(f"{where}: empty split", "no picture is listed")
    elif not any(not item["iscrowd"] for item in annotations):
        findings.error(f"{where}: empty split", "no usable object")
    by_id = [categories[key] for key in sorted(categories)]
    return Content(list(images.values()), annotations, by_id)


def compare_categories(train: Content, val: Content, findings: Findings) -> None:
    """Both files must list the same ids with the same names."""
    ours, theirs = ({c["id"]: c["name"] for c in content.categories} for content in (train, val))
    for key in sorted(ours.keys() | theirs.keys()):
        if ours.get(key) != theirs.get(key):
            example = f"id {key}: {ours.get(key, 'none')!s} in train, {theirs.get(key, 'none')!s} in val"
            findings.error("category lists of train and val differ", example)


def masks_complete(contents: Mapping[str, Content], findings: Findings) -> bool:
    """Whether every object, crowds aside, has a usable mask; warns when only a part has."""
    objects = [item for content in contents.values() for item in content.annotations if not item["iscrowd"]]
    without = [item for item in objects if "segmentation" not in item]
    if len(without) < len(objects):
        for item in without:
            findings.warn("object without a usable mask, so that no masks are used", f"picture id {item['image_id']}")
    return not without


def _json_object(path: Path) -> Item:
    try:
        data = json.loads(path.read_bytes(), parse_constant=_refuse_constant)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(data, dict):
        raise UserError(f"{path}: no COCO annotations; the top level must be an object, it is a {type(data).__name__}")
    for key in ("images", "annotations", "categories"):
        if not isinstance(data.get(key), list):
            wrong = "is not a list" if key in data else "is missing"
            raise UserError(f"{path}: no COCO annotations; the key {key!r} {wrong}")
    return data


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _categories(entries: list[Any], where: str, findings: Findings) -> dict[int, Item]:
    categories: dict[int, Item] = {}
    names = set()
    for i, entry in enumerate(entries):
        if not (isinstance(entry, dict) and _is_id(entry.get("id")) and _is_text(entry.get("name"))):
            findings.error(f"{where}: category without id (integer) and name", f"entry {i}")
        elif entry["id"] in categories:
            findings.error(f"{where}: category id twice", f"id {entry['id']}")
        elif entry["name"] in names:
            findings.error(f"{where}: category name twice", entry["name"])
        else:
            names.add(entry["name"])
            categories[entry["id"]] = {key: entry[key] for key in ("id", "name")}
    return categories


def _images(entries: list[Any], where: str, findings: Findings) -> dict[int, Item]:
    images: dict[int, Item] = {}
    names = set()
    for i, entry in enumerate(entries):
        if not (
            isinstance(entry, dict)
            and _is_id(entry.get("id"))
            and _is_text(entry.get("file_name"))
            and all(_is_id(entry.get(side)) and entry[side] > 0 for side in ("width", "height"))
        ):
            findings.error(
                f"{where}: picture without id, file_name, width and height (positive integers)", f"entry {i}"
            )
        elif not _stays_inside(entry["file_name"]):
            findings.error(
                f"{where}: file name that is absolute, has '..' in it or can name no file", entry["file_name"]
            )
        elif entry["id"] in images:
            findings.error(f"{where}: picture id twice", f"id {entry['id']}")
        elif entry["file_name"] in names:
            findings.error(f"{where}: file name twice", entry["file_name"])
        else:
            names.add(entry["file_name"])
            images[entry["id"]] = {key: entry[key] for key in ("id", "file_name", "width", "height")}
    return images


def _annotations(
    entries: list[Any], images: dict[int, Item], categories: dict[int, Item], where: str, findings: Findings
) -> list[Item]:
    kept: list[Item] = []
    seen = set()
    for i, entry in enumerate(entries):
        if not (isinstance(entry, dict) and _is_id(entry.get("id"))):
            findings.error(f"{where}: annotation without id (integer)", f"entry {i}")
            continue
        example = f"id {entry['id']}"
        if entry["id"] in seen:
            findings.error(f"{where}: annotation id twice", example)
        elif not (_is_id(entry.get("image_id")) and entry["image_id"] in images):
            findings.error(f"{where}: annotation of an unknown picture", f"{example}: {entry.get('image_id')!r}")
        elif not (_is_id(entry.get("category_id")) and entry["category_id"] in categories):
            findings.error(f"{where}: annotation of an unknown category", f"{example}: {entry.get('category_id')!r}")
        elif not _is_box(entry.get("bbox")):
            findings.error(f"{where}: annotation whose bbox is not [x, y, width, height]", example)
        elif entry.get("iscrowd", 0) not in (0, 1):
            findings.error(f"{where}: annotation whose iscrowd is not 0 or 1", example)
        elif _has_area_inside(entry["bbox"], images[entry["image_id"]], example, where, findings):
            kept.append({"id": len(kept) + 1, **_usable_fields(entry, images[entry["image_id"]])})
        seen.add(entry["id"])
    return kept


def _usable_fields(entry: Item, image: Item) -> Item:
    area = entry.get("area")
    fields = {
        **{key: entry[key] for key in ("image_id", "category_id", "bbox")},
        "area": area if _is_number(area) and area > 0 else entry["bbox"][2] * entry["bbox"][3],
        "iscrowd": int(entry.get("iscrowd", 0)),
    }
    if _is_mask(entry.get("segmentation"), image["height"], image["width"]):
        fields["segmentation"] = entry["segmentation"]
    return fields


def _has_area_inside(bbox: list[float], image: Item, example: str, where: str, findings: Findings) -> bool:
    x, y, width, height = bbox
    beyond = max(-x, -y, x + width - image["width"], y + height - image["height"])
    inside_x = min(x + width, image["width"]) - max(x, 0)
    inside_y = min(y + height, image["height"]) - max(y, 0)
    if width <= 0 or height <= 0 or inside_x <= 0 or inside_y <= 0:
        findings.warn(f"{where}: box without any area inside its picture, left out", f"{example}: {bbox}")
        return False
    if beyond > _OUTSIDE_TOLERANCE:
        findings.warn(f"{where}: box that reaches outside its picture", f"{example}: {bbox}")
    return True


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.strip() != ""


def _is_number(value: Any) -> TypeGuard[float]:
    """Also false for values that no picture can hold, infinity among them."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST_NUMBER


def _is_box(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(map(_is_number, value))


def _is_mask(value: Any, height: int, width: int) -> bool:
    """Polygons of three points or more, or run lengths of the picture's size, compressed or not."""
    match value:
        case {"size": [h, w], "counts": str(counts)}:
            return [h, w] == [height, width] and counts != ""
        case {"size": [h, w], "counts": list(counts)}:
            return [h, w] == [height, width] and all(map(_is_id, counts)) and sum(counts) == height * width
        case [_, *_] as polygons:
            return all(
                isinstance(points, list) and len(points) >= 6 and len(points) % 2 == 0 and all(map(_is_number, points))
                for points in polygons
            )
    return False


def _stays_inside(file_name: str) -> bool:
    try:
        file_name.encode()
    except UnicodeEncodeError:  # half a surrogate pair names no file
        return False
    path = PurePosixPath(file_name)
    return not path.is_absolute() and ".." not in path.parts and "\0" not in file_name

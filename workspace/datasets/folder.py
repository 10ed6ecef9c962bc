"""A user's own data set: checked, its search split carved, and remembered, so that a second start is instant.

Nothing is written into the user's folder. Under ``<work>/data``, a folder named by the digest holds the three
annotation files, made once for each content, and ``known/`` remembers which content a folder had when its files were
last read.

The digest covers the annotation files, and names, sizes and content of the pictures; above 1 GiB of pictures (where
reading them would hold up every first start) only their names and sizes. It covers the rule of carving too. Neither the
digest nor the name knows where the folder lies or what it is called, so that runs are found again when it is moved.
"""

import dataclasses
import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from workspace.datasets import coco, pictures, splits
from workspace.datasets.dataset import SMALLEST_SIDE, DataSet, load, write_split, write_summary
from workspace.datasets.findings import Findings
from workspace.datasets.pictures import Picture
from workspace.datasets.prepared import (
    cannot_write,
    file_digest,
    fingerprint,
    intact,
    json_digest,
    prepared,
)
from workspace.errors import UserError
from workspace.files import write_json

FULL_DIGEST_BYTES = 2**30

_LONGEST_NAME = 40  # characters of a class

_RULE = {
    "version": 2,  # of the checks, the carving and the files that are written
    "fraction": splits.SEARCH_FRACTION,
    "minimum": splits.SEARCH_MINIMUM,
    "seed": splits.SEARCH_SEED,
}

_log = logging.getLogger(__name__)


def open_folder(folder: Path, work_dir: Path) -> DataSet:
    """Opens the COCO-format folder; warnings go to the log.

    Raises: UserError with all that is wrong with it, counted and named.
    """
    layout = coco.find_layout(folder.resolve())
    memory = work_dir / "data" / "known" / f"{json_digest(str(layout.folder))[:16]}.json"
    digest = _recall(memory, layout)
    if digest is None or intact(_target(work_dir, digest)) is None:
        digest = _prepare(layout, work_dir, memory)
    roots = {"train": layout.images["train"], "search": layout.images["train"], "eval": layout.images["val"]}
    dataset, notes = load(_target(work_dir, digest), name="", digest=digest, images=roots)
    _tell(layout, notes)
    return dataclasses.replace(dataset, name=_name(dataset.classes))


def _prepare(layout: coco.Layout, work_dir: Path, memory: Path) -> str:
    """Checks the whole folder and writes its splits, unless they are there; returns the digest."""
    findings = Findings(str(layout.folder))
    contents = {split: coco.read(path, findings) for split, path in layout.annotations.items()}
    coco.compare_categories(contents["train"], contents["val"], findings)
    listed = {
        split: [
            Picture(image["file_name"], layout.images[split] / image["file_name"], (image["width"], image["height"]))
            for image in content.images
        ]
        for split, content in contents.items()
    }
    if len(listed["train"]) == 1:
        findings.error("too few training pictures to carve a search split from", "at least 2 are needed")
    found = {
        split: pictures.present(
            listed[split], layout.annotations[split].name, findings, inside=(layout.folder, layout.images[split])
        )
        for split in listed
    }
    if findings.errors:  # the rest is looked at all the same, so that one message names everything
        pictures.check_decoding([*found["train"], *found["val"]], findings)
        _tell(layout, findings.notes())
        findings.stop_on_errors()

    names = {split: [picture.name for picture in listed[split]] for split in listed}
    stamp = _fingerprint(layout, names)  # before the content is read: a later change must not go unseen
    content_digests = _content_digests(listed)
    digest = _digest(layout, listed, content_digests)

    def make(part: Path) -> None:
        pictures.check_decoding([*listed["train"], *listed["val"]], findings)
        pictures.warn_of_shared(listed["train"], listed["val"], content_digests, findings)
        findings.stop_on_errors()
        _write(part, contents, findings)

    prepared(_target(work_dir, digest), make)
    try:
        memory.parent.mkdir(exist_ok=True)
        write_json(memory, {"digest": digest, "rule": _RULE, "fingerprint": stamp, "names": names})
    except OSError as error:
        raise cannot_write(memory, error) from error
    return digest


def _write(part: Path, contents: Mapping[str, coco.Content], findings: Findings) -> None:
    train, val = contents["train"], contents["val"]
    counts = train.objects_by_class()
    chosen = splits.carve([image["file_name"] for image in train.images], counts)
    for name, total in zip(train.classes, counts[~chosen].sum(axis=0), strict=True):
        if total == 0:
            findings.warn("class without any object to train on", name)
    for image in train.images:
        if min(image["width"], image["height"]) < SMALLEST_SIDE:
            findings.warn(f"picture under {SMALLEST_SIDE} pixels, which is not trained on", image["file_name"])
    ids = [image["id"] for image in train.images]
    parts = {
        "train": train.only({i for i, taken in zip(ids, chosen, strict=True) if not taken}),
        "search": train.only({i for i, taken in zip(ids, chosen, strict=True) if taken}),
        "eval": val.only({image["id"] for image in val.images}),
    }
    written = {split: write_split(part, split, content) for split, content in parts.items()}
    for split, numbers in written.items():
        if numbers["objects"] == 0:
            raise UserError(f"data set {findings.where}: too few pictures with objects, none is left for {split}")
    if written["train"]["trained_on"] == 0:
        raise UserError(f"data set {findings.where}: no training picture has {SMALLEST_SIDE} pixels on each side")
    sizes = {(image["width"], image["height"]) for content in contents.values() for image in content.images}
    write_summary(
        part,
        classes=train.classes,
        splits=written,
        has_masks=coco.masks_complete(contents, findings),
        native_size=sizes.pop() if len(sizes) == 1 else None,
        notes=findings.notes(),
    )


def _content_digests(listed: Mapping[str, list[Picture]]) -> dict[Path, str]:
    """SHA-256 of each picture's content; empty above :data:`FULL_DIGEST_BYTES`."""
    distinct = list({picture.path: picture for split in listed.values() for picture in split}.values())
    try:
        if sum(picture.path.stat().st_size for picture in distinct) > FULL_DIGEST_BYTES:
            return {}
        return dict(zip((picture.path for picture in distinct), pictures.digests(distinct), strict=True))
    except OSError as error:
        raise UserError(f"a picture cannot be read: {error}") from error


def _digest(layout: coco.Layout, listed: Mapping[str, list[Picture]], content: Mapping[Path, str]) -> str:
    def entry(picture: Picture) -> list[Any]:
        return [picture.name, picture.path.stat().st_size, content.get(picture.path)]

    return json_digest(
        {
            "rule": _RULE,
            "annotations": {split: file_digest(path) for split, path in layout.annotations.items()},
            "pictures": {split: sorted(map(entry, listed[split])) for split in listed},
        }
    )


def _recall(memory: Path, layout: coco.Layout) -> str | None:
    """The digest, when no file of the folder has changed since it was last read."""
    try:
        known = json.loads(memory.read_bytes())
        unchanged = known["rule"] == _RULE and known["fingerprint"] == _fingerprint(layout, known["names"])
        return str(known["digest"]) if unchanged else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _fingerprint(layout: coco.Layout, names: Mapping[str, list[str]]) -> str:
    files = [(f"{split}.json", path) for split, path in layout.annotations.items()]
    for split, root in layout.images.items():
        files += [(f"{split}/{name}", root / name) for name in names[split]]
    return fingerprint(files)


def _name(classes: Sequence[str]) -> str:
    """A name that follows from the content: ``nucleus``, ``person-and-79-more``."""
    first = re.sub(r"[^\w.-]+", "-", classes[0], flags=re.ASCII).strip("-.")[:_LONGEST_NAME] or "data"
    return first if len(classes) == 1 else f"{first}-and-{len(classes) - 1}-more"


def _tell(layout: coco.Layout, notes: Iterable[str]) -> None:
    for note in notes:
        _log.warning("data set %s: %s", layout.folder, note)


def _target(work_dir: Path, digest: str) -> Path:
    return work_dir / "data" / digest[:12]

"""Data sets with a part of the training pictures, for runs that cost less."""

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

from workspace.datasets import splits
from workspace.datasets.coco import Content
from workspace.datasets.dataset import DataSet, Split, write_split
from workspace.datasets.prepared import canonical_json, json_digest, prepared
from workspace.errors import UserError

_RULE = {"version": 1, "seed": splits.SUBSET_SEED}
_NUMBERS = "numbers.json"

_log = logging.getLogger(__name__)


def subset(dataset: DataSet, fraction: float, work_dir: Path) -> DataSet:
    """The data set with that fraction of its training pictures; ``search`` and ``eval`` stay whole.

    Classes and crowdedness follow the whole (`splits.subset`), and a smaller subset lies within a larger one. Its
    digest, and with it the signature of a run, is another than the whole's; a fraction of 1 is the whole itself.

    Args:
        work_dir: its annotation file is kept under ``data/``.

    Raises: UserError when the fraction is not in (0, 1], or leaves nothing to train on.
    """
    if not 0 < fraction <= 1:
        raise UserError(f"a fraction of {fraction} of the training pictures: it must be above 0 and at most 1")
    if fraction == 1:
        return dataset
    digest = json_digest({"of": dataset.digest, "fraction": float(fraction), "rule": _RULE})
    folder = work_dir.resolve() / "data" / digest[:12]
    whole = dataset.splits["train"]

    def make(part: Path) -> None:
        content = _chosen(whole, fraction)
        numbers = write_split(part, "train", content)
        if numbers["trained_on"] == 0:
            raise UserError(f"a fraction of {fraction} of {whole.pictures} training pictures: none with an object left")
        (part / _NUMBERS).write_bytes(canonical_json(numbers))

    prepared(folder, make)
    numbers = json.loads((folder / _NUMBERS).read_bytes())
    part = Split(annotations=folder / "train.json", images=whole.images, **numbers)
    return dataclasses.replace(dataset, digest=digest, splits={**dataset.splits, "train": part})


def _chosen(whole: Split, fraction: float) -> dict[str, list[dict[str, Any]]]:
    lists = json.loads(whole.annotations.read_bytes())
    content = Content(*(lists[name] for name in ("images", "annotations", "categories")))
    counts = content.objects_by_class()
    chosen = splits.subset([image["file_name"] for image in content.images], counts, fraction=fraction)
    for name, before, after in zip(content.classes, counts.sum(axis=0), counts[chosen].sum(axis=0), strict=True):
        if before and not after:
            _log.warning("a fraction of %s of the training pictures shows no %s", fraction, name)
    return content.only({image["id"] for image, taken in zip(content.images, chosen, strict=True) if taken})

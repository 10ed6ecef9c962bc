"""Splits cut to their first pictures."""

import dataclasses
import json
from pathlib import Path

from workspace.datasets import Split


def first_pictures(split: Split, count: int, target: Path) -> Split:
    """The split's first pictures alone; its annotations are written to ``target``."""
    content = json.loads(split.annotations.read_text())
    content["images"] = content["images"][:count]
    kept = {image["id"] for image in content["images"]}
    content["annotations"] = [item for item in content["annotations"] if item["image_id"] in kept]
    target.write_text(json.dumps(content))
    objects = len(content["annotations"])
    return dataclasses.replace(split, annotations=target, pictures=count, objects=objects, trained_on=count)

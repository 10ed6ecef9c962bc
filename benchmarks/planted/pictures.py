"""Easy pictures: one or two bright discs on a dark, slightly noisy background, as a folder in COCO's format.

The planted causes are looked for on them because a micro detector learns them in some ten seconds. 64 x 64 pixels,
discs of 16 to 36 across in any bright colour, all of one class. They are drawn from seeds with integers alone.
"""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

SIZE = 64
PICTURES = {"train": 240, "val": 128}
_SEEDS = {"train": 11, "val": 12}
_SIDES = (16, 36)


def write_pictures(folder: Path) -> Path:
    """Writes ``images/`` and ``annotations/{train,val}.json``; what is there already is not drawn again."""
    done = folder / "annotations" / "val.json"
    if done.exists():
        return folder
    (folder / "images").mkdir(parents=True, exist_ok=True)
    done.parent.mkdir(exist_ok=True)
    for split, pictures in PICTURES.items():
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for index in range(pictures):
            pixels, boxes = _draw(np.random.RandomState([_SEEDS[split], index]))
            name = f"{split}_{index:03d}.png"
            cv2.imwrite(str(folder / "images" / name), pixels)
            images.append({"id": index + 1, "file_name": name, "width": SIZE, "height": SIZE})
            for left, top, side in boxes:
                box = {"bbox": [left, top, side, side], "area": side * side, "iscrowd": 0}
                annotations.append({"id": len(annotations) + 1, "image_id": index + 1, "category_id": 1, **box})
        content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "disc"}]}
        (done.parent / f"{split}.json").write_text(json.dumps(content))
    return folder


def _draw(rng: np.random.RandomState) -> tuple[NDArray[np.uint8], list[tuple[int, int, int]]]:
    """A picture (64, 64, 3) and its objects: left, top and side in pixels."""
    pixels = rng.randint(20, 70, 3) + rng.randint(-8, 9, (SIZE, SIZE, 3))
    taken = np.zeros((SIZE, SIZE), np.bool_)
    boxes: list[tuple[int, int, int]] = []
    for _ in range(rng.randint(1, 3)):
        side = int(rng.randint(*_SIDES))
        left, top = (int(rng.randint(0, SIZE - side + 1)) for _ in range(2))
        window = np.s_[top : top + side, left : left + side]
        if taken[window].any():
            continue
        taken[window] = True
        pixels[window][_disc(side)] = rng.randint(110, 250, 3)
        boxes.append((left, top, side))
    return np.clip(pixels, 0, 255).astype(np.uint8), boxes


def _disc(side: int) -> NDArray[np.bool_]:
    offset = 2 * np.arange(side) + 1 - side
    return np.asarray(offset[:, None] ** 2 + offset**2 <= side**2)

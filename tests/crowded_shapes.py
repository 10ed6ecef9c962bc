import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from workspace.datasets import shapes


def write_crowded(folder: Path, *, train: int = 48, val: int = 21) -> Path:
    """A COCO-format folder of shapes, each object with a mask, and with what real data sets have besides.

    Of seven pictures in a row, one shows nothing, one is a crowd alone, one has a crowd beside its objects and one is
    three times as large; one training picture is under 32 pixels. Ids of pictures and categories have gaps.
    """
    (folder / "images").mkdir(parents=True)
    (folder / "annotations").mkdir()
    categories = [{"id": 10 * (i + 1), "name": name} for i, name in enumerate(shapes.CLASSES)]
    for split, drawn, count in (("train", "train", train), ("val", "eval", val)):
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for i in range(count):
            drawing = shapes.draw(drawn, i)
            pixels, masks, labels = drawing.pixels, drawing.masks, drawing.labels
            if i % 7 == 2:
                pixels, labels = np.random.RandomState(i).randint(80, 100, pixels.shape).astype(np.uint8), ()
            if i % 7 == 5:
                pixels, masks = pixels.repeat(3, 0).repeat(3, 1), masks.repeat(3, 1).repeat(3, 2)
            if split == "train" and i == 0:
                pixels, masks = pixels[::5, ::5], masks[:, ::5, ::5]
            name = f"{split}{i:03d}.png"
            assert cv2.imwrite(str(folder / "images" / name), pixels)
            images.append({"id": 100 + 3 * i, "file_name": name, "width": pixels.shape[1], "height": pixels.shape[0]})
            for k, label in enumerate(labels):
                crowd = i % 7 == 4 or (i % 7 == 6 and k == 0)
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": 100 + 3 * i,
                        "category_id": 10 * (label + 1),
                        "iscrowd": int(crowd),
                        **_shape(masks[k]),
                    }
                )
        content = {"images": images, "annotations": annotations, "categories": categories}
        (folder / "annotations" / f"{split}.json").write_text(json.dumps(content))
    return folder


def _shape(mask: np.ndarray) -> dict[str, Any]:
    encoded = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return {
        "bbox": coco_mask.toBbox(encoded).tolist(),
        "area": int(mask.sum()),
        "segmentation": {"size": list(mask.shape), "counts": encoded["counts"].decode("ascii")},
    }

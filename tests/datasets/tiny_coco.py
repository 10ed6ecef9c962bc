import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

Content = dict[str, Any]


class CocoFolder:
    """A tiny COCO-format folder: 12 train and 4 val pictures of 40 x 32 pixels, two classes, one object each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "images").mkdir(parents=True)
        (path / "annotations").mkdir()
        for split, count in (("train", 12), ("val", 4)):
            images, annotations = [], []
            for i in range(count):
                name = f"{split}{i}.jpg"
                self.paint(path / "images" / name, seed=len(name) * 1000 + i)
                images.append({"id": i, "file_name": name, "width": 40, "height": 32})
                annotations.append(
                    {"id": i, "image_id": i, "category_id": 3 + 4 * (i % 2), "bbox": [2, 3, 10.5, 8], "iscrowd": 0}
                )
            categories = [{"id": 7, "name": "cup"}, {"id": 3, "name": "fork"}]
            self.write(split, {"images": images, "annotations": annotations, "categories": categories})

    def picture(self, name: str) -> Path:
        return self.path / "images" / name

    def json(self, split: str) -> Path:
        return self.path / "annotations" / f"{split}.json"

    def read(self, split: str) -> Content:
        return json.loads(self.json(split).read_text())

    def write(self, split: str, content: Content) -> None:
        self.json(split).write_text(json.dumps(content))

    def change(self, split: str, change: Callable[[Content], object]) -> None:
        content = self.read(split)
        change(content)
        self.write(split, content)

    @staticmethod
    def paint(path: Path, *, seed: int, size: tuple[int, int] = (40, 32)) -> None:
        pixels = np.random.RandomState(seed).randint(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        assert cv2.imwrite(str(path), pixels)


def first(key: str, **fields: Any) -> Callable[[dict[str, Any]], None]:
    """Changes fields of the first entry of that list."""
    return lambda content: content[key][0].update(fields)


def cut(path: Path, share: float = 0.6) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])

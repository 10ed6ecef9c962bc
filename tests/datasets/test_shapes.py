import json

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from workspace.datasets import SPLITS, DataSet, describe, open_dataset, shapes
from workspace.datasets.prepared import intact

DIGEST = "510caf41f38bbff668bdb32812865f7445158ded9e24cc18b8057a0ddeba73dd"


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    return open_dataset(None, tmp_path_factory.mktemp("work"))


def content(dataset: DataSet, split: str) -> dict:
    return json.loads(dataset.splits[split].annotations.read_text())


def test_bytes_are_the_same_everywhere(embedded: DataSet) -> None:
    assert embedded.digest == DIGEST, "a change of the drawing is a new shapes.VERSION"


def test_splits_are_as_stated(embedded: DataSet) -> None:
    assert {name: split.pictures for name, split in embedded.splits.items()} == shapes.PICTURES
    assert tuple(embedded.splits) == SPLITS
    assert embedded.classes == shapes.CLASSES
    assert embedded.has_masks
    assert embedded.native_size == (128, 128)
    for name, split in embedded.splits.items():
        listed = content(embedded, name)
        assert split.objects == len(listed["annotations"])
        assert {image["file_name"] for image in listed["images"]} == {path.name for path in split.images.iterdir()}


def test_no_picture_is_in_two_splits(embedded: DataSet) -> None:
    pictures = [path.read_bytes() for split in embedded.splits.values() for path in split.images.iterdir()]
    assert len(set(pictures)) == len(pictures)


@pytest.mark.parametrize("split", SPLITS)
def test_opencv_reads_what_was_drawn(embedded: DataSet, split: str) -> None:
    for index in (0, 57, 199):
        path = embedded.splits[split].images / f"{index:04d}.bmp"
        np.testing.assert_array_equal(cv2.imread(str(path)), shapes.draw(split, index).pixels)


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")  # pycocotools
@pytest.mark.parametrize("split", ["search", "eval"])
def test_boxes_bound_the_masks_of_their_objects(embedded: DataSet, split: str) -> None:
    listed = content(embedded, split)
    covered: dict[int, np.ndarray] = {}
    for item in listed["annotations"]:
        mask = coco_mask.decode(item["segmentation"])
        rows, columns = np.nonzero(mask)
        left, top = columns.min(), rows.min()
        assert item["bbox"] == [left, top, columns.max() + 1 - left, rows.max() + 1 - top]
        assert item["area"] == mask.sum()
        total = covered.setdefault(item["image_id"], np.zeros_like(mask))
        total += mask
    assert all(total.max() == 1 for total in covered.values()), "each pixel shows one object"
    assert covered.keys() == {image["id"] for image in listed["images"]}, "no picture is empty"


def test_shapes_are_what_their_labels_say() -> None:
    """The share of its box that an unhidden shape fills: pi / 4, 1 and 1 / 2."""
    shares: dict[int, list[float]] = {0: [], 1: [], 2: []}
    for index in range(200):
        drawing = shapes.draw("train", index)
        if len(drawing.labels) == 1:
            rows, columns = np.nonzero(drawing.masks[0])
            box = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
            shares[drawing.labels[0]].append(drawing.masks[0].sum() / box)
    for label, expected in ((0, np.pi / 4), (1, 1.0), (2, 0.5)):
        np.testing.assert_allclose(shares[label], expected, atol=0.04)


def test_no_object_is_nearly_hidden() -> None:
    """What is left of any object is at least 70 % of the smallest shape, a triangle of 20 pixels."""
    for index in range(300):
        assert shapes.draw("eval", index).masks.sum(axis=(1, 2)).min() >= 0.7 * 20 * 20 / 2


def test_small_and_medium_objects_of_every_class(embedded: DataSet) -> None:
    for split, counts in describe(embedded).items():
        assert [row.name for row in counts.classes] == list(shapes.CLASSES)
        assert (counts.objects, counts.crowd, counts.empty) == (embedded.splits[split].objects, 0, 0)
        assert counts.trained_on == counts.pictures, "the digest of old runs stands on epochs of whole splits"
        assert sum(counts.box_sizes) == sum(counts.box_sizes[3:6]) == counts.objects, "16 to 128 pixels"
        for row in counts.classes:
            assert row.objects == row.small + row.medium + row.large
            assert row.small > 0.25 * row.objects
            assert row.medium > 0.25 * row.objects


def test_a_picture_depends_on_its_index_alone() -> None:
    first = shapes.draw("search", 7)
    shapes.draw("search", 8)
    np.testing.assert_array_equal(first.pixels, shapes.draw("search", 7).pixels)


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_coco_evaluation_of_the_truth_is_perfect(embedded: DataSet, kind: str) -> None:
    truth = COCO(str(embedded.splits["eval"].annotations))
    key = "bbox" if kind == "bbox" else "segmentation"
    found = [
        {"image_id": item["image_id"], "category_id": item["category_id"], key: item[key], "score": 1.0}
        for item in truth.dataset["annotations"]
    ]
    evaluation = COCOeval(truth, truth.loadRes(found), kind)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1.0)


def test_made_once(embedded: DataSet) -> None:
    folder = embedded.splits["train"].annotations.parent
    before = {path: path.stat().st_ino for path in folder.rglob("*")}
    again = open_dataset(None, folder.parents[1])
    assert again == embedded
    assert {path: path.stat().st_ino for path in folder.rglob("*")} == before


def test_one_flipped_bit_is_seen(embedded: DataSet) -> None:
    picture = embedded.splits["eval"].images / "0003.bmp"
    whole = picture.read_bytes()
    picture.write_bytes(whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:])
    assert intact(picture.parents[1]) is None
    picture.write_bytes(whole)
    assert intact(picture.parents[1]) == embedded.digest

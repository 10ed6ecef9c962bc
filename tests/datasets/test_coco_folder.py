"""A user's own folder: what is made of it, what is warned of, and what is remembered."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest
from tiny_coco import CocoFolder, cut, first

from workspace.datasets import DataSet, describe, folder, open_dataset, pictures
from workspace.errors import UserError


def opened(coco_folder: CocoFolder) -> DataSet:
    return open_dataset(coco_folder.path, coco_folder.path.parent / "work")


def written(dataset: DataSet, split: str) -> dict[str, Any]:
    return json.loads(dataset.splits[split].annotations.read_text())


def test_splits_of_a_good_folder(coco_folder: CocoFolder, caplog: pytest.LogCaptureFixture) -> None:
    dataset = opened(coco_folder)
    assert dataset.name == "fork-and-1-more"
    assert dataset.classes == ("fork", "cup"), "in the order of category ids"
    assert dataset.native_size == (40, 32)
    assert not dataset.has_masks
    names = {split: {image["file_name"] for image in written(dataset, split)["images"]} for split in dataset.splits}
    assert not names["train"] & names["search"]
    assert names["train"] | names["search"] == {f"train{i}.jpg" for i in range(12)}
    assert names["eval"] == {f"val{i}.jpg" for i in range(4)}
    for name, split in dataset.splits.items():
        content = written(dataset, name)
        assert split.pictures == len(content["images"]) > 0
        assert split.objects == len(content["annotations"]) == split.pictures
        assert all((split.images / image["file_name"]).is_file() for image in content["images"])
        assert [item["id"] for item in content["annotations"]] == list(range(1, split.objects + 1))
        assert all(item["area"] == 84 for item in content["annotations"])
    assert caplog.text == ""


def test_nothing_is_written_into_the_users_folder(coco_folder: CocoFolder) -> None:
    before = sorted(coco_folder.path.rglob("*"))
    opened(coco_folder)
    assert sorted(coco_folder.path.rglob("*")) == before


def test_cocos_own_layout(coco_folder: CocoFolder) -> None:
    plain = opened(coco_folder)
    root = coco_folder.path
    for split in ("train", "val"):
        (root / f"{split}2017").mkdir()
        coco_folder.json(split).rename(root / "annotations" / f"instances_{split}2017.json")
        for path in (root / "images").glob(f"{split}*.jpg"):
            path.rename(root / f"{split}2017" / path.name)
    own = opened(coco_folder)
    assert own.splits["search"].images == root / "train2017"
    assert own.splits["eval"].images == root / "val2017"
    assert own.digest == plain.digest, "the same pictures and annotations"


def test_boxes_without_area_are_left_out_with_a_warning(
    coco_folder: CocoFolder, caplog: pytest.LogCaptureFixture
) -> None:
    def change(content: dict[str, Any]) -> None:
        for item, bbox in zip(content["annotations"], ([1, 1, 0, 5], [40, 0, 5, 5], [-3, 2, 20, 9]), strict=False):
            item["bbox"] = bbox

    coco_folder.change("val", change)
    dataset = opened(coco_folder)
    assert dataset.splits["eval"].objects == 2
    assert "box without any area inside its picture, left out: 2 (id 0: [1, 1, 0, 5], id 1" in caplog.text
    assert "box that reaches outside its picture: 1 (id 2" in caplog.text


def test_crowds_are_kept_and_not_counted(coco_folder: CocoFolder) -> None:
    coco_folder.change("val", first("annotations", iscrowd=1))
    dataset = opened(coco_folder)
    assert dataset.splits["eval"].objects == 3
    assert [item["iscrowd"] for item in written(dataset, "eval")["annotations"]] == [1, 0, 0, 0]
    counts = describe(dataset)["eval"]
    assert (counts.objects, counts.crowd, counts.empty) == (3, 1, 1)


def test_training_sees_no_empty_and_no_tiny_pictures(coco_folder: CocoFolder, caplog: pytest.LogCaptureFixture) -> None:
    whole = opened(coco_folder).splits["train"]
    assert whole.trained_on == whole.pictures == 6

    def change(content: dict[str, Any]) -> None:
        content["annotations"][0]["iscrowd"] = 1
        del content["annotations"][1:4]
        image = content["images"][5]
        coco_folder.paint(coco_folder.picture(image["file_name"]), seed=1, size=(40, 31))
        image["height"] = 31

    coco_folder.change("train", change)
    dataset = opened(coco_folder)
    splits = [dataset.splits[name] for name in ("train", "search")]
    assert sum(split.pictures for split in splits) == 12
    assert sum(split.trained_on for split in splits) == 12 - 3 - 1, "the crowd is annotated, and so is not empty"
    assert sum(counts.empty for counts in describe(dataset).values()) == 4
    assert "picture under 32 pixels, which is not trained on: 1 (train5.jpg)" in caplog.text


def test_a_folder_that_leaves_nothing_to_train_on(coco_folder: CocoFolder) -> None:
    def shrink(content: dict[str, Any]) -> None:
        for image in content["images"]:
            coco_folder.paint(coco_folder.picture(image["file_name"]), seed=1, size=(40, 20))
            image["height"] = 20

    coco_folder.change("train", shrink)
    with pytest.raises(UserError, match="no training picture has 32 pixels on each side"):
        opened(coco_folder)


def test_masks_need_every_object(coco_folder: CocoFolder, caplog: pytest.LogCaptureFixture) -> None:
    polygon = [[2, 3, 12, 3, 12, 11]]
    runs = {"size": [32, 40], "counts": [100, 50, 1130]}

    def add(content: dict[str, Any]) -> None:
        for i, item in enumerate(content["annotations"]):
            item["segmentation"] = polygon if i % 2 else runs

    for split in ("train", "val"):
        coco_folder.change(split, add)
    assert opened(coco_folder).has_masks
    for unusable in ([], [[1, 2, 3, 4]], {"size": [40, 32], "counts": [1280]}, {"size": [32, 40], "counts": [7]}, "x"):
        coco_folder.change("val", first("annotations", segmentation=unusable))
        caplog.clear()
        assert not opened(coco_folder).has_masks
        assert "object without a usable mask, so that no masks are used: 1 (picture id 0)" in caplog.text


@pytest.mark.parametrize("copy", [True, False], ids=["same bytes", "same file"])
def test_pictures_in_train_and_val_are_warned_of(
    coco_folder: CocoFolder, caplog: pytest.LogCaptureFixture, copy: bool
) -> None:
    if copy:
        shutil.copyfile(coco_folder.picture("train2.jpg"), coco_folder.picture("val0.jpg"))
    else:
        coco_folder.change("val", first("images", file_name="train2.jpg"))
    opened(coco_folder)
    assert "val picture that train has too: 1" in caplog.text


def test_class_that_train_lacks_is_warned_of(coco_folder: CocoFolder, caplog: pytest.LogCaptureFixture) -> None:
    for split in ("train", "val"):
        coco_folder.change(split, lambda content: content["categories"].append({"id": 9, "name": "spoon"}))
    assert opened(coco_folder).classes == ("fork", "cup", "spoon")
    assert "class without any object to train on: 1 (spoon)" in caplog.text


def test_second_start_reads_no_picture_and_warns_again(
    coco_folder: CocoFolder, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    coco_folder.change("val", first("annotations", bbox=[1, 1, 0, 5]))
    dataset = opened(coco_folder)
    warned = caplog.messages
    assert warned
    caplog.clear()

    def read(*_: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(folder, "file_digest", read)
    monkeypatch.setattr(pictures, "file_digest", read)
    monkeypatch.setattr(cv2, "imdecode", read)
    assert opened(coco_folder) == dataset
    assert caplog.messages == warned


def test_same_content_elsewhere_is_not_decoded_again(coco_folder: CocoFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = opened(coco_folder)
    moved = coco_folder.path.parent / "elsewhere" / "spoons"
    shutil.copytree(coco_folder.path, moved, copy_function=shutil.copyfile)
    monkeypatch.delattr(cv2, "imdecode")
    again = open_dataset(moved, coco_folder.path.parent / "work")
    assert (again.name, again.digest) == (dataset.name, dataset.digest)
    assert again.splits["eval"].annotations == dataset.splits["eval"].annotations
    assert again.splits["eval"].images == moved / "images"


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f.paint(f.picture("train1.jpg"), seed=99),
        lambda f: f.change("val", first("annotations", bbox=[2, 3, 10, 8])),
        lambda f: (
            f.picture("val0.jpg").rename(f.picture("v.jpg")),
            f.change("val", first("images", file_name="v.jpg")),
        ),
    ],
    ids=["picture", "annotation", "name"],
)
def test_changed_content_has_another_digest(coco_folder: CocoFolder, change: Callable[[CocoFolder], object]) -> None:
    before = opened(coco_folder)
    change(coco_folder)
    assert opened(coco_folder).digest != before.digest


def test_picture_damaged_after_the_first_start_is_found(coco_folder: CocoFolder) -> None:
    opened(coco_folder)
    cut(coco_folder.picture("val2.jpg"))
    with pytest.raises(UserError, match=r"cut short: 1 \(val2.jpg\)"):
        opened(coco_folder)


def test_damaged_splits_are_written_again(coco_folder: CocoFolder) -> None:
    dataset = opened(coco_folder)
    before = dataset.splits["search"].annotations.read_bytes()
    cut(dataset.splits["search"].annotations)
    assert opened(coco_folder) == dataset
    assert dataset.splits["search"].annotations.read_bytes() == before


def test_large_sets_are_decoded_by_sample_and_say_so(
    coco_folder: CocoFolder, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "DECODE_ALL", 10)
    monkeypatch.setattr(pictures, "DECODE_SAMPLE", 15)
    monkeypatch.setattr(folder, "FULL_DIGEST_BYTES", 1000)
    opened(coco_folder)
    assert "decoded a fixed sample of 15 pictures to check them, not all 16" in caplog.text
    for i in range(12):
        cut(coco_folder.picture(f"train{i}.jpg"))
    with pytest.raises(UserError, match=r"cut short: 1[12] "):
        opened(coco_folder)


def test_work_folder_that_cannot_be_written(coco_folder: CocoFolder, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        open_dataset(coco_folder.path, tmp_path / "file")


REAL = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.parametrize(
    ("name", "classes", "masks", "counts"),
    [
        ("bccd", ("RBC", "WBC", "Platelets"), False, {"train": 292, "eval": 72, "objects": 3941 + 945}),
        ("nuclei", ("nucleus",), True, {"train": 200, "eval": 60, "objects": 5939 + 1678}),
    ],
)
def test_real_folders(tmp_path: Path, name: str, classes: tuple[str, ...], masks: bool, counts: dict[str, int]) -> None:
    if not (REAL / name).is_dir():
        pytest.skip(f"the real data set {name} is not beside the repository")
    dataset = open_dataset(REAL / name, tmp_path)
    assert dataset.classes == classes
    assert dataset.has_masks == masks
    split = dataset.splits
    assert split["train"].pictures + split["search"].pictures == counts["train"]
    assert split["eval"].pictures == counts["eval"]
    assert sum(part.objects for part in split.values()) == counts["objects"]
    counts = describe(dataset)
    for train, search in zip(counts["train"].classes, counts["search"].classes, strict=True):
        assert search.objects / (search.objects + train.objects) == pytest.approx(0.15, abs=0.01)

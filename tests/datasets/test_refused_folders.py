"""Folders that are refused: every fault is counted and named in one line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_coco import CocoFolder, cut, first

from workspace.datasets import coco, open_dataset, pictures
from workspace.datasets.findings import Findings
from workspace.errors import UserError

JSON_FAULTS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "no images": (lambda c: c.pop("images"), "no COCO annotations; the key 'images' is missing"),
    "annotations no list": (lambda c: c.update(annotations={}), "the key 'annotations' is not a list"),
    "empty": (lambda c: c.update(images=[], annotations=[]), "train.json: empty split: 1 (no picture is listed)"),
    "no objects": (lambda c: c.update(annotations=[]), "train.json: empty split: 1 (no usable object)"),
    "only crowds": (
        lambda c: [item.update(iscrowd=1) for item in c["annotations"]],
        "train.json: empty split: 1 (no usable object)",
    ),
    "all boxes outside": (
        lambda c: [item.update(bbox=[50, 3, 8, 8]) for item in c["annotations"]],
        "train.json: empty split: 1 (no usable object)",
    ),
    "missing picture": (first("images", file_name="gone.jpg"), "train.json: picture file missing: 1 (gone.jpg)"),
    "long name": (first("images", file_name="x" * 5000), "missing: 1 (" + "x" * 80 + "...)"),
    "a folder": (first("images", file_name="."), "train.json: picture file missing: 1"),
    "escape": (first("images", file_name="../secret.jpg"), "'..' in it or can name no file: 1 (../secret.jpg)"),
    "hidden escape": (first("images", file_name="a/../../b.jpg"), "'..' in it or can name no file: 1"),
    "absolute": (first("images", file_name="/etc/passwd"), "'..' in it or can name no file: 1 (/etc/passwd)"),
    "two lines": (first("images", file_name="a\nb.jpg"), r"picture file missing: 1 ('a\nb.jpg')"),
    "half a surrogate": (first("images", file_name="\ud800.jpg"), r"can name no file: 1 ('\ud800.jpg')"),
    "nul": (first("images", file_name="a\0b.jpg"), "'..' in it or can name no file: 1"),
    "wrong size": (first("images", width=41), "(turned by EXIF?): 1 (train0.jpg: 40x32, not 41x32)"),
    "no width": (lambda c: c["images"][0].pop("width"), "picture without id, file_name, width and height"),
    "picture id twice": (first("images", id=5), "train.json: picture id twice: 1 (id 5)"),
    "file name twice": (first("images", file_name="train5.jpg"), "train.json: file name twice: 1 (train5.jpg)"),
    "annotation id twice": (first("annotations", id=5), "train.json: annotation id twice: 1 (id 5)"),
    "unknown picture": (first("annotations", image_id=99), "annotation of an unknown picture: 1 (id 0: 99)"),
    "unknown category": (first("annotations", category_id=1), "annotation of an unknown category: 1 (id 0: 1)"),
    "short box": (first("annotations", bbox=[1, 2, 3]), "bbox is not [x, y, width, height]: 1 (id 0)"),
    "huge box": (first("annotations", bbox=[1, 2, 3, 10**400]), "bbox is not [x, y, width, height]: 1 (id 0)"),
    "nan": (first("annotations", bbox=[1, 2, 3, float("nan")]), "train.json: not valid JSON (NaN is no JSON number)"),
    "crowd": (first("annotations", iscrowd="no"), "iscrowd is not 0 or 1: 1 (id 0)"),
    "category id twice": (first("categories", id=3), "train.json: category id twice: 1 (id 3)"),
    "category name twice": (first("categories", name="fork"), "train.json: category name twice: 1 (fork)"),
    "nameless category": (first("categories", name=None), "train.json: category without id (integer) and name"),
    "other categories": (
        first("categories", name="mug"),
        "category lists of train and val differ: 1 (id 7: mug in train, cup in val)",
    ),
    "one picture": (
        lambda c: c.update(images=c["images"][:1], annotations=c["annotations"][:1]),
        "too few training pictures to carve a search split from: 1 (at least 2 are needed)",
    ),
    "many": (
        lambda c: [image.update(file_name=f"gone{i}.jpg") for i, image in enumerate(c["images"])],
        "picture file missing: 12 (gone0.jpg, gone1.jpg, gone2.jpg, ...)",
    ),
}


@pytest.mark.parametrize("fault", JSON_FAULTS)
def test_faulty_annotations_are_refused(coco_folder: CocoFolder, fault: str) -> None:
    change, message = JSON_FAULTS[fault]
    coco_folder.change("train", change)
    with pytest.raises(UserError) as error:
        open_dataset(coco_folder.path, coco_folder.path.parent / "work")
    assert message in str(error.value)
    assert str(coco_folder.path) in str(error.value)
    assert "\n" not in str(error.value)


FILE_FAULTS: dict[str, tuple[Callable[[CocoFolder], object], str]] = {
    "no folder": (lambda f: shutil.rmtree(f.path), "no such folder"),
    "a file": (lambda f: (shutil.rmtree(f.path), f.path.write_text("")), "not a folder"),
    "no annotations": (lambda f: shutil.rmtree(f.path / "annotations"), "annotations/train.json, annotations/val.json"),
    "no val": (lambda f: f.json("val").unlink(), "annotations/val.json missing; it needs images/"),
    "no images": (lambda f: shutil.rmtree(f.path / "images"), ": images missing; it needs images/"),
    "torn JSON": (lambda f: cut(f.json("val")), "val.json: not valid JSON"),
    "no text": (lambda f: f.json("val").write_bytes(b"\xff\xfe\xfa"), "val.json: not valid JSON"),
    "deep": (lambda f: f.json("val").write_text("[" * 100_000), "val.json: not valid JSON"),
    "a list": (lambda f: f.json("val").write_text("[]"), "the top level must be an object, it is a list"),
    "truncated": (lambda f: cut(f.picture("val1.jpg")), "picture unreadable or cut short: 1 (val1.jpg)"),
    "header only": (lambda f: cut(f.picture("val1.jpg"), 0.3), "picture unreadable or cut short: 1 (val1.jpg)"),
    "no picture": (lambda f: f.picture("val1.jpg").write_text("hello"), "picture unreadable or cut short: 1"),
    "no bytes": (lambda f: f.picture("val1.jpg").write_bytes(b""), "picture unreadable or cut short: 1"),
}


@pytest.mark.parametrize("fault", FILE_FAULTS)
def test_faulty_files_are_refused(coco_folder: CocoFolder, fault: str) -> None:
    damage, message = FILE_FAULTS[fault]
    damage(coco_folder)
    with pytest.raises(UserError) as error:
        open_dataset(coco_folder.path, coco_folder.path.parent / "work")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("linked", ["picture", "folder"])
def test_a_link_out_of_the_folder_is_refused(coco_folder: CocoFolder, tmp_path: Path, linked: str) -> None:
    """Also one that a name without ``..`` passes through."""
    outside = tmp_path / "private"
    outside.mkdir()
    coco_folder.picture("train4.jpg").rename(outside / "train4.jpg")
    if linked == "picture":
        coco_folder.picture("train4.jpg").symlink_to(outside / "train4.jpg")
        name = "train4.jpg"
    else:
        coco_folder.picture("more").symlink_to(outside)
        name = "more/train4.jpg"
        coco_folder.change("train", lambda content: content["images"][4].update(file_name=name))
    with pytest.raises(UserError) as error:
        open_dataset(coco_folder.path, tmp_path / "work")
    assert f"train.json: picture that a symbolic link takes out of the folder: 1 ({name})" in str(error.value)


def test_links_that_stay_inside_and_a_linked_picture_folder_are_used(coco_folder: CocoFolder, tmp_path: Path) -> None:
    """Pictures often lie on another disk as a whole; whoever made the folder says where."""
    elsewhere = tmp_path / "disk"
    (coco_folder.path / "images").rename(elsewhere)
    (coco_folder.path / "images").symlink_to(elsewhere)
    coco_folder.picture("train4.jpg").rename(coco_folder.path / "kept.jpg")
    coco_folder.picture("train4.jpg").symlink_to(coco_folder.path / "kept.jpg")
    assert open_dataset(coco_folder.path, tmp_path / "work").splits["eval"].pictures == 4


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".tif"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.99])
def test_truncated_pictures_are_told_in_every_format(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"picture{suffix}"
    CocoFolder.paint(path, seed=0, size=(200, 100))
    picture = pictures.Picture(path.name, path, (200, 100))
    whole, short = Findings("here"), Findings("here")
    pictures.check_decoding([picture], whole)
    cut(path, share)
    pictures.check_decoding([picture], short)
    assert not whole.errors
    assert list(short.errors) == ["picture unreadable or cut short"]


def test_all_faults_are_named_at_once(coco_folder: CocoFolder) -> None:
    cut(coco_folder.picture("train3.jpg"))
    coco_folder.picture("train4.jpg").unlink()
    coco_folder.change("train", first("annotations", category_id=99))
    coco_folder.change("val", first("annotations", image_id=99))
    with pytest.raises(UserError) as error:
        open_dataset(coco_folder.path, coco_folder.path.parent / "work")
    for part in (
        "unreadable or cut short: 1 (train3",
        "missing: 1 (train4",
        "unknown category: 1",
        "unknown picture: 1",
    ):
        assert part in str(error.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(["images", "annotations", "categories"]), st.data())
def test_any_json_is_read_or_named(tmp_path_factory: pytest.TempPathFactory, key: str, data: st.DataObject) -> None:
    """Whatever stands in place of a value, the outcome is a finding or content that can be written."""
    content: dict[str, Any] = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 40, "height": 30}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "area": 12, "segmentation": [[1] * 6]}
        ],
        "categories": [{"id": 1, "name": "cup"}],
    }
    field = data.draw(st.sampled_from([None, *content[key][0]]))
    if field is None:
        content[key][0] = data.draw(JSON)
    else:
        content[key][0][field] = data.draw(JSON)
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(content))
    findings = Findings("here")
    read = coco.read(path, findings)
    if not findings.errors:
        assert read.objects_by_class().sum() == 1
        json.dumps(read.only({image["id"] for image in read.images}), allow_nan=False)

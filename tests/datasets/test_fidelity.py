"""Subsets of the training pictures."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_coco import CocoFolder

from workspace.datasets import DataSet, describe, open_dataset, subset
from workspace.datasets.splits import subset as chosen
from workspace.errors import UserError


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def whole(work: Path) -> DataSet:
    return open_dataset(None, work)


def pictures(dataset: DataSet) -> set[str]:
    return {image["file_name"] for image in json.loads(dataset.splits["train"].annotations.read_text())["images"]}


def test_smaller_subsets_lie_within_larger_ones(whole: DataSet, work: Path) -> None:
    sizes = {fraction: pictures(subset(whole, fraction, work)) for fraction in (0.05, 0.1, 0.25, 0.7)}
    assert {fraction: len(names) for fraction, names in sizes.items()} == {0.05: 60, 0.1: 120, 0.25: 300, 0.7: 840}
    ordered = [*sizes.values(), pictures(whole)]
    assert all(smaller < larger for smaller, larger in itertools.pairwise(ordered))


@pytest.mark.parametrize("fraction", [0.05, 0.1, 0.25])
def test_classes_follow_the_whole(whole: DataSet, work: Path, fraction: float) -> None:
    part = subset(whole, fraction, work)
    counts, of = describe(part)["train"], describe(whole)["train"]
    for mine, all_ in zip(counts.classes, of.classes, strict=True):
        assert mine.objects / counts.objects == pytest.approx(all_.objects / of.objects, abs=0.03)
    assert counts.objects / of.objects == pytest.approx(fraction, rel=0.05), "as crowded as the whole"


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=200),
    st.floats(0.01, 1),
    st.floats(0.01, 1),
    st.integers(0, 3),
)
def test_every_class_gives_its_share_to_within_the_bound(labels: list[int], a: float, b: float, seed: int) -> None:
    """Pictures of one object each: at most log2(pictures) systematic samples, each true to within one picture."""
    counts = np.eye(6, dtype=np.int64)[labels]
    names = [f"{i}.jpg" for i in range(len(labels))]
    small, large = (chosen(names, counts, fraction=fraction, seed=seed) for fraction in sorted((a, b)))
    assert not (small & ~large).any()
    for part, fraction in zip((small, large), sorted((a, b)), strict=True):
        assert part.sum() == max(1, round(fraction * len(labels)))
        difference = counts[part].sum(axis=0) - part.mean() * counts.sum(axis=0)
        assert np.abs(difference).max() <= 1 + np.log2(len(labels))


def test_search_and_eval_stay_and_the_identity_changes(whole: DataSet, work: Path) -> None:
    part, other = subset(whole, 0.1, work), subset(whole, 0.2, work)
    for split in ("search", "eval"):
        assert part.splits[split] == whole.splits[split]
    assert len({whole.digest, part.digest, other.digest}) == 3
    assert part.splits["train"].images == whole.splits["train"].images
    assert part.splits["train"].trained_on == part.splits["train"].pictures == 120
    assert subset(whole, 1, work) is whole


def test_the_same_elsewhere(whole: DataSet, work: Path, tmp_path: Path) -> None:
    here, there = subset(whole, 0.1, work), subset(whole, 0.1, tmp_path)
    assert here.digest == there.digest
    assert here.splits["train"].annotations.read_bytes() == there.splits["train"].annotations.read_bytes()


@pytest.mark.parametrize("fraction", [0, -0.5, 1.01, float("nan")])
def test_no_fraction(whole: DataSet, work: Path, fraction: float) -> None:
    with pytest.raises(UserError, match=r"above 0 and at most 1"):
        subset(whole, fraction, work)


def test_a_subset_with_nothing_to_train_on(coco_folder: CocoFolder, tmp_path: Path) -> None:
    coco_folder.change("train", lambda content: content["annotations"].__delitem__(slice(2, None)))
    dataset = open_dataset(coco_folder.path, tmp_path / "work")
    with pytest.raises(UserError, match="none with an object left"):
        subset(dataset, 0.1, tmp_path / "work")


def test_a_class_that_a_subset_loses_is_warned_of(
    coco_folder: CocoFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = open_dataset(coco_folder.path, tmp_path / "work")
    caplog.clear()
    part = subset(dataset, 0.1, tmp_path / "work")
    assert part.splits["train"].pictures == 1
    lost = next(row.name for row in describe(part)["train"].classes if row.objects == 0)
    assert f"shows no {lost}" in caplog.text

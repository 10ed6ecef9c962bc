"""AP of many choices of pictures against COCO's accumulation, written out for one class, threshold and choice."""

import numpy as np
import pytest
from numpy.typing import NDArray

from workspace.matches import SIZES, Matches

PICTURES, CLASSES, THRESHOLDS, DETECTIONS = 30, 6, 10, 900
RECALLS = np.linspace(0, 1, 101)
NEVER_FOUND, NEVER_THERE, ALL_FOUND = 2, 3, 4
"""Classes: with objects that nothing finds, without any, and with every object found before any miss."""


@pytest.fixture(scope="module")
def matches() -> Matches:
    """Matches of which a part counts at no threshold, or at some alone, as those of crowds do."""
    rng = np.random.default_rng(0)
    classes_of = np.sort(rng.integers(0, CLASSES, DETECTIONS)).astype(np.int32)
    scores = rng.random(DETECTIONS)
    order = np.lexsort((-scores, classes_of))
    pictures_of = rng.integers(0, PICTURES, DETECTIONS).astype(np.int32)
    hits = rng.random((DETECTIONS, len(SIZES), THRESHOLDS)) < 0.4
    hits[classes_of == NEVER_FOUND] = False
    hits[classes_of == NEVER_THERE] = False
    ignored = rng.random((DETECTIONS, len(SIZES), 1)) < 0.1
    ignored = (ignored | (rng.random(hits.shape) < 0.05)) & (classes_of != 5)[:, None, None]
    hits &= ~ignored
    hits[classes_of == ALL_FOUND] = True
    misses = ~hits & ~ignored
    positives = np.zeros((CLASSES, len(SIZES), PICTURES), dtype=np.int32)
    for index in range(CLASSES):
        found = hits[classes_of == index].any(2)
        for area in range(len(SIZES)):
            positives[index, area] = np.bincount(pictures_of[classes_of == index], found[:, area], minlength=PICTURES)
    positives[NEVER_FOUND] = 1
    return Matches(
        pictures=np.arange(PICTURES),
        classes=tuple(f"class {index}" for index in range(CLASSES)),
        positives=positives,
        scores=scores[order],
        classes_of=classes_of,
        pictures_of=pictures_of,
        hits=hits,
        misses=misses,
    )


def accumulated(matches: Matches, counts: NDArray[np.int64], size: str = "all") -> NDArray[np.float64]:
    """AP in points of each class: ``COCOeval.accumulate``, each detection repeated as often as its picture counts."""
    area = SIZES.index(size)
    found = np.full(CLASSES, np.nan)
    for index in range(CLASSES):
        positives = int(matches.positives[index, area] @ counts)
        if not positives:
            continue
        mine = np.flatnonzero(matches.classes_of == index)
        copies = np.repeat(mine, counts[matches.pictures_of[mine]])
        means = []
        for threshold in range(THRESHOLDS):
            hit = np.cumsum(matches.hits[copies, area, threshold])
            miss = np.cumsum(matches.misses[copies, area, threshold])
            precision = hit / np.maximum(hit + miss, 1)
            falling = np.maximum.accumulate(precision[::-1])[::-1]
            reached = np.searchsorted(hit / positives, RECALLS, side="left")
            means.append(sum(falling[place] for place in reached if place < len(falling)) / len(RECALLS))
        found[index] = 100 * np.mean(means)
    return found


def choices(number: int) -> NDArray[np.int64]:
    rng = np.random.default_rng(1)
    return np.array([np.bincount(rng.integers(0, PICTURES, PICTURES), minlength=PICTURES) for _ in range(number)])


@pytest.mark.parametrize("size", SIZES)
def test_a_choice_is_as_if_its_pictures_were_there_so_often(matches: Matches, size: str) -> None:
    for counts in choices(5):
        found = matches.average_precision(counts, size)
        np.testing.assert_allclose(found, accumulated(matches, counts, size), rtol=0, atol=1e-10)
        assert np.isnan(found[NEVER_THERE])
        assert found[NEVER_FOUND] == 0
        assert found[ALL_FOUND] == pytest.approx(100)
    once = np.ones(PICTURES, dtype=np.int64)
    np.testing.assert_array_equal(matches.average_precision(size=size), matches.average_precision(once, size))


def test_many_choices_together_are_each_by_itself(matches: Matches) -> None:
    drawn = choices(130)
    expected = [np.nanmean(accumulated(matches, counts)) for counts in drawn]
    np.testing.assert_allclose(matches.mean_average_precisions(drawn), expected, rtol=0, atol=1e-10)
    assert matches.mean_average_precision(drawn[7]) == pytest.approx(expected[7], abs=1e-10)


def test_a_choice_without_any_object_has_no_ap(matches: Matches) -> None:
    none = np.zeros((2, PICTURES), dtype=np.int64)
    none[1] = 1
    found = matches.mean_average_precisions(none)
    assert np.isnan(found[0])
    assert found[1] == pytest.approx(matches.mean_average_precision())

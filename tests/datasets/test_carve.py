import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workspace.datasets.splits import SEARCH_MINIMUM, carve


@st.composite
def object_counts(draw: st.DrawFn) -> np.ndarray:
    pictures, classes = draw(st.integers(2, 120)), draw(st.integers(1, 6))
    rows = st.lists(st.integers(0, 4), min_size=classes, max_size=classes)
    return np.array(draw(st.lists(rows, min_size=pictures, max_size=pictures)), np.int64)


def names(pictures: int) -> list[str]:
    return [f"{i}.jpg" for i in range(pictures)]


@given(object_counts(), st.floats(0.05, 0.5), st.integers(0, 5))
def test_neither_part_is_empty_and_the_share_is_met(counts: np.ndarray, fraction: float, seed: int) -> None:
    pictures = len(counts)
    search = carve(names(pictures), counts, fraction=fraction, seed=seed)
    assert search.shape == (pictures,)
    assert 1 <= search.sum() < pictures
    assert search.sum() == max(round(fraction * pictures), min(SEARCH_MINIMUM, pictures // 2))


@given(object_counts(), st.integers(0, 5), st.randoms(use_true_random=False))
def test_the_order_of_the_list_does_not_matter(counts: np.ndarray, seed: int, random: object) -> None:
    listed = names(len(counts))
    order = list(range(len(counts)))
    random.shuffle(order)
    search = carve(listed, counts, seed=seed)
    shuffled = carve([listed[i] for i in order], counts[order], seed=seed)
    np.testing.assert_array_equal(shuffled, search[order])


@given(object_counts(), st.floats(0.1, 0.5), st.integers(0, 5))
def test_the_rarest_class_gives_its_share_to_within_one_picture(counts: np.ndarray, fraction: float, seed: int) -> None:
    search = carve(names(len(counts)), counts, fraction=fraction, seed=seed)
    shown = counts > 0
    rarest = shown[:, shown.sum(axis=0).argmin()]
    assert abs(search[rarest].sum() - search.mean() * rarest.sum()) < 1


@given(st.lists(st.integers(0, 4), min_size=2, max_size=150), st.integers(0, 5))
def test_every_class_gives_its_share_where_pictures_show_one_class(labels: list[int], seed: int) -> None:
    counts = np.eye(5, dtype=np.int64)[labels]
    search = carve(names(len(labels)), counts, seed=seed)
    difference = counts[search].sum(axis=0) - search.mean() * counts.sum(axis=0)
    assert np.abs(difference).max() < 1


def test_common_classes_follow_too() -> None:
    """Objects of six overlapping classes, from rare to crowded: each share within a fifth of the fraction."""
    rng = np.random.RandomState(0)
    counts = rng.poisson([0.1, 0.3, 0.5, 1, 3, 10], (2000, 6)).astype(np.int64)
    search = carve(names(2000), counts)
    shares = counts[search].sum(axis=0) / counts.sum(axis=0)
    np.testing.assert_allclose(shares, 0.15, rtol=0.2)


def test_seeds_choose_differently() -> None:
    counts = np.ones((100, 1), np.int64)
    assert (carve(names(100), counts, seed=0) != carve(names(100), counts, seed=1)).any()


def test_one_picture_cannot_be_divided() -> None:
    with pytest.raises(ValueError, match="cannot be divided"):
        carve(["a.jpg"], np.ones((1, 1), np.int64))

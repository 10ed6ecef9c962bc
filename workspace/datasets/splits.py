"""Choosing a part of the training pictures: the search split, and subsets for cheaper runs.

Stratified systematic sampling (Cochran, *Sampling Techniques*, chapters 5A and 8): pictures are put in order by the
rarest class that they show, within it by their number of objects, ties by a hash of seed and file name; then the search
split takes every (1/fraction)-th, from a start that the seed gives. Each picture has the same chance, and any stretch
of the order, so each stratum, gives its share to within one picture: classes and crowdedness follow the whole.

Subsets are nested: pictures join in the van der Corput order of their places (bits reversed: the two halves, then the
quarters between, and so on). A subset is then the union of at most log2(pictures) systematic samples, so that a
stratum's share is met to within as many pictures, and in practice one or two.

The choice depends on file names, counts and seed, not on the order in which pictures are listed.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SEARCH_FRACTION = 0.15
SEARCH_MINIMUM = 10  # pictures, where that is not more than half
SEARCH_SEED = 0
SUBSET_SEED = 1


def carve(
    names: Sequence[str],
    counts: NDArray[np.int64],
    *,
    fraction: float = SEARCH_FRACTION,
    seed: int = SEARCH_SEED,
) -> NDArray[np.bool_]:
    """Which pictures are the search split's; the others stay in train.

    Args:
        names: file names, one a picture, all different.
        counts: (pictures, classes), the objects of each class in each picture.
        fraction: of the pictures, between 0 and 1.

    Returns: (pictures,) bool.
    Raises: ValueError when there are fewer than two pictures.
    """
    pictures = len(counts)
    if pictures < 2:
        raise ValueError(f"{pictures} picture(s) cannot be divided")
    size = min(max(round(fraction * pictures), min(SEARCH_MINIMUM, pictures // 2)), pictures - 1)
    start = int.from_bytes(seeded_key(seed, "")) % pictures
    chosen = np.zeros(pictures, np.bool_)
    for place, picture in enumerate(_stratified(names, counts, seed)):
        chosen[picture] = (place * size + start) % pictures >= pictures - size  # exactly `size` times true
    return chosen


def subset(
    names: Sequence[str], counts: NDArray[np.int64], *, fraction: float, seed: int = SUBSET_SEED
) -> NDArray[np.bool_]:
    """Which pictures a subset of that size has: at least one, and all that a smaller subset has.

    Args, returns: as :func:`carve`; ``fraction`` may be 1.
    """
    pictures = len(counts)
    start = int.from_bytes(seeded_key(seed, "")) % pictures
    order = _stratified(names, counts, seed)
    bits = (pictures - 1).bit_length()
    reversed_places = sorted(range(pictures), key=lambda place: int(f"{place:0{bits}b}"[::-1], 2))
    chosen = np.zeros(pictures, np.bool_)
    for place in reversed_places[: max(1, round(fraction * pictures))]:
        chosen[order[(place + start) % pictures]] = True
    return chosen


def _stratified(names: Sequence[str], counts: NDArray[np.int64], seed: int) -> list[int]:
    """Indices of the pictures, in the order that the module's docstring describes."""
    pictures, classes = counts.shape
    pictures_with = (counts > 0).sum(axis=0)
    rarity = np.empty(classes, np.int64)
    rarity[np.argsort(pictures_with, kind="stable")] = np.arange(classes)
    stratum = np.where(counts > 0, rarity, classes).min(axis=1, initial=classes)
    objects = counts.sum(axis=1)
    return sorted(range(pictures), key=lambda i: (stratum[i], objects[i], seeded_key(seed, names[i])))


def seeded_key(seed: int, name: str) -> bytes:
    """Sorting by it shuffles names, the same way for the same seed everywhere."""
    return hashlib.sha256(f"{seed}/{name}".encode()).digest()

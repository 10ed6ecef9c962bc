"""Carving the search split from the training pictures.

Stratified systematic sampling (Cochran, *Sampling Techniques*, chapters 5A and 8): pictures are put in order by the
rarest class that they show, within it by their number of objects, ties by a hash of seed and file name; then every
(1/fraction)-th is taken, from a start that the seed gives. Each picture has the same chance, and any stretch of the
order, so each stratum, gives its share to within one picture: classes and crowdedness follow the whole.

The choice depends on file names, counts and seed, not on the order in which pictures are listed.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SEARCH_FRACTION = 0.15
SEARCH_MINIMUM = 10  # pictures, where that is not more than half
SEARCH_SEED = 0


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
    pictures, classes = counts.shape
    if pictures < 2:
        raise ValueError(f"{pictures} picture(s) cannot be divided")
    size = min(max(round(fraction * pictures), min(SEARCH_MINIMUM, pictures // 2)), pictures - 1)
    pictures_with = (counts > 0).sum(axis=0)
    rarity = np.empty(classes, np.int64)
    rarity[np.argsort(pictures_with, kind="stable")] = np.arange(classes)
    stratum = np.where(counts > 0, rarity, classes).min(axis=1, initial=classes)
    objects = counts.sum(axis=1)
    order = sorted(range(pictures), key=lambda i: (stratum[i], objects[i], seeded_key(seed, names[i])))
    start = int.from_bytes(seeded_key(seed, "")) % pictures
    chosen = np.zeros(pictures, np.bool_)
    for place, picture in enumerate(order):
        chosen[picture] = (place * size + start) % pictures >= pictures - size  # exactly `size` times true
    return chosen


def seeded_key(seed: int, name: str) -> bytes:
    """Sorting by it shuffles names, the same way for the same seed everywhere."""
    return hashlib.sha256(f"{seed}/{name}".encode()).digest()

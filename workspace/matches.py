"""What each picture's detections matched: the part of COCO's evaluation that AP of any choice of pictures follows from.

A run leaves it as ``matches.npz`` beside its result. AP in points is then a function of how often each picture counts,
which is what a bootstrap over pictures needs, and of class and object size; no detection is matched again.
"""

import itertools
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workspace.errors import UserError
from workspace.files import write_atomically

MATCHES = "matches.npz"
"""In a run folder."""

SIZES = ("all", "small", "medium", "large")
"""COCO's object sizes: below 32², up to 96², and above, in pixels of the picture as it was annotated."""

_RECALLS = np.linspace(0.0, 1.0, 101)
_THRESHOLDS = 10

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Matches:
    """The matches of one evaluation.

    Attributes:
        pictures: ids, shape (pictures,).
        classes: names.
        positives: objects to be found, no crowds; (classes, sizes, pictures).
        scores, classes_of, pictures_of: of each detection: score, index of its class and of its picture; sorted by
            class and then by falling score, as COCOeval sorts them.
        hits: whether it matched an object, and counts; (detections, sizes, thresholds), IoU 0.5 to 0.95.
        misses: whether it matched none, and counts.
    """

    pictures: NDArray[np.int64]
    classes: tuple[str, ...]
    positives: NDArray[np.int32]
    scores: Floats
    classes_of: NDArray[np.int32]
    pictures_of: NDArray[np.int32]
    hits: NDArray[np.bool_]
    misses: NDArray[np.bool_]

    def average_precision(self, counts: NDArray[np.int64] | None = None, size: str = "all") -> Floats:
        """AP in points of each class, the mean over IoU 0.5 to 0.95; nan for a class without objects. (classes,)

        As ``COCOeval.accumulate``: precision is made to fall with recall and read at 101 recalls.

        Args:
            counts: how often each picture counts; ``None`` for once.
            size: one of ``SIZES``.
        """
        area = SIZES.index(size)
        found = np.full(len(self.classes), np.nan)
        weights = np.ones(len(self.pictures), dtype=np.int64) if counts is None else counts
        positives = self.positives[:, area] @ weights
        for index, curves in enumerate(self._curves(area)):
            if positives[index]:
                found[index] = 100 * curves.precision(weights, positives[index])
        return found

    def mean_average_precision(self, counts: NDArray[np.int64] | None = None, size: str = "all") -> float:
        """The mean over the classes that have objects, AP in points; nan where none has."""
        found = self.average_precision(counts, size)
        return float(found[~np.isnan(found)].mean()) if not np.isnan(found).all() else float("nan")

    def save(self, path: Path) -> None:
        arrays = {
            "pictures": self.pictures,
            "classes": np.array(self.classes, dtype=np.str_),
            "positives": self.positives,
            "scores": self.scores,
            "classes_of": self.classes_of,
            "pictures_of": self.pictures_of,
            "hits": np.packbits(self.hits.reshape(len(self.hits), -1), axis=1),
            "misses": np.packbits(self.misses.reshape(len(self.misses), -1), axis=1),
        }

        def write(temporary: Path) -> None:
            with temporary.open("wb") as file:  # a name would get another ending
                np.savez_compressed(file, allow_pickle=False, **arrays)

        write_atomically(path, write)

    @classmethod
    def load(cls, path: Path) -> "Matches":
        """`UserError` for a file that is none."""
        try:
            with np.load(path, allow_pickle=False) as stored:
                arrays = dict(stored)
            shape = (len(arrays["scores"]), len(SIZES), _THRESHOLDS)
            bits = {
                name: np.unpackbits(arrays.pop(name), axis=1, count=shape[1] * shape[2]).astype(np.bool_).reshape(shape)
                for name in ("hits", "misses")
            }
            return cls(**{**arrays, **bits, "classes": tuple(arrays["classes"].tolist())})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: no matches of an evaluation ({error}); delete it") from error

    def _curves(self, area: int) -> "list[_Curves]":
        """Of each class; worked out once for all choices of pictures."""
        if area not in self._known:
            ends = np.searchsorted(self.classes_of, np.arange(len(self.classes) + 1))
            self._known[area] = [
                _Curves(self.pictures_of[start:end], self.hits[start:end, area].T, self.misses[start:end, area].T)
                for start, end in itertools.pairwise(ends)
            ]
        return self._known[area]

    @cached_property
    def _known(self) -> "dict[int, list[_Curves]]":
        return {}


class _Curves:
    """Precision over recall of one class and size, at each IoU threshold.

    Precision is worked out where an object is found and nowhere else: between two such detections it only falls and
    recall stands still, so that nothing there is ever read.

    Args:
        pictures_of: of each detection, by falling score.
        hits, misses: (thresholds, detections).
    """

    def __init__(self, pictures_of: NDArray[np.int32], hits: NDArray[np.bool_], misses: NDArray[np.bool_]) -> None:
        self._pictures_of = pictures_of
        self._at = [np.flatnonzero(row) for row in hits]
        counted = hits | misses
        # Without crowds, and for all sizes, every detection counts at every threshold, and one sum is enough.
        self._counted = counted[:1] if (counted == counted[:1]).all() else counted

    def precision(self, weights: NDArray[np.int64], positives: int) -> float:
        """Mean over thresholds and recalls, 0 to 1.

        Args:
            weights: of the pictures.
            positives: objects to be found, by these weights.
        """
        weight = weights[self._pictures_of]
        seen = np.cumsum(self._counted * weight, axis=1)
        means = []
        for at, upto in zip(self._at, itertools.cycle(seen) if len(seen) == 1 else seen, strict=False):
            hit = np.cumsum(weight[at])
            precision = hit / np.maximum(upto[at], 1)
            falling = np.maximum.accumulate(precision[::-1])[::-1]
            reached = np.searchsorted(hit / positives, _RECALLS, side="left")
            means.append(falling[reached[reached < len(hit)]].sum() / len(_RECALLS))
        return float(np.mean(means))

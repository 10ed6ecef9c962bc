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

_AT_ONCE = 50
"""Choices of pictures that are scored together: enough to outweigh a call's cost, few enough for the caches."""

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
        rows = None if counts is None else counts[None]
        found: Floats = self._average_precisions(rows, size)[0]
        return found

    def mean_average_precision(self, counts: NDArray[np.int64] | None = None, size: str = "all") -> float:
        """The mean over the classes that have objects, AP in points; nan where none has."""
        return float(_mean_of_known(self.average_precision(counts, size)))

    def mean_average_precisions(self, counts: NDArray[np.int64]) -> Floats:
        """`mean_average_precision` of many choices of pictures, several times as fast as one by one. (choices,)

        Args:
            counts: how often each picture counts, (choices, pictures).
        """
        return _mean_of_known(self._average_precisions(counts, "all"))

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

    def _average_precisions(self, counts: NDArray[np.int64] | None, size: str) -> Floats:
        """AP in points by choice of pictures and class; nan for a class without objects. (choices, classes)"""
        area = SIZES.index(size)
        choices = np.ones((1, len(self.pictures)), dtype=np.int64) if counts is None else counts
        found = np.full((len(choices), len(self.classes)), np.nan)
        for first in range(0, len(choices), _AT_ONCE):
            weights = np.ascontiguousarray(choices[first : first + _AT_ONCE].T, dtype=np.float64)
            positives = self.positives[:, area] @ weights
            for index, curves in enumerate(self._curves(area)):
                is_known = positives[index] > 0
                if is_known.any():
                    precision = curves.precision(weights, np.maximum(positives[index], 1))
                    found[first : first + _AT_ONCE, index] = np.where(is_known, 100 * precision, np.nan)
        return found

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
    recall stands still, so that nothing there is ever read. The detections between two that find an object, at any
    threshold, are summed up at once for all thresholds. Arrays are (detections, choices of pictures): what is added
    up along the detections is added for all choices in one go.

    Args:
        pictures_of: of each detection, by falling score.
        hits, misses: (thresholds, detections).
    """

    def __init__(self, pictures_of: NDArray[np.int32], hits: NDArray[np.bool_], misses: NDArray[np.bool_]) -> None:
        at = np.flatnonzero(hits.any(0))
        last = at[-1] + 1 if at.size else 0  # what comes after it is never read
        counted = (hits | misses)[:, :last]
        ever = counted.any(0)
        before = np.cumsum(ever)[at] - 1  # detections that count, before each of ``at``
        self._seen = pictures_of[:last][ever]
        self._starts = np.concatenate([[0], before + 1])[:-1]
        self._found = pictures_of[at]
        self._thresholds = []
        for row, counts in zip(hits, counted, strict=True):
            rows = np.flatnonzero(row[at])
            ignored = np.flatnonzero(ever & ~counts)  # for a crowd, or an object of another size
            self._thresholds.append((rows, pictures_of[ignored], np.searchsorted(ignored, at[rows])))

    def precision(self, weights: Floats, positives: Floats) -> Floats:
        """Mean over thresholds and recalls, 0 to 1, for each choice of pictures. (choices,)

        Args:
            weights: whole numbers, of the pictures; (pictures, choices).
            positives: objects to be found, by these weights, above 0.
        """
        total = np.zeros(weights.shape[1])
        if not self._found.size:
            return total
        seen = np.cumsum(np.add.reduceat(weights.take(self._seen, axis=0), self._starts, axis=0), axis=0)
        found = weights.take(self._found, axis=0)
        for rows, ignored, before in self._thresholds:
            if not rows.size:
                continue
            hit = np.cumsum(found.take(rows, axis=0), axis=0)
            upto = seen.take(rows, axis=0)
            if ignored.size:
                upto -= _sums_before(weights.take(ignored, axis=0)).take(before, axis=0)
            falling = np.maximum.accumulate((hit / np.maximum(upto, 1))[::-1], axis=0)[::-1]
            reached = _recalls_reached(hit / positives)
            reached[1:] -= reached[:-1].copy()  # by each detection that no one before it has
            total += np.einsum("ij,ij->j", falling, reached)
        return total / len(_RECALLS) / len(self._thresholds)


def _sums_before(values: Floats) -> Floats:
    """Sums along the first axis: of none, of the first, of the first two, and so on."""
    sums = np.zeros((len(values) + 1, *values.shape[1:]))
    np.cumsum(values, axis=0, out=sums[1:])
    return sums


def _recalls_reached(recall: Floats) -> NDArray[np.intp]:
    """How many of the 101 recalls are at or below each; as ``searchsorted`` on the right, in a tenth of its time."""
    nearest = (np.minimum(recall, 1) * (len(_RECALLS) - 1) + 0.5).astype(np.intp)
    found: NDArray[np.intp] = nearest + (_RECALLS.take(nearest) <= recall)
    return found


def _mean_of_known(values: Floats) -> Floats:
    """Along the last axis, over what is not nan; nan where all is."""
    is_known = ~np.isnan(values)
    known = is_known.sum(-1)
    means: Floats = np.where(is_known, values, 0.0).sum(-1) / np.where(known, known, np.nan)
    return means

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
        for index, (rows, hits, misses) in enumerate(self._by_class(area)):
            if positives[index] == 0:
                continue
            weight = weights[self.pictures_of[rows]].astype(np.float64)
            hit, miss = np.cumsum(hits * weight, axis=1), np.cumsum(misses * weight, axis=1)
            recall = hit / positives[index]
            precision = hit / np.maximum(hit + miss, np.spacing(1))
            falling = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
            found[index] = 100 * np.mean([_read(*curve) for curve in zip(recall, falling, strict=True)])
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

    def _by_class(self, area: int) -> list[tuple[slice, NDArray[np.bool_], NDArray[np.bool_]]]:
        """Rows of each class, and its hits and misses, (thresholds, detections)."""
        return [(rows, self.hits[rows, area].T, self.misses[rows, area].T) for rows in self._rows]

    @cached_property
    def _rows(self) -> list[slice]:
        ends = np.searchsorted(self.classes_of, np.arange(len(self.classes) + 1))
        return [slice(int(start), int(end)) for start, end in itertools.pairwise(ends)]


def _read(recall: Floats, precision: Floats) -> float:
    """Mean precision at the 101 recalls; 0 at those that were not reached."""
    at = np.searchsorted(recall, _RECALLS, side="left")
    reached = at < len(recall)
    return float(precision[at[reached]].sum() / len(_RECALLS))

"""Intervals over pictures that were worked out before: on a set as large as COCO's, one takes many seconds."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from workspace.files import write_json
from workspace.gap import PictureInterval

PICTURES_FILE = "pictures.json"
"""In an experiment's folder: by what the runs are and what they matched, the interval of their gap over pictures."""

_METHOD = "90 % percentile bootstrap of 200 to 500 resamples, 1"
"""Part of the key, for what another `workspace.gap.bootstrap_pictures` gave is no answer of this one."""


class PictureIntervals:
    """The intervals that an experiment's folder knows; read when this is made, added to as more are worked out.

    A file that cannot be read is as good as none, and is written anew: nothing in it is worth more than some seconds.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / PICTURES_FILE
        self._known: dict[str, Any] = {}
        try:
            known = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return
        if isinstance(known, dict):
            self._known = known

    def of(
        self, baseline: Mapping[str, Path], candidate: Mapping[str, Path], work_out: Callable[[], PictureInterval]
    ) -> PictureInterval:
        """The interval of the gap between these runs; worked out where it is not known.

        Args:
            baseline, candidate: files of matches by the runs' signatures.
        """
        key = _key(baseline, candidate)
        if (known := self._stored(key)) is not None:
            return known
        found = work_out()
        self._known[key] = vars(found)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self._path, self._known)
        return found

    def _stored(self, key: str) -> PictureInterval | None:
        try:
            return _interval(**self._known[key])
        except (KeyError, TypeError, ValueError):
            return None


def _key(*arms: Mapping[str, Path]) -> str:
    """Of the runs, and of what lies in their files: a signature alone does not tell that they were written anew."""
    runs = [[(name, hashlib.sha256(path.read_bytes()).hexdigest()) for name, path in arm.items()] for arm in arms]
    return hashlib.sha256(json.dumps([_METHOD, *runs]).encode()).hexdigest()


def _interval(*, low: float, high: float, pictures: int, resamples: int) -> PictureInterval:
    """What was stored; `TypeError` or `ValueError` for what is no interval."""
    return PictureInterval(low=float(low), high=float(high), pictures=int(pictures), resamples=int(resamples))

"""How long does the interval over pictures take on a set as large as COCO's, and how long would it one by one?

  python benchmarks/picture_bootstrap.py [--runs 5] [--pictures 5000] [--classes 80] [--detections 100]

The matches are made up: classes of very different frequency, as COCO's are, detections that find an object more often
the higher their score, and a few that COCO's evaluation ignores for crowds. Prints the seconds of one gap's interval,
and the ratio to scoring each of its resamples by itself, of which a few are timed.
"""

import argparse
import time

import numpy as np

from workspace.gap import bootstrap_pictures
from workspace.matches import SIZES, Matches

ONE_BY_ONE = 3
"""Resamples that are scored by themselves."""


def made_up(pictures: int, classes: int, detections: int, seed: int) -> Matches:
    """Matches of one run; the objects are the same for every seed.

    Args:
        pictures, classes: how many.
        detections: in each picture.
        seed: of what is found.
    """
    objects = np.random.default_rng(0)
    share = 1 / np.arange(1, classes + 1)  # as in COCO, where a third of the objects are people
    share /= share.sum()
    positives = objects.poisson(7 * share[:, None], (classes, pictures))

    found = np.random.default_rng(1 + seed)
    count = pictures * detections
    pictures_of = np.repeat(np.arange(pictures, dtype=np.int32), detections)
    classes_of = found.choice(classes, count, p=share).astype(np.int32)
    order = np.lexsort((pictures_of, classes_of))
    pictures_of, classes_of = pictures_of[order], classes_of[order]
    group = classes_of.astype(np.int64) * pictures + pictures_of
    nth = np.arange(count) - np.searchsorted(group, group)  # of its class in its picture
    is_object = nth < positives[classes_of, pictures_of]
    scores = np.where(is_object, found.beta(3, 3, count), found.beta(1, 12, count))
    order = np.lexsort((-scores, classes_of))
    pictures_of, classes_of, scores = pictures_of[order], classes_of[order], scores[order]
    overlap = np.where(is_object[order], found.beta(2 + 6 * scores, 2.5), 0)
    hits = overlap[:, None] >= np.linspace(0.5, 0.95, 10)
    ignored = (found.random(count) < 0.01)[:, None] & ~hits
    sizes = (1, len(SIZES), 1)
    return Matches(
        pictures=np.arange(pictures),
        classes=tuple(f"class {index}" for index in range(classes)),
        positives=np.repeat(positives[:, None].astype(np.int32), len(SIZES), axis=1),
        scores=scores,
        classes_of=classes_of,
        pictures_of=pictures_of,
        hits=np.tile(hits[:, None], sizes),
        misses=np.tile((~hits & ~ignored)[:, None], sizes),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="of each arm")
    parser.add_argument("--pictures", type=int, default=5000)
    parser.add_argument("--classes", type=int, default=80)
    parser.add_argument("--detections", type=int, default=100, help="in each picture")
    options = parser.parse_args()
    shape = options.pictures, options.classes, options.detections
    arms = [[made_up(*shape, seed) for seed in range(first, first + options.runs)] for first in (0, 1000)]
    runs = [run for arm in arms for run in arm]
    print(f"AP {runs[0].mean_average_precision():.1f}, {len(runs[0].scores):,} detections a run, {len(runs)} runs")

    begun = time.perf_counter()
    found = bootstrap_pictures(*arms)
    together = time.perf_counter() - begun
    print(f"{found.resamples} resamples: {together:.1f} s, {found.low:+.3f} to {found.high:+.3f} AP")

    draw = np.random.default_rng(0)
    drawn = [np.bincount(draw.integers(0, options.pictures, options.pictures)) for _ in range(ONE_BY_ONE)]
    counts = [np.pad(of, (0, options.pictures - len(of))) for of in drawn]
    begun = time.perf_counter()
    for of in counts:
        for run in runs:
            run.mean_average_precision(of)
    alone = (time.perf_counter() - begun) / ONE_BY_ONE * found.resamples
    print(f"one by one: {alone:.1f} s; ratio: {alone / together:.1f}")


if __name__ == "__main__":
    main()

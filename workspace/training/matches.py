"""The matches of an evaluation, picture by picture, by pycocotools: faster-coco-eval keeps them to itself."""

import warnings
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import numpy as np
from faster_coco_eval import COCOeval_faster
from pycocotools.cocoeval import COCOeval

from workspace.matches import SIZES, Matches
from workspace.training.metric import UnroundedCocoMetric
from workspace.training.runner import RunRunner


def last_matches(runner: RunRunner) -> Matches | None:
    """Those of the runner's last evaluation in this process; ``None`` where it found nothing, or there was none."""
    (metric,) = runner.val_loop.evaluator.metrics
    assert isinstance(metric, UnroundedCocoMetric)
    return next((picture_matches(evaluation) for evaluation in metric.evaluations.values()), None)


def picture_matches(done: COCOeval_faster) -> Matches:
    """What each picture's detections matched, in an evaluation that is done."""
    classes, pictures = sorted(done.params.catIds), sorted(done.params.imgIds)
    positives = np.zeros((len(classes), len(SIZES), len(pictures)), dtype=np.int32)
    scores, classes_of, pictures_of, hits, misses = [], [], [], [], []
    for index, key in enumerate(classes):
        for picture, parts in enumerate(zip(*_evaluated(done, key, pictures), strict=True)):
            if parts[0] is None:  # neither objects nor detections
                continue
            found = np.asarray(parts[0]["dtScores"], dtype=np.float64)
            positives[index, :, picture] = [np.count_nonzero(part["gtIgnore"] == 0) for part in parts]
            scores.append(found)
            classes_of.append(np.full(len(found), index, dtype=np.int32))
            pictures_of.append(np.full(len(found), picture, dtype=np.int32))
            matched = np.stack([part["dtMatches"] != 0 for part in parts])  # (sizes, thresholds, detections)
            counts = np.stack([part["dtIgnore"] == 0 for part in parts])
            hits.append((matched & counts).transpose(2, 0, 1))
            misses.append((~matched & counts).transpose(2, 0, 1))
    all_scores, all_classes = np.concatenate(scores), np.concatenate(classes_of)
    order = np.lexsort((np.arange(len(all_scores)), -all_scores, all_classes))
    return Matches(
        pictures=np.array(pictures, dtype=np.int64),
        classes=tuple(done.cocoGt.cats[key]["name"] for key in classes),
        positives=positives,
        scores=all_scores[order],
        classes_of=all_classes[order],
        pictures_of=np.concatenate(pictures_of)[order],
        hits=np.concatenate(hits)[order],
        misses=np.concatenate(misses)[order],
    )


def _evaluated(done: COCOeval_faster, category: int, pictures: list[int]) -> list[list[Any]]:
    """pycocotools' evaluation of one class, (sizes, pictures): of all at once it would take gigabytes on COCO."""
    evaluation = COCOeval(done.cocoGt, done.cocoDt, done.params.iouType)
    params = evaluation.params
    params.catIds, params.imgIds = [category], pictures
    params.iouThrs, params.maxDets = np.asarray(done.params.iouThrs), [done.params.maxDets[-1]]
    with redirect_stdout(StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # NumPy's, of how pycocotools makes its arrays
        evaluation.evaluate()
    count = len(pictures)
    return [evaluation.evalImgs[size * count : (size + 1) * count] for size in range(len(SIZES))]

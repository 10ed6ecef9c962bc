"""The fast evaluation against pycocotools, on what trained detectors found among crowds and in empty pictures."""

import json
from collections.abc import Callable
from typing import Any

import faster_coco_eval
import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from workspace.training.checkpoints import read_checkpoint
from workspace.training.evaluation import Evaluation, evaluate
from workspace.training.metric import ap_figures
from workspace.training.task import Task

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")  # pycocotools

LIMITS = [100, 300, 1000]  # MMDetection's, of detections of a class in a picture
TOLERANCE = 1e-6

Detections = list[dict[str, Any]]


@pytest.fixture(scope="module", params=["fcos", "solov2"])
def task(request: pytest.FixtureRequest, crowded_run: Callable[[str], Task]) -> Task:
    return crowded_run(request.param)


@pytest.fixture(scope="module")
def evaluation(task: Task) -> Evaluation:
    return evaluate(read_checkpoint(task.folder / "model.pth"), task)


def evaluated(task: Task, detections: Detections, *, fast: bool = False) -> Any:
    kind = "segm" if task.spec.detector == "solov2" else "bbox"
    coco, cocoeval = (faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster) if fast else (COCO, COCOeval)
    truth = coco(str(task.evaluate.annotations))
    found = truth.loadRes(json.loads(json.dumps(detections)))
    evaluation = cocoeval(truth, found, kind)
    evaluation.params.maxDets = list(LIMITS)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation


def assert_points(found: dict[str, float], fractions: Any) -> None:
    expected = [100 * value if value > -1 else np.nan for value in fractions]
    np.testing.assert_allclose(list(found.values()), expected, rtol=0, atol=TOLERANCE)


def test_the_set_has_what_is_hard_to_count(task: Task) -> None:
    content = json.loads(task.evaluate.annotations.read_text())
    crowds = [item for item in content["annotations"] if item["iscrowd"]]
    annotated = {item["image_id"] for item in content["annotations"]}
    assert len(crowds) >= 6
    assert len(annotated) == task.evaluate.pictures - 3, "three pictures show nothing"


def test_all_twelve_figures(task: Task, evaluation: Evaluation) -> None:
    assert_points(dict(evaluation.metrics), evaluated(task, evaluation.detections).stats)
    assert 0 < next(iter(evaluation.metrics.values())) < 100
    assert not any(map(np.isnan, evaluation.metrics.values())), "objects of all three sizes"


def test_every_class_and_size(task: Task, evaluation: Evaluation) -> None:
    precision = evaluated(task, evaluation.detections).eval["precision"]
    assert list(evaluation.classes) == list(task.classes)
    for k, of_class in enumerate(evaluation.classes.values()):
        expected = []
        for threshold, area, limit in ((..., 0, 0), (0, 0, 2), (5, 0, 2), (..., 1, 2), (..., 2, 2), (..., 3, 2)):
            values = precision[:, :, k, area, limit][threshold]
            expected.append(values[values > -1].mean() if (values > -1).any() else -1)
        assert_points(dict(of_class), expected)


def test_every_precision_and_recall(task: Task, evaluation: Evaluation) -> None:
    slow, fast = (evaluated(task, evaluation.detections, fast=fast).eval for fast in (False, True))
    for name in ("precision", "recall"):
        np.testing.assert_allclose(fast[name], slow[name], rtol=0, atol=TOLERANCE)


def test_more_than_a_hundred_detections_of_a_class_in_a_picture(task: Task, evaluation: Evaluation) -> None:
    """As pycocotools counts them, and as faster-coco-eval's own summary does not."""
    truth = json.loads(task.evaluate.annotations.read_text())
    kind = "segmentation" if task.spec.detector == "solov2" else "bbox"
    found = [{**item, "score": 0.5 * item["score"]} for item in evaluation.detections]
    for item in truth["annotations"][:6]:
        key = {name: item[name] for name in ("image_id", "category_id")}
        elsewhere = next(other for other in truth["annotations"] if other["image_id"] != item["image_id"])
        found += [{**key, kind: elsewhere[kind], "score": 0.9}] * 120 + [{**key, kind: item[kind], "score": 0.8}]
    slow, fast = (evaluated(task, found, fast=fast) for fast in (False, True))
    np.testing.assert_allclose(list(ap_figures(fast.eval["precision"]).values()), slow.stats[:6], atol=TOLERANCE)
    assert abs(fast.stats[0] - slow.stats[0]) > 1e-3


def test_a_runs_own_evaluation_is_the_same(task: Task, evaluation: Evaluation) -> None:
    result = json.loads((task.folder / "result.json").read_text())
    kind = "segm" if task.spec.detector == "solov2" else "bbox"
    names = ("mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l")
    assert result["metrics"].keys() == {f"coco/{kind}_{name}" for name in names}, "no more than was ever reported"
    for name, fraction in result["metrics"].items():
        assert evaluation.metrics[name] == pytest.approx(100 * fraction, abs=TOLERANCE)
    assert result["ap"] == result["metrics"][result["metric"]] * 100

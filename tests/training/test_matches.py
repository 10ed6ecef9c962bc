"""AP from the matches of each picture against COCO's own, of all pictures and of some that count more than once."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from workspace.errors import UserError
from workspace.matches import MATCHES, SIZES, Matches
from workspace.training.checkpoints import read_checkpoint
from workspace.training.evaluation import evaluate
from workspace.training.task import Task

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")  # pycocotools

TOLERANCE = 1e-6


@pytest.fixture(scope="module", params=["fcos", "solov2"])
def task(request: pytest.FixtureRequest, crowded_run: Callable[[str], Task]) -> Task:
    return crowded_run(request.param)


@pytest.fixture(scope="module")
def matches(task: Task) -> Matches:
    return Matches.load(task.folder / MATCHES)


def test_a_run_leaves_them_and_its_ap_follows(task: Task, matches: Matches) -> None:
    result = json.loads((task.folder / "result.json").read_text())
    kind = result["metric"].removesuffix("_mAP")
    assert matches.mean_average_precision() == pytest.approx(result["ap"], abs=TOLERANCE)
    for size, name in zip(SIZES[1:], ("s", "m", "l"), strict=True):
        expected = 100 * result["metrics"][f"{kind}_mAP_{name}"]
        assert matches.mean_average_precision(size=size) == pytest.approx(expected, abs=TOLERANCE)
    assert matches.classes == task.classes
    assert (task.folder / MATCHES).stat().st_size < 20_000


def test_an_evaluation_of_the_model_finds_them_again(task: Task, matches: Matches) -> None:
    evaluation = evaluate(read_checkpoint(task.folder / "model.pth"), task)
    assert evaluation.matches is not None
    for name, array in vars(evaluation.matches).items():
        np.testing.assert_array_equal(array, getattr(matches, name), err_msg=name)
    of_class = [figures[next(iter(figures))] for figures in evaluation.classes.values()]
    np.testing.assert_allclose(matches.average_precision(), of_class, rtol=0, atol=TOLERANCE)


def test_pictures_that_count_otherwise_are_as_if_the_set_had_so_many_of_them(task: Task, matches: Matches) -> None:
    detections = evaluate(read_checkpoint(task.folder / "model.pth"), task).detections
    truth = json.loads(task.evaluate.annotations.read_text())
    counts = np.random.default_rng(0).multinomial(len(matches.pictures), np.full(len(matches.pictures), 1 / 21))
    assert counts.min() == 0
    assert counts.max() > 1
    evaluation = evaluated(*resampled(truth, detections, dict(zip(matches.pictures.tolist(), counts, strict=True))))
    for index, size in enumerate(SIZES):
        precision = evaluation.eval["precision"][:, :, :, index, 0]
        expected = [
            100 * part[part > -1].mean() if (part > -1).any() else np.nan for part in precision.transpose(2, 0, 1)
        ]
        np.testing.assert_allclose(matches.average_precision(counts, size), expected, rtol=0, atol=TOLERANCE)


def test_another_file_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / MATCHES, scores=np.zeros(3))
    with pytest.raises(UserError, match="no matches of an evaluation"):
        Matches.load(tmp_path / MATCHES)


def resampled(
    truth: dict[str, Any], detections: list[dict[str, Any]], counts: dict[int, int]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The set with each picture as often as it counts, each copy a picture of its own."""
    copies = [(key, 10_000 * copy + key) for key, count in counts.items() for copy in range(count)]
    images = {image["id"]: image for image in truth["images"]}
    annotations = [
        {**item, "image_id": new} for key, new in copies for item in truth["annotations"] if item["image_id"] == key
    ]
    annotations = [{**item, "id": number + 1} for number, item in enumerate(annotations)]
    found = [{**item, "image_id": new} for key, new in copies for item in detections if item["image_id"] == key]
    return {**truth, "images": [{**images[key], "id": new} for key, new in copies], "annotations": annotations}, found


def evaluated(truth: dict[str, Any], detections: list[dict[str, Any]]) -> COCOeval:
    coco = COCO()
    coco.dataset = truth
    coco.createIndex()
    kind = "bbox" if "bbox" in detections[0] else "segm"  # loading them gives masks a box
    evaluation = COCOeval(coco, coco.loadRes(detections), kind)
    evaluation.params.maxDets = [1000]
    evaluation.evaluate()
    evaluation.accumulate()
    return evaluation

from collections.abc import Callable

import numpy as np

from workspace.precision import LossScale, Precision
from workspace.training.checkpoints import read_checkpoint
from workspace.training.evaluation import evaluate
from workspace.training.task import Task


def test_the_precision_is_of_the_forward_pass(crowded_run: Callable[[str], Task]) -> None:
    """Half the digits change the scores a little, and not what is scored."""
    task = crowded_run("fcos")
    checkpoint = read_checkpoint(task.folder / "model.pth")
    in_fp32 = evaluate(checkpoint, task).detections
    in_fp16 = evaluate(checkpoint, task, Precision(name="fp16", loss_scale=LossScale())).detections
    wide, narrow = (sorted((item["score"] for item in found), reverse=True)[:20] for found in (in_fp32, in_fp16))
    assert wide != narrow
    np.testing.assert_allclose(narrow, wide, atol=0.01)


def test_it_leaves_nothing_behind(crowded_run: Callable[[str], Task]) -> None:
    task = crowded_run("fcos")
    before = sorted(task.folder.rglob("*"))
    first, second = (evaluate(read_checkpoint(task.folder / "model.pth"), task) for _ in range(2))
    assert sorted(task.folder.rglob("*")) == before
    assert first.detections == second.detections

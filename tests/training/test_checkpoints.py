"""Checkpoints in and out: ours in MMDetection, MMDetection's here, and what is refused."""

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmdet.apis import inference_detector, init_detector
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner
from torch import nn

from workspace.detectors import DETECTORS, detector
from workspace.errors import UserError
from workspace.training.checkpoints import Checkpoint, read_checkpoint
from workspace.training.config import build_config
from workspace.training.evaluation import evaluate
from workspace.training.task import Task

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")  # pycocotools

CrowdedRun = Callable[[str], Task]


@pytest.mark.parametrize("name", ["fcos", "solov2"])
@pytest.mark.parametrize("source", ["config.py", "meta"])
def test_ours_detects_the_same_in_mmdetection(name: str, source: str, crowded_run: CrowdedRun, tmp_path: Path) -> None:
    task = crowded_run(name)
    weights = task.folder / "model.pth"
    config = task.folder / "config.py"
    if source == "meta":
        config = tmp_path / "from_meta.py"
        config.write_text(torch.load(weights, weights_only=True)["meta"]["cfg"])
    model = init_detector(config, str(weights), device="cpu")
    assert model.dataset_meta["classes"] == task.classes

    here = evaluate(read_checkpoint(weights), task).detections
    labels = {30: 2, 20: 1, 10: 0}
    detections = 0
    for image in json.loads(task.evaluate.annotations.read_text())["images"][:8]:
        ours = [item for item in here if item["image_id"] == image["id"]]
        theirs = inference_detector(model, str(task.evaluate.images / image["file_name"])).pred_instances
        np.testing.assert_allclose([item["score"] for item in ours], theirs.scores, atol=1e-5)
        assert [labels[item["category_id"]] for item in ours] == theirs.labels.tolist()
        detections += len(ours)
        if not ours:
            continue
        if name == "fcos":
            corners = np.array([item["bbox"] for item in ours])
            corners[:, 2:] += corners[:, :2]
            np.testing.assert_allclose(corners, theirs.bboxes, atol=1e-3)
        else:
            from pycocotools import mask as coco_mask

            masks = np.array([coco_mask.decode(item["segmentation"]) for item in ours], np.bool_)
            assert (masks != theirs.masks.numpy()).mean() < 1e-4
    assert detections > 0


def plain_config(task: Task, folder: Path) -> Config:
    """The task's training as MMEngine itself would do it, with its own checkpoints."""
    cfg = build_config(task)
    cfg.optim_wrapper = dict(type="OptimWrapper", optimizer=cfg.optim_wrapper.optimizer)
    cfg.train_cfg = dict(type="IterBasedTrainLoop", max_iters=2, val_interval=2)
    cfg.param_scheduler = []
    cfg.default_hooks.checkpoint = dict(type="CheckpointHook", by_epoch=False, interval=2)
    cfg.log_processor.by_epoch = False
    cfg.work_dir = str(folder)
    return cfg


def test_one_that_mmengine_trained_evaluates_here(crowded_run: CrowdedRun, tmp_path: Path) -> None:
    task = crowded_run("fcos")
    cfg = plain_config(task, tmp_path)
    cfg.load_from = str(task.folder / "model.pth")  # two steps of fresh weights would find nothing
    runner = Runner.from_cfg(cfg)
    runner.train()
    seen = runner.val()
    stored = tmp_path / "iter_2.pth"
    with pytest.raises(Exception, match=r"Unsupported global"):
        torch.load(stored, weights_only=True)
    checkpoint = read_checkpoint(stored)
    assert (checkpoint.classes, checkpoint.spec) == (task.classes, None)
    ours = torch.load(task.folder / "model.pth", weights_only=True)["state_dict"]
    assert any(not torch.equal(ours[name], value) for name, value in checkpoint.weights.items()), "it was trained on"
    found = evaluate(checkpoint, task).metrics
    for name, fraction in seen.items():
        assert found[name] == pytest.approx(100 * fraction, abs=1e-9)
    assert found["coco/bbox_mAP"] > 0


def test_a_runs_model_knows_its_spec(crowded_run: CrowdedRun, tmp_path: Path) -> None:
    task = crowded_run("fcos")
    moved = tmp_path / "alone.pth"
    moved.write_bytes((task.folder / "model.pth").read_bytes())
    assert read_checkpoint(moved).spec == task.spec


class Call:
    """Pickled, it becomes a call."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self._call = function, args

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self._call


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    "hidden", [(os.mkdir,), (getattr, dict, "fromkeys"), (getattr, HistoryBuffer, "register_statistics")]
)
def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path, zipped: bool, hidden: tuple[Any, ...]) -> None:
    function, *args = hidden
    marker = tmp_path / "ran"
    content = {"state_dict": {"a": torch.ones(1)}, "meta": Call(function, *(args or [str(marker)]))}
    path = tmp_path / "evil.pth"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match=r"evil\.pth: refused: ") as refused:
        read_checkpoint(path)
    assert "\n" not in str(refused.value)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "refused: it is damaged"),
        (b"weights", "refused: it is damaged"),
        ([torch.ones(1)], "no checkpoint of MMDetection"),
        ({"state_dict": {"a": 1}}, "no checkpoint of MMDetection"),
    ],
)
def test_what_is_no_checkpoint(tmp_path: Path, content: Any, said: str) -> None:
    path = tmp_path / "x.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(UserError, match=said):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("meta", "classes"),
    [
        ({"dataset_meta": {"classes": ("a", "b")}}, ("a", "b")),
        ({"dataset_meta": {"CLASSES": ["a"]}}, ("a",)),
        ({"CLASSES": ("a", "b")}, ("a", "b")),
        ({}, None),
        (None, None),
    ],
)
def test_classes_of_mmdetection_2_and_3(tmp_path: Path, meta: Any, classes: tuple[str, ...] | None) -> None:
    torch.save({"state_dict": {"a": torch.ones(1)}, "meta": meta}, tmp_path / "x.pth")
    assert read_checkpoint(tmp_path / "x.pth").classes == classes


def test_weights_of_another_model(tmp_path: Path) -> None:
    torch.save({"state_dict": nn.Linear(2, 3).state_dict()}, tmp_path / "x.pth")
    checkpoint = read_checkpoint(tmp_path / "x.pth")
    with pytest.raises(UserError, match=r"not the weights of this Linear \(size mismatch for weight: .*\[3, 2\]"):
        checkpoint.load_into(nn.Linear(4, 3))


def test_classes_must_be_the_datas(crowded_run: CrowdedRun) -> None:
    task = crowded_run("fcos")
    checkpoint = read_checkpoint(task.folder / "model.pth")
    for classes, said in ((("circle", "square", "star"), "trained for 3 classes"), (None, "does not name")):
        with pytest.raises(UserError, match=said):
            evaluate(dataclasses.replace(checkpoint, classes=classes), task)


@pytest.mark.parametrize("name", DETECTORS)
def test_the_zoos_weights_fit(name: str, tmp_path: Path) -> None:
    """A full model of ours has the parameters of MMDetection's own, name by name."""
    (tmp_path / "zoo.py").write_text(f"_base_ = 'mmdet::{detector(name).zoo.config}'\n")
    register_all_modules()
    ours, theirs = (
        MODELS.build(Config.fromfile(path).model) for path in (detector(name).config_path("full"), tmp_path / "zoo.py")
    )
    Checkpoint(path=tmp_path, weights=theirs.state_dict(), classes=None, spec=None).load_into(ours)
    for key, value in ours.state_dict().items():
        np.testing.assert_array_equal(value, theirs.state_dict()[key])


def test_weights_under_the_names_of_mmdetection_2(crowded_run: CrowdedRun) -> None:
    task = crowded_run("fcos")
    checkpoint = read_checkpoint(task.folder / "model.pth")
    old = {key.replace("bbox_head.conv_", "bbox_head.fcos_"): value for key, value in checkpoint.weights.items()}
    assert old.keys() != checkpoint.weights.keys()
    found = evaluate(dataclasses.replace(checkpoint, weights=old), task)
    assert found.detections == evaluate(checkpoint, task).detections

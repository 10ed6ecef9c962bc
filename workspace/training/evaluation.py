"""Evaluating trained weights on a split, by the configuration, data pipeline and metric of a run's own evaluation."""

import dataclasses
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.model import BaseModel

from workspace import devices
from workspace.detectors import detector
from workspace.errors import UserError
from workspace.matches import Matches
from workspace.precision import FP32, Precision
from workspace.precision.arithmetic import Arithmetic, arithmetic
from workspace.training import data, metric, modules  # noqa: F401  registers what configurations name
from workspace.training.checkpoints import Checkpoint
from workspace.training.config import build_config
from workspace.training.matches import last_matches
from workspace.training.nms import suppress_where_possible
from workspace.training.runner import RunRunner
from workspace.training.task import Task


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a checkpoint scores, and what it found.

    Attributes:
        metrics: in points, by MMDetection's keys: ``coco/bbox_mAP`` and its eleven companions. NaN where there was
            nothing to find. Empty when nothing at all was detected.
        classes: the six AP figures of each class, in points.
        detections: COCO's result format, with the data set's own ids: ``image_id``, ``category_id``, ``score``, and
            ``bbox`` (x, y, width, height in pixels) or, for a detector of masks, ``segmentation`` (run lengths) alone:
            COCOeval would take a mask's area from its box.
        matches: picture by picture; ``None`` when nothing at all was detected.
    """

    metrics: Mapping[str, float]
    classes: Mapping[str, Mapping[str, float]]
    detections: list[dict[str, Any]]
    matches: Matches | None


def evaluate(checkpoint: Checkpoint, task: Task, precision: Precision = FP32) -> Evaluation:
    """Evaluates the weights on ``task.evaluate``.

    Args:
        task: detector, scale, picture size and device of its spec are used; nothing is written into its folder.
        precision: arithmetic of the forward pass. A run evaluates itself in FP32, whatever it is trained in.

    Raises:
        UserError: the weights are not this model's, or were trained for other classes.
    """
    if checkpoint.classes != task.classes:
        raise UserError(
            f"{checkpoint.path}: trained for {_named(checkpoint.classes)}; the data set has {_named(task.classes)}"
        )
    register_all_modules()
    device = devices.device(task.spec.device)
    device.prepare(precision)
    device.check()
    device.select(task.devices[0])
    device.require(precision)
    device.use_strict_fp32()
    suppress_where_possible(task.devices[0])
    with TemporaryDirectory() as folder:
        found = Path(folder) / "found"
        cfg = _config(dataclasses.replace(task, folder=Path(folder)), found)
        with warnings.catch_warnings():
            # MMEngine warns about settings that are meant as they are, torch about MMDetection's use of it.
            warnings.simplefilter("ignore", UserWarning)
            runner: RunRunner = RunRunner.from_cfg(cfg)
            checkpoint.load_into(runner.model)
            _compute_in(runner.model, arithmetic(precision, task.devices[0]))
            metrics = runner.val()
            matches = last_matches(runner)
        kind = detector(task.spec.detector).metric.removeprefix("coco/").removesuffix("_mAP")
        detections = json.loads(found.with_name(f"{found.name}.{kind}.json").read_bytes())
    if kind == "segm":
        for detection in detections:
            del detection["bbox"]
    return Evaluation(
        metrics={name: _points(value) for name, value in metrics.items() if name.count("/") == 1},
        classes=_by_class(metrics, task.classes),
        detections=detections,
        matches=matches,
    )


def _config(task: Task, found: Path) -> Config:
    """The run's configuration without its training; detections are written to ``<found>.<kind>.json``."""
    cfg = build_config(task)
    for part in ("train_dataloader", "train_cfg", "optim_wrapper", "param_scheduler"):
        cfg.pop(part)
    cfg.val_evaluator.update(type="DetailedCocoMetric", outfile_prefix=str(found))
    cfg.default_hooks = dict(logger=None, checkpoint=None, param_scheduler=None, sampler_seed=None)
    cfg.log_level = "WARNING"
    return cfg


def _compute_in(model: BaseModel, chosen: Arithmetic) -> None:
    """From within the evaluation's step: around it MMEngine's loop switches autocast off."""
    step = model.val_step

    def in_precision(batch: Any) -> Any:
        with chosen.forward():
            return step(batch)

    model.val_step = in_precision


def _by_class(metrics: Mapping[str, float], classes: tuple[str, ...]) -> dict[str, dict[str, float]]:
    return {
        name: {
            key.removesuffix(f"/{name}"): _points(value)
            for key, value in metrics.items()
            if key.count("/") > 1 and key.split("/", 2)[2] == name
        }
        for name in classes
    }


def _points(fraction: float) -> float:
    return 100 * fraction if fraction >= 0 else float("nan")


def _named(classes: tuple[str, ...] | None) -> str:
    if classes is None:
        return "classes that it does not name"
    shown = ", ".join(classes[:3])
    return f"{len(classes)} classes ({shown}{', ...' if len(classes) > 3 else ''})"

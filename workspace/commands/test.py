"""``test``: what a checkpoint scores on a data set, and what it detects there."""

import dataclasses
import json
import logging
import math
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from workspace.cli import reporting_errors
from workspace.errors import UserError
from workspace.files import write_atomically

if TYPE_CHECKING:
    from workspace.orchestrator.conditions import Conditions
    from workspace.spec import RunSpec, Scale
    from workspace.training.checkpoints import Checkpoint
    from workspace.training.evaluation import Evaluation

_log = logging.getLogger(__name__)

_LOADERS = 2  # processes that load pictures for an accelerator


@click.command()
@click.argument("checkpoint", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--model", help="Which verified model it is; a run's own model.pth knows.")
@click.option("--scale", type=click.Choice(["demo", "full"]), help="Of --model. [default: full]")
@click.option("--data", type=click.Path(path_type=Path), help="COCO-format folder. [default: the embedded set]")
@click.option("--split", type=click.Choice(["search", "eval"]), default="eval", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Write the detections here, in COCO's result format.")
@click.option(
    "--matches",
    type=click.Path(path_type=Path),
    help="Write what each picture's detections matched here; as matches.npz beside a run's model.pth it is that run's.",
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "npu"]), default="auto", show_default=True)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "hf32", "fp16", "bf16"]),
    default="fp32",
    show_default=True,
    help="Of the forward pass; a run evaluates itself in fp32, whatever it is trained in.",
)
@click.option("--work-dir", type=click.Path(path_type=Path), default=Path("work"), show_default=True)
def test(
    *,
    checkpoint: Path,
    model: str | None,
    scale: "Scale | None",
    data: Path | None,
    split: Literal["search", "eval"],
    out: Path | None,
    matches: Path | None,
    device: Literal["auto", "cpu", "cuda", "npu"],
    precision: Literal["fp32", "hf32", "fp16", "bf16"],
    work_dir: Path,
) -> None:
    """Evaluate CHECKPOINT: model.pth of a run, or a checkpoint of MMDetection.

    Nothing that the file brings along is run. No configuration is taken from outside, since one is code: the model is
    one of the verified ones. AP is in points.
    """
    with reporting_errors():
        for option, path in (("--out", out), ("--matches", matches)):
            if path is not None and not path.resolve().parent.is_dir():
                raise UserError(f"{option} {path}: there is no folder {path.parent}")
        from workspace import devices
        from workspace.datasets import open_dataset
        from workspace.orchestrator.conditions import Conditions
        from workspace.precision import LossScale, Precision
        from workspace.training.task import Task

        with redirect_stdout(StringIO()):  # MMDetection prints on import
            from workspace.training.checkpoints import read_checkpoint
            from workspace.training.evaluation import evaluate

        read = read_checkpoint(checkpoint)
        name, scale = _which(read, model, scale)
        chosen = devices.resolve(device)
        dataset = open_dataset(data, work_dir)
        conditions = Conditions(scale=scale, dataset=dataset, embedded=data is None, device=chosen.kind)
        spec = _spec(conditions, name, read.spec)
        task = Task(
            spec=spec,
            classes=dataset.classes,
            train=dataset.splits["train"],
            evaluate=dataset.splits[split],
            folder=work_dir,
            devices=(chosen.torch_name(0),),
            loader_workers=0 if chosen.kind == "cpu" else _LOADERS,
        )
        if precision == "fp32" and chosen.fp32_mode() == "fp16":
            raise UserError(
                "this device has no FP32 matrix unit: evaluate with --precision fp16, as its runs do, or elsewhere"
            )
        arithmetic = (
            Precision(name="fp16", loss_scale=LossScale(), overflow=chosen.overflow)
            if precision == "fp16"
            else Precision(name=precision)
        )
        with redirect_stdout(StringIO()):  # COCO's interfaces print what they do
            evaluation = evaluate(read, task, arithmetic)
        if out is not None:
            text = json.dumps(evaluation.detections)
            write_atomically(out, lambda temporary: temporary.write_text(text))
        if matches is not None and evaluation.matches is not None:
            evaluation.matches.save(matches)
        _show(evaluation, f"{name}, {scale}, on {dataset.splits[split].pictures} pictures of {dataset.name} ({split})")


def _which(checkpoint: "Checkpoint", model: str | None, scale: "Scale | None") -> tuple[str, "Scale"]:
    """The detector and its scale, from the checkpoint or the command line, which must not contradict one another."""
    spec = checkpoint.spec
    if spec is None:
        if model is None:
            raise UserError(
                f"{checkpoint.path}: no run of this version wrote it; say with --model (and --scale) what it is"
            )
        return model, scale or "full"
    if model not in (None, spec.detector) or scale not in (None, spec.scale):
        raise UserError(
            f"{checkpoint.path}: it is {spec.detector} at {spec.scale} scale; leave out --model and --scale"
        )
    return spec.detector, spec.scale


def _spec(conditions: "Conditions", name: str, trained: "RunSpec | None") -> "RunSpec":
    """What is evaluated; a run's pictures keep the size that they were trained at."""
    from workspace.detectors import detector
    from workspace.precision import FP32

    described = detector(name)
    spec = conditions.spec(name, FP32, described.variant(conditions.scale).recipe, seed=0)
    if trained is None:
        return spec
    if trained.config_digest != spec.config_digest:
        _log.warning("this run was trained with other configuration files, MMDetection or training code than these")
    return dataclasses.replace(spec, image_size=trained.image_size)


def _show(evaluation: "Evaluation", title: str) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(soft_wrap=True)
    console.print(title, highlight=False, markup=False)
    if not evaluation.metrics:
        console.print("nothing was detected", highlight=False)
        return
    table = Table(box=None, pad_edge=False)
    for i, column in enumerate(("class", "AP", "AP50", "AP75", "small", "medium", "large")):
        table.add_column(column, justify="right" if i else "left")
    figures = list(evaluation.metrics.values())
    table.add_row("all", *map(_number, figures[:6]))
    for category, of_class in evaluation.classes.items():
        table.add_row(escape(category), *map(_number, of_class.values()))
    console.print(table)
    recalls = zip(("100", "300", "1000", "small", "medium", "large"), map(_number, figures[6:]), strict=True)
    console.print("AR  " + "  ".join(f"{of} {value}" for of, value in recalls), highlight=False)
    console.print(f"{len(evaluation.detections)} detections", highlight=False)


def _number(points: float) -> str:
    return "-" if math.isnan(points) else f"{points:.2f}"

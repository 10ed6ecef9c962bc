"""``train``: one run of a verified model, the counterpart of MMDetection's ``tools/train.py`` and ``dist_train.sh``."""

import dataclasses
from pathlib import Path
from typing import Literal

import click

from workspace.cli import PLACES, reporting_errors
from workspace.errors import UserError


@click.command()
@click.argument("model")
@click.option("--precision", type=click.Choice(["fp32", "hf32", "fp16", "bf16"]), required=True)
@click.option("--scale", type=click.Choice(["demo", "full"]), default="demo", show_default=True)
@click.option("--data", type=click.Path(path_type=Path), help="COCO-format folder. [default: the embedded set]")
@click.option("--fraction", type=float, default=1.0, show_default=True, help="Of the training pictures, by class.")
@click.option(
    "--weights",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with backbone weights, instead of downloads.",
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "npu"]), default="auto", show_default=True)
@click.option(
    "--devices",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="That share each batch, from the first visible one on; commands at the same time need "
    "ASCEND_RT_VISIBLE_DEVICES or CUDA_VISIBLE_DEVICES of their own.",
)
@PLACES[0]
@PLACES[1]
@PLACES[2]
@click.option("--recipe", help="One of the model's named recipes. [default: its first]")
@click.option("--epochs", type=click.IntRange(min=1), help="Length of the whole schedule. [default: the recipe's]")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="Of recipe or precision: lr=0.01, steps=500, "
    "clip_norm=none, loss_scale=512, loss_scale=dynamic:1024, fp32_islands=head,loss, ...",
)
@click.option("--resume", is_flag=True, help="Only go on; going on is what the same command does anyway.")
@click.option("--tracking-uri", help="MLflow store. [default: SQLite under the work folder]")
@click.option("--work-dir", type=click.Path(path_type=Path), default=Path("work"), show_default=True)
def train(
    *,
    model: str,
    precision: Literal["fp32", "hf32", "fp16", "bf16"],
    scale: Literal["demo", "full"],
    data: Path | None,
    fraction: float,
    weights: Path | None,
    device: Literal["auto", "cpu", "cuda", "npu"],
    devices: int,
    executor: Literal["local", "ray"],
    address: str | None,
    keep: Literal["last", "best", "all"],
    recipe: str | None,
    epochs: int | None,
    seed: int,
    changes: tuple[str, ...],
    resume: bool,
    tracking_uri: str | None,
    work_dir: Path,
) -> None:
    """Train MODEL once, evaluate it, and track the run; what is there of it already is gone on from.

    In fp16 the loss scale is the one that was published for the model, unless --set says otherwise. hf32 is what an
    Ascend A2 or A3 makes of FP32 by default: convolutions with 11 bits of mantissa.
    """
    with reporting_errors():
        from workspace.commands.overrides import apply_overrides
        from workspace.detectors import detector
        from workspace.orchestrator import Settings
        from workspace.orchestrator.single import train_run
        from workspace.precision import Precision

        described = detector(model)
        start = described.variant(scale).recipe_named(recipe)
        if epochs is not None:
            start = dataclasses.replace(start, epochs=epochs, steps=None)
        arithmetic = Precision(name=precision, loss_scale=described.npu.loss_scale if precision == "fp16" else None)
        changed, arithmetic = apply_overrides(changes, start, arithmetic)
        if epochs is not None and changed.epochs != epochs:
            raise UserError("--epochs and --set epochs=, or steps=, are two lengths for one schedule: give one")
        settings = Settings(
            scale=scale,
            data=data,
            weights=weights,
            device=device,
            workers=1,
            devices_per_run=devices,
            executor=executor,
            address=address,
            keep=keep,
            tracking_uri=tracking_uri,
            work_dir=work_dir,
        )
        train_run(described, arithmetic, changed, settings, seed=seed, fraction=fraction, must_go_on=resume)

"""``data``: what is wrong with a data set, what is in it, and how it is divided."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workspace.cli import reporting_errors
from workspace.errors import UserError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from workspace.datasets import DataSet, SplitCounts

_FOLDER = click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
_WORK_DIR = click.option(
    "--work-dir",
    type=click.Path(path_type=Path),
    default=Path("work"),
    show_default=True,
    help="What was found is remembered there.",
)

_BAR = 30  # characters of the histogram's longest


@click.group()
def data() -> None:
    """Check, describe or divide a COCO-format folder."""


@data.command()
@_FOLDER
@_WORK_DIR
def check(folder: Path, work_dir: Path) -> None:
    """Tell all that is wrong with DIR; exits with 2 when it cannot be trained on.

    It is what a run checks before it trains. Warnings stop nothing.
    """
    with reporting_errors():
        from workspace.datasets import open_dataset

        dataset = open_dataset(folder, work_dir)
        counts = ", ".join(f"{name} {split.pictures}" for name, split in dataset.splits.items())
        objects = sum(split.objects for split in dataset.splits.values())
        masks = "masks" if dataset.has_masks else "no masks"
        click.echo(f"ok: pictures: {counts}; {objects} objects of {len(dataset.classes)} classes, {masks}")


@data.command()
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@_WORK_DIR
def describe(folder: Path | None, as_json: bool, work_dir: Path) -> None:
    """Count what DIR holds, by split, class and size; without DIR, the embedded set."""
    with reporting_errors():
        from rich.console import Console

        from workspace.datasets import describe, open_dataset

        dataset = open_dataset(folder, work_dir)
        counts = describe(dataset)
        if as_json:
            click.echo(json.dumps(_as_json(dataset, counts), indent=1))
            return
        console = Console(soft_wrap=True)
        console.print(f"{dataset.name}, {'with' if dataset.has_masks else 'without'} masks", highlight=False)
        console.print(f"digest {dataset.digest}", highlight=False)
        for table in _tables(counts):
            console.print(table)


@data.command()
@_FOLDER
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the three files.")
@click.option("--fraction", type=float, default=1.0, show_default=True, help="Of the training pictures, by class.")
@_WORK_DIR
def split(folder: Path, out: Path, fraction: float, work_dir: Path) -> None:
    """Write train.json, search.json and eval.json as runs on DIR see them; pictures stay where they are."""
    with reporting_errors():
        from workspace.datasets import open_dataset, subset

        dataset = subset(open_dataset(folder, work_dir), fraction, work_dir)
        targets = {name: out / f"{name}.json" for name in dataset.splits}
        there = [str(path) for path in targets.values() if path.exists()]
        if there:
            raise UserError(f"{', '.join(there)}: already there; choose another --out or remove them")
        out.mkdir(parents=True, exist_ok=True)
        for name, part in dataset.splits.items():
            shutil.copyfile(part.annotations, targets[name])
            click.echo(f"{targets[name]}: {part.pictures} pictures of {part.images}, {part.objects} objects")


def _as_json(dataset: "DataSet", counts: Mapping[str, "SplitCounts"]) -> dict[str, Any]:
    from workspace.datasets import SIZE_BINS

    return {
        "name": dataset.name,
        "digest": dataset.digest,
        "has_masks": dataset.has_masks,
        "native_size": dataset.native_size,
        "splits": {
            name: {**asdict(of), "box_sizes": dict(zip(SIZE_BINS, of.box_sizes, strict=True))}
            for name, of in counts.items()
        },
    }


def _tables(counts: Mapping[str, "SplitCounts"]) -> list["RenderableType"]:
    from rich.markup import escape

    from workspace.datasets import SIZE_BINS

    splits = _table("split", "pictures", "trained on", "empty", "objects", "crowd")
    for name, of in counts.items():
        trained_on = of.trained_on if name == "train" else ""
        splits.add_row(name, *map(str, (of.pictures, trained_on, of.empty, of.objects, of.crowd)))
    classes = _table("split", "class", "pictures", "objects", "small", "medium", "large", "crowd", text=2)
    for name, of in counts.items():
        for row in of.classes:
            numbers = (row.pictures, row.objects, row.small, row.medium, row.large, row.crowd)
            classes.add_row(name, escape(row.name), *map(str, numbers))
    sizes = _table("box, pixels", *counts)
    sizes.add_column("train")
    train = counts["train"].box_sizes
    for i, label in enumerate(SIZE_BINS):
        of_splits = [of.box_sizes[i] for of in counts.values()]
        if any(of_splits):
            sizes.add_row(label, *map(str, of_splits), "#" * round(_BAR * train[i] / max(train)))
    return [splits, classes, sizes]


def _table(*columns: str, text: int = 1) -> Any:
    """A plain table; the first ``text`` columns are words, the others numbers."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i < text else "right")
    return table

"""``diagnose``: where a model loses precision in half, and what would mend it."""

import dataclasses
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from workspace.cli import reporting_errors
from workspace.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from workspace.datasets import DataSet
    from workspace.diagnosis import Diagnosis, MemberFinding
    from workspace.orchestrator import Settings
    from workspace.spec import RunSpec

EXPERIMENT = "diagnose"
"""The MLflow experiment that diagnoses are tracked in."""

_ROWS = 20  # members in the table


@click.command()
@click.argument("model")
@click.option(
    "--checkpoint",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Weights: model.pth of a run, or a checkpoint of MMDetection. [default: fresh ones, trained in FP32 for "
    "--warm-up steps]",
)
@click.option("--precision", type=click.Choice(["fp16", "bf16"]), default="fp16", show_default=True)
@click.option("--scale", type=click.Choice(["demo", "full"]), default="demo", show_default=True)
@click.option("--data", type=click.Path(path_type=Path), help="COCO-format folder. [default: the embedded set]")
@click.option(
    "--weights",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with backbone weights, for --scale full without a checkpoint. [default: none are used]",
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "npu"]), default="auto", show_default=True)
@click.option("--recipe", help="One of the model's named recipes. [default: its first]")
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="Of recipe or precision, as for train: loss_scale=512, overflow=saturate, fp32_islands=head, ...",
)
@click.option("--batch-size", type=click.IntRange(min=1), help="Pictures a step. [default: the recipe's; full: 1]")
@click.option(
    "--warm-up", type=click.IntRange(min=0), help="Steps in FP32 before. [default: 120; with a checkpoint 16; full: 0]"
)
@click.option("--steps", type=click.IntRange(min=2), help="Also go along with a training of so many steps.")
@click.option("--threads", type=click.IntRange(min=1), help="Of the CPU. [default: 1; full: 2]")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Write the diagnosis file, for a search, here.")
@click.option("--tables", type=click.Path(file_okay=False, path_type=Path), help="Also write the tables here, as CSV.")
@click.option("--tracking-uri", help="MLflow store. [default: SQLite under the work folder]")
@click.option("--work-dir", type=click.Path(path_type=Path), default=Path("work"), show_default=True)
def diagnose(
    *,
    model: str,
    checkpoint: Path | None,
    precision: Literal["fp16", "bf16"],
    scale: Literal["demo", "full"],
    data: Path | None,
    weights: Path | None,
    device: Literal["auto", "cpu", "cuda", "npu"],
    recipe: str | None,
    changes: tuple[str, ...],
    batch_size: int | None,
    warm_up: int | None,
    steps: int | None,
    threads: int | None,
    seed: int,
    out: Path | None,
    tables: Path | None,
    tracking_uri: str | None,
    work_dir: Path,
) -> None:
    """Compare one training step of MODEL in half with FP32, and find what makes the difference.

    The same weights and pictures; by turns a module, a method, the loss scale or the optimizer alone is mended, and
    what then is left of the update's error is measured. Trains nothing for good.
    """
    with reporting_errors():
        if out is not None and not out.resolve().parent.is_dir():
            raise UserError(f"--out {out}: there is no folder {out.parent}")
        from rich.console import Console

        from workspace import devices
        from workspace.commands.overrides import apply_overrides
        from workspace.datasets import open_dataset
        from workspace.detectors import detector
        from workspace.orchestrator import Settings
        from workspace.orchestrator.conditions import Conditions
        from workspace.orchestrator.playing import terminal
        from workspace.precision import Precision
        from workspace.training.task import Task

        described = detector(model)
        variant = described.variant(scale)
        arithmetic = Precision(name=precision, loss_scale=described.npu.loss_scale if precision == "fp16" else None)
        changed, arithmetic = apply_overrides(changes, variant.recipe_named(recipe), arithmetic)
        pictures = batch_size or (1 if scale == "full" else changed.batch_size)
        chosen = devices.resolve(device)
        dataset = open_dataset(data, work_dir)
        given = Conditions(scale=scale, dataset=dataset, embedded=data is None, device=chosen.kind)
        spec = given.spec(model, arithmetic, dataclasses.replace(changed, batch_size=pictures), seed=seed)
        file = None
        if weights is not None and variant.weights is not None and checkpoint is None:
            from workspace.training.weights import local_weights

            file = local_weights(variant.weights, weights)
        with redirect_stdout(StringIO()):  # MMDetection prints on import
            from workspace.diagnosis import diagnose as examine
            from workspace.diagnosis.tables import write_tables
            from workspace.training.checkpoints import read_checkpoint
        waiting = Console(stderr=True).status("")
        with (
            tempfile.TemporaryDirectory() as scraps,
            waiting as status,
            redirect_stdout(StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.filterwarnings("ignore", "torch.meshgrid", UserWarning)  # of MMDetection's heads
            task = Task(
                spec=spec,
                classes=dataset.classes,
                train=dataset.splits["train"],
                evaluate=dataset.splits["eval"],
                folder=Path(scraps),
                devices=(chosen.torch_name(0),),
                threads=threads or (2 if scale == "full" else 1),
                weights=file,
            )
            found = examine(
                task,
                None if checkpoint is None else read_checkpoint(checkpoint),
                warm_up=_warm_up(scale, checkpoint) if warm_up is None else warm_up,
                batches=1 if scale == "full" else 2,
                passes=12 if scale == "full" else 60,
                steps=steps or 0,
                say=status.update,
            )
        if out is not None:
            found.write(out)
        if tables is not None:
            tables.mkdir(parents=True, exist_ok=True)
            write_tables(found, tables)
        show(found, described.title, terminal())
        settings = Settings(data=data, tracking_uri=tracking_uri, work_dir=work_dir)
        for line in keep(found, spec, dataset, settings, title=_title(found, described.title)):
            click.echo(line)


def _warm_up(scale: str, checkpoint: Path | None) -> int:
    if scale == "full":  # its recipes are SGD's, whose first step is as good as any
        return 0
    return 120 if checkpoint is None else 16


def keep(
    found: "Diagnosis", spec: "RunSpec", dataset: "DataSet", settings: "Settings", *, title: str
) -> "Iterator[str]":
    """Writes file, tables and picture into the work folder, tracks them, and says where they are."""
    from workspace.diagnosis.tables import causes_table, members_table, moments_table, write_tables
    from workspace.figures import diagnosis_figure
    from workspace.files import write_atomically
    from workspace.orchestrator.playing import commit, tracked_data, tracking_uri, viewers
    from workspace.tracking import Publication, Tracker

    folder = settings.work_dir / "experiments" / EXPERIMENT / f"{found.detector}-{spec.signature}"
    folder.mkdir(parents=True, exist_ok=True)
    file, picture = folder / "diagnosis.json", folder / "diagnosis.png"
    found.write(file)
    moments = moments_table(found) if found.moments else None
    figure = diagnosis_figure(title=title, members=members_table(found), causes=causes_table(found), moments=moments)
    write_atomically(picture, lambda temporary: figure.savefig(temporary, format="png", dpi=120))
    files = [file, picture, *write_tables(found, folder)]
    tracker = Tracker(tracking_uri(settings), EXPERIMENT, settings.work_dir, commit=commit())
    precision = spec.to_json()["precision"]
    params = {
        "detector": spec.detector,
        "device": spec.device,
        "seed": spec.seed,
        "weights": found.weights,
        **precision,
    }
    tracker.start(scale=spec.scale, data=tracked_data(dataset, settings), params=params, tags={})
    metrics = {
        "diagnosis/update_error": found.errors.update,
        "diagnosis/gradient_error": found.errors.gradient,
        "diagnosis/seconds": found.seconds,
    }
    tracker.publish(Publication(metrics=metrics, summary=f"{title}\n", files=files))
    tracker.close("finished")
    yield f"picture: {picture}"
    yield f"tables:  {folder}"
    yield from viewers(settings)


def _title(found: "Diagnosis", model: str) -> str:
    """The finding in one line."""
    what = f"{model}, {found.precision.name}, {found.scale}"
    if found.noise:
        return f"{what}: nothing is lost that matters"
    if not found.causes:
        return f"{what}: {found.errors.update:.0%} of the update is lost, and no single change mends it"
    first = found.causes[0]
    return f"{what}: first {first.kind.replace('_', ' ')}, {first.where} ({first.share:.0%} of the update's error)"


def show(found: "Diagnosis", title: str, console: "Console") -> None:
    """The causes, the proposals and the members, ranked."""
    from rich.markup import escape
    from rich.table import Table

    def say(line: str) -> None:
        console.print(line, highlight=False, markup=False)

    def table(*columns: str, left: int) -> Table:
        made = Table(box=None, pad_edge=False)
        for place, column in enumerate(columns):
            made.add_column(column, justify="left" if place < left else "right", no_wrap=place < left)
        return made

    errors, unit = found.errors, found.unit
    say(f"{title}, {found.precision.name}, {found.scale}: {found.weights}; {found.pictures}; {found.seconds:.0f} s")
    scale = "" if found.loss_scale is None else f" at a loss scale of {found.loss_scale:g}"
    skipped = " (the step is skipped)" if errors.skipped else ""
    say(
        f"error of the update{scale}: {errors.update:.2g}{skipped}, of the gradient {errors.gradient:.2g}, of the loss "
        f"{errors.loss:.2g}; another batch changes the update by {unit.update:.2g}, the gradient by {unit.gradient:.2g}"
    )
    if found.noise:
        say("nothing is lost that matters: the error is far below what the choice of pictures changes in any case")
    else:
        causes = table("cause", "where", "share", "evidence", left=2)
        for cause in found.causes:
            causes.add_row(cause.kind, escape(cause.where), f"{cause.share:.0%}", escape(cause.evidence))
        console.print(causes)
        proposals = table("proposal", "mends", "FLOPs in half", left=1)
        for proposal in found.proposals:
            changes = ", ".join(f"{name}: {_value(value)}" for name, value in proposal.changes.items())
            proposals.add_row(escape(changes), f"{proposal.share:.0%}", f"{proposal.flops_in_half:.0%}")
        console.print(proposals)
    members = table("member", "mends", "made here", "output", "gradient", "cosine", "overflow", "underflow", left=1)
    for member in _ranked(found.members)[:_ROWS]:
        out, back = member.output, member.gradient
        members.add_row(
            escape(member.name or "the whole model"),
            "-" if member.share is None else f"{member.share:.0%}",
            "-" if member.made_here is None else f"{member.made_here:.1e}",
            "-" if out is None else f"{out.error:.1e}",
            "-" if back is None else f"{back.error:.1e}",
            "-" if back is None else f"{back.cosine:.4f}",
            "-" if out is None else f"{out.overflow:.1%}",
            "-" if back is None else f"{back.underflow:.1%}",
        )
    console.print(members)


def _ranked(members: "Sequence[MemberFinding]") -> "list[MemberFinding]":
    """By what they mend, then by what they add of their own."""
    return sorted(members, key=lambda member: (-(member.share or 0.0), -(member.made_here or 0.0)))


def _value(value: Any) -> str:
    if isinstance(value, dict):  # a loss scale
        return f"{value['policy']} {value['init']:g}"
    return ", ".join(value) if isinstance(value, list) else str(value)

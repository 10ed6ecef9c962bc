"""The command line that every experiment shares. It decides where and how much; what is asked stands in the script."""

import logging
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from workspace.errors import UserError
from workspace.experiment import Comparison, Experiment

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130

PLACES: tuple[Callable[[Callable[..., Any]], Callable[..., Any]], ...] = (
    click.option(
        "--executor",
        type=click.Choice(["local", "ray"]),
        default="local",
        show_default=True,
        help="Where runs are trained: on this machine, or on the nodes of a Ray cluster (docs/cluster.md).",
    ),
    click.option(
        "--address",
        metavar="HOST:PORT",
        help="Of the Ray cluster. [default: one of this machine alone, for this start]",
    ),
    click.option(
        "--keep",
        type=click.Choice(["last", "best", "all"]),
        default="best",
        show_default=True,
        help="Weights that a run leaves: its last, its last and its best, or those of every epoch.",
    ),
)

_OPTIONS: tuple[Callable[[Callable[..., Any]], Callable[..., Any]], ...] = (
    click.option(
        "--scale",
        type=click.Choice(["demo", "full"]),
        default="demo",
        show_default=True,
        help="demo: small variant, minutes on a CPU; full: the verified recipe.",
    ),
    click.option(
        "--data",
        type=click.Path(path_type=Path),
        help="COCO-format folder: images/ and annotations/{train,val}.json, or COCO's own layout. "
        "Without it the embedded set is used.",
    ),
    click.option(
        "--weights",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="Folder with the files of backbone weights, which --scale full downloads otherwise.",
    ),
    click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "npu"]), default="auto", show_default=True),
    click.option(
        "--workers", type=click.IntRange(min=1), help="Runs at the same time. [default: one a device or core]"
    ),
    click.option(
        "--devices-per-run",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        help="Devices, or processes on a CPU, that share each batch of a run.",
    ),
    *PLACES,
    click.option(
        "--trials", type=click.IntRange(min=0), help="Recipes that a search tries, the default one among them; 0: none."
    ),
    click.option(
        "--diagnosis",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Judge what `python -m workspace diagnose` proposes first; then search from there, as far as needed.",
    ),
    click.option(
        "--fidelity",
        metavar="KIND=SHARE",
        help="Before each trial a cheap run, schedule=1/3 of its steps or data=1/3 of the pictures; it ends bad trials "
        "where cheap runs are seen to rank recipes as full ones do.",
    ),
    click.option("--seeds", type=click.IntRange(min=1), help="Runs of each arm for the verdict."),
    click.option(
        "--max-seeds",
        type=click.IntRange(min=2),
        metavar="N",
        help="Add seeds until the verdict is decided, to N an arm at most; the interval then allows for the looks. "
        "A comparison adds them to the arms of each gap that is undecided.",
    ),
    click.option(
        "--tune-baseline",
        is_flag=True,
        help="Search a recipe for the baseline too, with as many trials; tuned is judged against tuned.",
    ),
    click.option("--tracking-uri", help="MLflow store. [default: SQLite under the work folder]"),
    click.option("--storage", help="Optuna storage. [default: SQLite under the work folder]"),
    click.option(
        "--work-dir",
        type=click.Path(path_type=Path),
        default=Path("work"),
        show_default=True,
        help="Runs, studies and results; what is finished there is reused.",
    ),
    click.option("--plan", is_flag=True, help="List the runs, their state and expected time; start none."),
    click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the result to this file."),
)


def main(experiment: Experiment | Comparison) -> None:
    """Plays an experiment as the command line says, and exits: 0 with a verdict, 2 for what the user can mend."""
    question = sys.modules["__main__"].__doc__ or ""

    def command(**options: Any) -> None:
        run(experiment, **options)

    for option in reversed(_OPTIONS):
        command = option(command)
    # click would wrap the script's own lines; \b before a paragraph keeps it as written.
    entry = click.command(experiment.name, help="\b\n" + question.strip().replace("\n\n", "\n\n\b\n"))(command)
    start(entry)


def start(entry: click.Command, name: str | None = None) -> None:
    """Runs a command on the arguments of this process; options that are wrong are one line and exit code 2."""
    try:
        entry.main(prog_name=name, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(EXIT_USER_ERROR)
    except click.ClickException as error:  # click itself would print its usage first
        click.echo(f"error: {error.format_message()}", err=True)
        sys.exit(EXIT_USER_ERROR)


def run(
    experiment: Experiment | Comparison,
    *,
    plan: bool,
    json_file: Path | None,
    fidelity: str | None = None,
    **options: Any,
) -> None:
    """Plays the experiment, or lists its plan."""
    with reporting_errors():
        from workspace.orchestrator import Settings, list_plan, play
        from workspace.search import Fidelity

        settings = Settings(**options, fidelity=None if fidelity is None else Fidelity.parse(fidelity))
        if json_file is not None and not json_file.parent.is_dir():
            raise UserError(f"--json {json_file}: there is no folder {json_file.parent}")
        if plan and json_file is not None:
            raise UserError(f"--json {json_file}: a plan has no result to write; leave out --plan or --json")
        if plan:
            list_plan(experiment, settings)
        else:
            play(experiment, settings, json_file)


@contextmanager
def reporting_errors() -> Iterator[None]:
    """Turns what the user can mend into one line on standard error and exit code 2."""
    # A scheduler stops a job with SIGTERM; it is to end as cleanly as by Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        yield
    except UserError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(EXIT_USER_ERROR)
    except OSError as error:
        # A full disk, a folder without permission: the system's word and the file's name are all there is to say.
        said = ": ".join(str(part) for part in (error.strerror or error, error.filename) if part)
        click.echo(f"error: {said}", err=True)
        sys.exit(EXIT_USER_ERROR)
    except KeyboardInterrupt:
        click.echo("stopped; nothing is lost, the same command goes on from here", err=True)
        sys.exit(EXIT_INTERRUPTED)

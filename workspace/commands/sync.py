"""``sync``: what a work folder holds, shipped to a tracking store; later, from a copy, or to another store."""

import sys
from pathlib import Path

import click

from workspace.cli import EXIT_USER_ERROR, reporting_errors
from workspace.errors import UserError
from workspace.redaction import redact


@click.command()
@click.argument("experiments", nargs=-1, metavar="[EXPERIMENT]...")
@click.option("--tracking-uri", help="MLflow store. [default: SQLite under the work folder]")
@click.option("--work-dir", type=click.Path(path_type=Path), default=Path("work"), show_default=True)
def sync(experiments: tuple[str, ...], tracking_uri: str | None, work_dir: Path) -> None:
    """Ship what a work folder holds of these experiments, or of all, to a tracking store.

    For what a store missed, for a copied work folder, and for a new server. Any number of times: what the store has
    stays as it is.
    """
    with reporting_errors():
        from workspace.tracking import default_uri
        from workspace.tracking.record import recorded_experiments

        uri = tracking_uri or default_uri(work_dir)
        known = recorded_experiments(work_dir)
        if not known:
            raise UserError(f"--work-dir {work_dir}: no experiment was played there")
        if unknown := [name for name in experiments if name not in known]:
            raise UserError(f"{', '.join(unknown)}: not in {work_dir}; it holds {', '.join(known)}")
        complete = True
        for name in experiments or known:
            try:
                done, *refused = _shipped(work_dir, uri, name, is_recorded=known[name])
            except UserError as error:  # the others can still be shipped
                click.echo(f"error: {error}", err=True)
                complete = False
                continue
            click.echo(f"{name}: {done}")
            for line in refused:
                click.echo(f"error: {name}: the store refuses {line}", err=True)
                complete = False
        if not complete:
            sys.exit(EXIT_USER_ERROR)


def _shipped(work_dir: Path, uri: str, name: str, *, is_recorded: bool) -> list[str]:
    """What became of an experiment, and then a line for all that the store did not take."""
    from workspace.orchestrator.alone import alone, parts_at_work
    from workspace.tracking.sync import sync

    if not is_recorded:
        raise UserError(
            f"{name}: {work_dir} does not say what to show of it, an earlier version made it; start it again there, "
            "which trains nothing twice and ships it as well"
        )
    with alone(work_dir, name, "being synced"):
        if at_work := parts_at_work(work_dir, name):
            raise UserError(f"{name} is being trained in {work_dir} ({', '.join(at_work)}), which ships it as well")
        synced = sync(work_dir, uri, name)
    newer = "; its results are left as they are there, of a later end" if synced.is_newer else ""
    return [f"{synced.runs} runs, {synced.points} new points in {redact(uri)}{newer}", *synced.refused]

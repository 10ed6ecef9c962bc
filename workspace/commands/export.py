"""``export``: an experiment's runs and curves as tables, for its notebook."""

from pathlib import Path

import click

from workspace.cli import reporting_errors

METRICS = (
    "AP",
    "train/loss",
    "precision/loss_scale",
    "precision/underflow_share",
    "precision/skipped_steps",
    "precision/forward_clamped",
)


@click.command()
@click.argument("experiment")
@click.option("--tracking-uri", help="MLflow store. [default: SQLite under the work folder]")
@click.option("--work-dir", type=click.Path(path_type=Path), default=Path("work"), show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("analysis/data"), show_default=True)
@click.option("--every", type=click.IntRange(min=1), default=25, show_default=True, help="Keep one step of so many.")
def export(experiment: str, tracking_uri: str | None, work_dir: Path, out: Path, every: int) -> None:
    """Write an experiment's runs and curves from the tracking store to tidy CSV tables, for its notebook."""
    with reporting_errors():
        from workspace.tracking import default_uri
        from workspace.tracking.tables import write_tables

        uri = tracking_uri or default_uri(work_dir)
        for path in write_tables(uri, experiment, out, metrics=METRICS, every=every):
            click.echo(path)

"""``doctor``: what this machine is, and what keeps it from its work."""

import json
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from workspace.cli import reporting_errors

if TYPE_CHECKING:
    from workspace.devices import DeviceName
    from workspace.doctor import Check

EXIT_FOUND_ERRORS = 1


@click.command()
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda", "npu"]),
    default="auto",
    show_default=True,
    help="auto looks at whatever is there; of any other, the absence is an error.",
)
@click.option("--data", type=click.Path(path_type=Path), help="COCO-format folder. [default: the embedded set]")
@click.option("--tracking-uri", help="MLflow store. [default: SQLite under the work folder]")
@click.option("--work-dir", type=click.Path(path_type=Path), default=Path("work"), show_default=True)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=120,
    show_default=True,
    help="Seconds for each group of checks, such as npu; the first check of a large data set takes longer.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of lines.")
def doctor(
    *,
    device: "DeviceName",
    data: Path | None,
    tracking_uri: str | None,
    work_dir: Path,
    timeout: float,
    as_json: bool,
) -> None:
    """Tell what this machine is and what is wrong with it; exits with 1 when there are errors.

    Versions come first. Paste all of it into a bug report: passwords in addresses are left out.
    """
    with reporting_errors():
        from workspace.doctor import Request, examine

        request = Request(device=device, data=data, tracking_uri=tracking_uri, work_dir=work_dir)
        checks = []
        for check in examine(request, timeout):
            checks.append(check)
            if not as_json:
                click.echo(_line(check))
        count = Counter(check.status for check in checks)
        if as_json:
            found = {"errors": count["error"], "warnings": count["warning"], "checks": list(map(asdict, checks))}
            click.echo(json.dumps(found, indent=1))
        else:
            click.echo(f"{len(checks)} checks: {count['error']} errors, {count['warning']} warnings")
        if count["error"]:
            sys.exit(EXIT_FOUND_ERRORS)


def _line(check: "Check") -> str:
    color = {"ok": None, "warning": "yellow", "error": "red"}[check.status]
    cure = f". What to do: {check.cure}" if check.cure else ""
    return f"{click.style(f'{check.status:<8}', fg=color)}{check.group:<9} {check.name:<14} {check.value}{cure}"

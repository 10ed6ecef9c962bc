"""The runs as a table, in which searches are replayed (``benchmarks/recorded_runs.py`` reads it)."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks.planted.causes import Cause
from benchmarks.planted.known import DIAGNOSIS, Known
from benchmarks.planted.pool import as_json, island_shares, stratum_share
from benchmarks.planted.runs import Job
from workspace.files import write_atomically

COLUMNS = (
    "cause",
    "recipe",
    "changes",
    "fidelity",
    "seed",
    "split",
    "ap",
    "curve",
    "device_seconds",
    "steps",
    "flops_in_half",
    "diverged",
    "stratum_share",
    "signature",
)


def write_table(jobs: Iterable[Job], causes: Sequence[Cause], known: Known, out: Path) -> int:
    """Writes the rows of the jobs that are finished, each once, and one a diagnosis; returns how many runs they are.

    Rows of causes that are not asked for stay as they are.
    """
    once = {job.key: job for job in jobs}.values()
    found = [(job, run) for job in once if (run := known.run(job))]
    rows = _others(out, {cause.name for cause in causes})
    for job, run in found:
        rows.append(
            {
                "cause": job.cause.name,
                "recipe": job.recipe,
                "changes": json.dumps(as_json(job.changes)),
                "fidelity": round(job.fidelity, 3),
                "seed": job.seed,
                "split": job.split,
                "ap": run.ap,
                "curve": json.dumps(run.curve),
                "device_seconds": run.seconds,
                "steps": run.steps,
                "flops_in_half": round(known.in_half(job), 4),
                "diverged": run.diverged,
                "stratum_share": stratum_share(job.cause, job.changes) if job.recipe.startswith("pool") else "",
                "signature": known.spec(job).signature,
            }
        )

    nothing = {"changes": "{}", "fidelity": 1.0, "seed": 0, "split": "search", "ap": 0.0, "curve": "{}", "steps": 0}
    for cause in causes:
        if (seconds := known.diagnosis_seconds(cause)) is not None:
            rows.append(
                {"cause": cause.name, "recipe": DIAGNOSIS, **nothing, "device_seconds": seconds, "flops_in_half": 0.0}
            )
    _write(rows, COLUMNS, out)
    return len(found)


def write_islands(causes: Sequence[Cause], out: Path) -> None:
    """Writes the FP32 islands that a user could try, a row each, with the share of all draws that are alike.

    Rows of causes that are not asked for stay as they are.
    """
    rows = _others(out, {cause.name for cause in causes})
    for cause in causes:
        for island, share in island_shares(cause).items():
            rows.append({"cause": cause.name, "island": json.dumps(island), "stratum_share": share})
    _write(rows, ("cause", "island", "stratum_share"), out)


def _write(rows: Iterable[Mapping[str, object]], columns: Sequence[str], out: Path) -> None:
    def write(path: Path) -> None:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    write_atomically(out, write)


def _others(out: Path, names: set[str]) -> list[dict[str, object]]:
    if not out.exists():
        return []
    with out.open(newline="") as file:
        return [dict(row) for row in csv.DictReader(file) if row["cause"] not in names]

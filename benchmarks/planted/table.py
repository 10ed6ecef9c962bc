"""The runs as a table, in which searches are replayed (``benchmarks/recorded_runs.py`` reads it)."""

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.planted.causes import Cause
from benchmarks.planted.known import DIAGNOSIS, Known
from benchmarks.planted.pool import as_json, is_held, share_held
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
                "stratum_share": _stratum_share(job),
                "signature": known.spec(job).signature,
            }
        )

    nothing = {"changes": "{}", "fidelity": 1.0, "seed": 0, "split": "search", "ap": 0.0, "curve": "{}", "steps": 0}
    for cause in causes:
        if (seconds := known.diagnosis_seconds(cause)) is not None:
            rows.append(
                {"cause": cause.name, "recipe": DIAGNOSIS, **nothing, "device_seconds": seconds, "flops_in_half": 0.0}
            )

    def write(path: Path) -> None:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    write_atomically(out, write)
    return len(found)


def _stratum_share(job: Job) -> float | str:
    """Share of all draws that are like this one in that their island holds the planted module, or does not."""
    if not job.recipe.startswith("pool"):
        return ""
    held = share_held(job.cause)
    return round(held if is_held(job.cause, job.changes) else 1 - held, 6)


def _others(out: Path, names: set[str]) -> list[dict[str, object]]:
    if not out.exists():
        return []
    with out.open(newline="") as file:
        return [dict(row) for row in csv.DictReader(file) if row["cause"] not in names]

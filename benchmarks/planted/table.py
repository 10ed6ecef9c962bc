"""The runs as a table, in which searches are replayed (``benchmarks/recorded_runs.py`` reads it)."""

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.planted.causes import Cause
from benchmarks.planted.diagnosed import diagnosis_of
from benchmarks.planted.pool import as_json
from benchmarks.planted.runs import Job, spec_of
from workspace.detectors import detector
from workspace.files import write_atomically
from workspace.journal import JournalReader, latest
from workspace.orchestrator.conditions import Conditions
from workspace.orchestrator.runs import RunRecord, run_state
from workspace.spec import RESULT, run_folder

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
)


def write_table(jobs: Iterable[Job], causes: Sequence[Cause], given: Conditions, work_dir: Path, out: Path) -> int:
    """Writes the rows of the jobs that are finished, each once, and one a diagnosis; returns how many runs they are."""
    from workspace.training.flops import flops_in_half

    once = {job.key: job for job in jobs}.values()
    found = [(job, spec, run_folder(work_dir, spec)) for job in once for spec in [spec_of(job, given)]]
    found = [entry for entry in found if run_state(entry[2]) == "finished"]
    shares = flops_in_half([spec for _, spec, _ in found], len(given.dataset.classes))
    rows = []
    for (job, _, folder), share in zip(found, shares, strict=True):
        record = RunRecord.load(folder)
        rows.append(
            {
                "cause": job.cause.name,
                "recipe": job.recipe,
                "changes": json.dumps(as_json(job.changes)),
                "fidelity": round(job.fidelity, 3),
                "seed": job.seed,
                "split": job.split,
                "ap": round(record.ap, 3),
                "curve": json.dumps(curve(folder, detector(job.cause.name).metric)),
                "device_seconds": round(record.seconds, 2),
                "steps": json.loads((folder / RESULT).read_text())["steps"],
                "flops_in_half": round(share, 4),
                "diverged": record.diverged or "",
            }
        )

    nothing = {"changes": "{}", "fidelity": 1.0, "seed": 0, "split": "search", "ap": 0.0, "curve": "{}", "steps": 0}
    for cause in causes:
        said = [content for of_run in (False, True) if (content := diagnosis_of(cause, work_dir, of_run=of_run))]
        if said:
            seconds = round(sum(content["seconds"] for content in said), 2)
            rows.append(
                {"cause": cause.name, "recipe": "diagnosis", **nothing, "device_seconds": seconds, "flops_in_half": 0.0}
            )

    def write(path: Path) -> None:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    write_atomically(out, write)
    return len(found)


def curve(folder: Path, metric: str) -> dict[int, float]:
    """AP in points by epoch."""
    evaluations = [event for event in latest(JournalReader(folder).read()) if event["kind"] == "eval"]
    return {event["epoch"]: round(100 * event["metrics"][metric], 2) for event in evaluations}

"""A worker whose training is a formula: it keeps to the run folder's contract and takes a fraction of a second.

What is tested with it is the orchestrator: real worker processes, journals, study and tracking store.
"""

import json
import random
import time
from pathlib import Path

from workspace.detectors import detector
from workspace.files import left_by_kills, write_json
from workspace.journal import JournalWriter
from workspace.training.task import Task

STEP_SECONDS = 0.005
STEPS_PER_EPOCH = 4


def train(task: Task) -> None:
    """Goes on from ``checkpoint.json``, as the real worker does from its checkpoint."""
    task.folder.mkdir(parents=True, exist_ok=True)
    if (task.folder / "result.json").exists():
        raise AssertionError("a finished run was started again")
    for half_written in left_by_kills(task.folder):
        half_written.unlink()
    write_json(task.folder / "spec.json", task.spec.to_json())
    checkpoint = task.folder / "checkpoint.json"
    done = json.loads(checkpoint.read_text())["epoch"] if checkpoint.exists() else 0
    metric = detector(task.spec.detector).metric
    journal = JournalWriter(task.folder)
    journal.write("start", step=done * STEPS_PER_EPOCH, epoch=done)
    diverges = task.folder.parents[1] / "diverges" / task.spec.signature  # a file by which a test asks for it
    if diverges.exists() or (task.spec.recipe.clip_norm == 1.0 and task.spec.data.evaluate == "search"):
        journal.write("end", status="failed", reason="the formula diverged")
        raise SystemExit(1)
    ap = 0.0
    for epoch in range(done, task.spec.epochs):
        for step in range(epoch * STEPS_PER_EPOCH, (epoch + 1) * STEPS_PER_EPOCH):
            time.sleep(STEP_SECONDS)
            journal.write("step", step=step + 1, epoch=epoch, metrics={"train/loss": 1 / (step + 1)})
        ap = average_precision(task, (epoch + 1) / task.spec.epochs)
        journal.write("eval", step=(epoch + 1) * STEPS_PER_EPOCH, epoch=epoch + 1, metrics={metric: ap / 100})
        write_json(checkpoint, {"epoch": epoch + 1})
        journal.write("checkpoint", step=(epoch + 1) * STEPS_PER_EPOCH, epoch=epoch + 1)
    write_json(
        task.folder / "result.json",
        {
            "signature": task.spec.signature,
            "metric": metric,
            "ap": average_precision(task, 1.0),
            "metrics": {metric: average_precision(task, 1.0) / 100},
            "seconds": 1.0,
            "steps": task.spec.epochs * STEPS_PER_EPOCH,
            "skipped_steps": 0,
            "audit": {"contradictions": [], "device": {"name": "formula"}},
            "versions": {"torch": "none"},
        },
    )
    journal.write("end", status="finished")
    journal.close()


def average_precision(task: Task, progress: float) -> float:
    """AP in points: worse in FP16, worse away from the default rate's double, with noise from the signature."""
    noise = random.Random(task.spec.signature).gauss(0, 0.5)
    recipe, precision = task.spec.recipe, task.spec.precision
    lost = 2.0 * precision.is_mixed * (0.5 if precision.fp32_islands else 1.0)
    return max(0.0, progress * (55 - lost - abs(recipe.lr / 6e-3 - 1) * 5) + noise)


def run_folders(work_dir: Path) -> list[Path]:
    return sorted((work_dir / "runs").iterdir())

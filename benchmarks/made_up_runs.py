"""An experiment whose runs are made up: real worker processes, journals, study and tracking store, no training.

Played by ``many_runs.py``; takes the options of every experiment and ends by telling its peak memory.
"""

import json
import random
import resource
import sys
from pathlib import Path

import made_up_runs

from workspace.cli import main
from workspace.detectors import detector
from workspace.experiment import ArmSpec, Comparison, Effort, Experiment
from workspace.files import write_json
from workspace.journal import JournalWriter
from workspace.orchestrator import phases, playing
from workspace.orchestrator.comparison_plan import ComparisonPlan
from workspace.orchestrator.disk import Room
from workspace.orchestrator.settings import Settings
from workspace.precision import FP32, LossScale, Precision
from workspace.search.space import times
from workspace.spec import RESULT, SPEC, RunSpec, run_folder
from workspace.training.task import Task

ARMS = 10
STEPS = 3
NAME = "made_up_runs"

COMPARISON = Comparison(
    name=NAME,
    arms={
        f"2^{power}": ArmSpec(
            detector="fcos",
            precision=Precision(name="fp16", loss_scale=LossScale(policy="static", init=2.0**power)),
        )
        for power in range(ARMS)
    },
    contrasts={"range": {"2^9": 1, "2^0": -1}},
    efforts={"demo": Effort(seeds=1, margin=1.0), "full": Effort(seeds=1, margin=1.0)},
)

SWEEP = Experiment(
    name="made_up_sweep",
    detector="fcos",
    baseline=FP32,
    candidate=Precision(name="fp16", loss_scale=LossScale()),
    space={"lr": times(0.5, 2)},
    efforts={scale: Effort(seeds=3, trials=8, margin=1.0) for scale in ("demo", "full")},
)


def train(task: Task) -> None:
    write_run(task.folder, task.spec)


def write_runs(work: Path, runs: int) -> int:
    """Leaves what the comparison with so many runs would leave, of the runs that are not there; returns how many."""
    settings = Settings(device="cpu", work_dir=work, seeds=runs // ARMS)
    plan = ComparisonPlan(comparison=COMPARISON, conditions=playing.conditions(settings), seeds=runs // ARMS)
    specs = [job.spec for jobs in plan.arms().values() for job in jobs]
    missing = [spec for spec in specs if not (run_folder(work, spec) / RESULT).exists()]
    for spec in missing:
        write_run(run_folder(work, spec), spec)
    return len(missing)


def write_run(folder: Path, spec: RunSpec) -> None:
    """Leaves what a run leaves, of a few steps."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / SPEC, spec.to_json())
    metric = detector(spec.detector).metric
    ap = random.Random(spec.signature).gauss(50, 1)
    journal = JournalWriter(folder)
    journal.write("start", step=0, epoch=0)
    for step in range(1, STEPS + 1):
        journal.write("step", step=step, epoch=0, metrics={"train/loss": 1 / step})
    journal.write("eval", step=STEPS, epoch=1, metrics={metric: ap / 100})
    result = {
        "signature": spec.signature,
        "metric": metric,
        "ap": ap,
        "metrics": {metric: ap / 100},
        "seconds": 1.0,
        "steps": STEPS,
        "skipped_steps": 0,
        "audit": {"contradictions": [], "device": {"name": "made up"}},
        "versions": {"torch": "none"},
    }
    write_json(folder / RESULT, result)
    journal.write("end", status="finished")
    journal.close()


if __name__ == "__main__":
    playing.train = made_up_runs.train  # by the module's name, which the workers know, and not as __main__'s
    playing.preload = lambda kind: (NAME,)
    phases.room = lambda specs, given, settings, *, slots: Room(0, 0, settings.work_dir)  # they leave no weights
    try:
        main(SWEEP if sys.argv[1] == "sweep" and sys.argv.pop(1) else COMPARISON)
    finally:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"peak_mib": peak}), file=sys.stderr)

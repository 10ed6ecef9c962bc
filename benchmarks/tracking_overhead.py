"""Does tracking slow training? The same run with MLflow following it, and alone, in turn.

  python benchmarks/tracking_overhead.py [--pairs 3] [--epochs 2]

Prints the ratio of median step times. The tracked run is followed by the orchestrator's own tracker, which ships its
journal to an SQLite store while it trains.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

from demo_runs import short_task, step_times

from workspace.datasets import open_dataset
from workspace.execution import LocalExecutor
from workspace.tracking import DataSet, Tracker, default_uri
from workspace.training.task import Task, preload, train


def trained(executor: LocalExecutor, task: Task) -> list[float]:
    """Step times in seconds of that run."""
    executor.start(task.spec.signature, train, (task,), task.folder / "log.txt")
    while not (ended := executor.wait(1.0)):
        pass
    if ended[0].exitcode != 0:
        raise SystemExit(f"the run failed; see {task.folder / 'log.txt'}")
    return step_times(task.folder)


def tracked(executor: LocalExecutor, task: Task, work_dir: Path) -> list[float]:
    """The same while the tracker follows it."""
    dataset = open_dataset(None, work_dir)
    tracker = Tracker(default_uri(work_dir), "tracking_overhead", work_dir)
    data = DataSet(name=dataset.name, digest=dataset.digest, source="generated")
    tracker.start(scale="demo", data=data, params={}, tags={})
    tracker.follow(task.spec, name="tracked", metric="coco/bbox_mAP", tags={})
    times = trained(executor, task)
    tracker.settle(task.spec.signature, "finished")
    tracker.close("finished")
    if tracker.unshipped:
        raise SystemExit(tracker.unshipped)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2)
    options = parser.parse_args()
    ratios = []
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalExecutor(workers=1, threads=1, preload=preload("cpu")) as executor,
    ):
        work_dir = Path(folder)
        for seed in range(options.pairs):
            alone = trained(executor, short_task(work_dir, epochs=options.epochs, seed=seed, group="alone"))
            followed = tracked(executor, short_task(work_dir, epochs=options.epochs, seed=seed, group="."), work_dir)
            medians = statistics.median(alone), statistics.median(followed)
            ratios.append(medians[1] / medians[0])
            print(f"alone {1e3 * medians[0]:.1f} ms a step, tracked {1e3 * medians[1]:.1f} ms: {ratios[-1]:.3f}")
    spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
    print(f"ratio: {statistics.median(ratios):.3f} (median of {options.pairs} pairs, {spread})")


if __name__ == "__main__":
    main()

"""How much faster do two workers finish a set of runs than one?

  python benchmarks/workers.py [--runs 4] [--epochs 2]

Both ways train the same runs from scratch, with workers that are already warm. Prints the ratio of wall times.
"""

import argparse
import tempfile
import time
from pathlib import Path

from demo_runs import short_task

from workspace.execution import LocalExecutor
from workspace.training.task import preload, train


def finish(work_dir: Path, workers: int, runs: int, epochs: int) -> float:
    """Wall seconds to train the runs with so many workers, the import of the libraries not counted."""
    group = f"{workers}-workers"
    with LocalExecutor(workers=workers, threads=1, preload=preload("cpu")) as executor:
        warm = short_task(work_dir, epochs=1, seed=99, group=f"{group}-warm")
        executor.start("warm", print, ("warm",), warm.folder / "log.txt")
        while not executor.wait(1.0):
            pass
        tasks = [short_task(work_dir, epochs=epochs, seed=seed, group=group) for seed in range(runs)]
        begun = time.perf_counter()
        waiting = list(tasks)
        ended = 0
        while ended < runs:
            while waiting and executor.slots_free:
                task = waiting.pop()
                executor.start(task.spec.signature, train, (task,), task.folder / "log.txt")
            for end in executor.wait(1.0):
                if end.exitcode != 0:
                    raise SystemExit(
                        f"run {end.job_id} failed; see {work_dir / group / 'runs' / end.job_id / 'log.txt'}"
                    )
                ended += 1
        return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        seconds = {workers: finish(Path(folder), workers, options.runs, options.epochs) for workers in (1, 2)}
    for workers, took in seconds.items():
        print(f"workers {workers}: {options.runs} runs of {options.epochs} epochs in {took:.1f} s")
    print(f"ratio: {seconds[1] / seconds[2]:.2f}")


if __name__ == "__main__":
    main()

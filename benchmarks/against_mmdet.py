"""Is an FP32 run here MMEngine's own, in its losses and its speed? Goals: equal losses, step time at most 1.05 of it.

  python benchmarks/against_mmdet.py [--detectors fcos ssd300] [--rounds 3] [--epochs 1] [--output FILE]

Each demo detector is trained as a worker here trains it (our runner, optimizer wrapper, hooks and journal), and by
MMEngine's Runner with its OptimWrapper and default hooks, on the same configuration of model, data, optimizer and
schedule. The two take turns, one thread each, so that the machine's other load falls on both. A step time is the time
between two steps, with all that happens in between: of the clock, and of the processor, which a busy machine distorts
less.
"""

import argparse
import itertools
import json
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo_runs import short_task

from workspace.detectors import DETECTORS
from workspace.execution import LocalExecutor
from workspace.training.task import Task, preload

WARM_UP = 20
GOAL = 1.05
WATCHED = "watched.json"


def train_here(task: Task) -> None:
    """Trains the task as a worker does, with a watch on its steps."""
    from workspace.training import run

    build = run.build_runner

    def watched(task: Task) -> Any:
        runner = build(task)
        runner.register_hook(_watch(task.folder))
        return runner

    run.build_runner = watched
    run.train(task)


def train_plainly(task: Task) -> None:
    """Trains the same with MMEngine alone."""
    import torch
    from mmdet.utils import register_all_modules
    from mmengine.runner import Runner

    from workspace.training.config import build_config

    register_all_modules()
    torch.set_num_threads(task.threads)
    cfg = build_config(task)
    cfg.optim_wrapper.type = "OptimWrapper"
    for ours in ("precision", "device"):
        cfg.optim_wrapper.pop(ours)
    cfg.pop("default_hooks")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        runner = Runner.from_cfg(cfg)
        runner.register_hook(_watch(task.folder))
        runner.train()


def _watch(folder: Path) -> Any:
    """A hook that writes each step's loss, and when it ended, to a file in that folder."""
    from mmengine.hooks import Hook

    class Watch(Hook):  # type: ignore[misc]
        priority = "LOWEST"

        def __init__(self) -> None:
            self.steps: list[tuple[float, float, float]] = []

        def after_train_iter(self, _: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
            self.steps.append((float(outputs["loss"]), time.perf_counter(), time.process_time()))

        def after_train(self, _: Any) -> None:
            (folder / WATCHED).write_text(json.dumps(self.steps))

    return Watch()


@dataclass(frozen=True)
class Watched:
    """A run's losses, and the medians of its step times in milliseconds, of the clock and of the processor."""

    losses: Sequence[float]
    clock: float
    processor: float


def trained(executor: LocalExecutor, target: Callable[[Task], None], task: Task) -> Watched:
    task.folder.mkdir(parents=True)
    executor.start(task.spec.signature, target, (task,), task.folder / "log.txt")
    while not (ended := executor.wait(1.0)):
        pass
    if ended[0].exitcode != 0:
        raise SystemExit(f"a run failed: {(task.folder / 'log.txt').read_text()[-2000:]}")
    losses, clock, processor = zip(*json.loads((task.folder / WATCHED).read_text()), strict=True)
    return Watched(losses, _median_step(clock), _median_step(processor))


def _median_step(ends: Sequence[float]) -> float:
    return 1e3 * statistics.median(after - before for before, after in itertools.pairwise(ends[WARM_UP:]))


def compare(
    executor: LocalExecutor, work_dir: Path, name: str, rounds: int, epochs: int
) -> Iterator[tuple[Watched, Watched]]:
    """A run of ours and one of MMEngine's for each seed; who begins changes from round to round."""
    arms = {"here": train_here, "plain": train_plainly}
    for turn in range(rounds):
        found = {}
        for arm in sorted(arms, reverse=turn % 2 == 1):
            task = short_task(work_dir, name=name, epochs=epochs, seed=turn, group=arm)
            found[arm] = trained(executor, arms[arm], task)
        yield found["here"], found["plain"]


def row(name: str, rounds: Sequence[tuple[Watched, Watched]]) -> str:
    """A line of the table."""
    equal = all(here.losses == plain.losses for here, plain in rounds)
    cells = [
        name,
        str(len(rounds[0][0].losses)),
        "yes" if equal else "**no**",
        spread([here.clock for here, _ in rounds], 1),
        spread([plain.clock for _, plain in rounds], 1),
        spread([here.clock / plain.clock for here, plain in rounds], 3),
        spread([here.processor / plain.processor for here, plain in rounds], 3),
    ]
    return f"| {' | '.join(cells)} |"


def spread(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detectors", nargs="+", choices=list(DETECTORS), default=list(DETECTORS))
    parser.add_argument("--rounds", type=int, default=3, help="runs of each kind and detector, with a seed each")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--output", type=Path, help="Markdown file for the table")
    options = parser.parse_args()
    lines = [
        "# An FP32 run here against MMEngine's Runner",
        "",
        f"`benchmarks/against_mmdet.py --rounds {options.rounds} --epochs {options.epochs}`, one thread of "
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start. Step times are medians of a run after "
        f"{WARM_UP} steps; then median (min to max) over the rounds. Ratios are taken round by round; the goal is at "
        f"most {GOAL}.",
        "",
        "| detector | steps | losses equal | ms a step here | ms a step, MMEngine | ratio | ratio of processor time |",
        "|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines))
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalExecutor(workers=1, threads=1, preload=preload("cpu")) as executor,
    ):
        for name in options.detectors:
            lines.append(row(name, list(compare(executor, Path(folder), name, options.rounds, options.epochs))))
            print(lines[-1], flush=True)
    if options.output:
        options.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

"""How much faster do 2, 4 and 8 workers of a Ray cluster finish runs than one, and what does a run cost beside itself?

  python benchmarks/ray_scaling.py [--seconds 15] [--runs 3] [--markdown FILE]

A run sleeps, so that many fit on few cores; each is an actor that Ray places, with a process of its own, as real ones
are. The cluster is of this machine alone, with eight pretended devices. Each worker is given the same number of runs;
speed is runs by wall time, in ratio to one worker's in this very start.
"""

import argparse
import logging
import os
import resource
import tempfile
import time
from pathlib import Path

from workspace.execution import RayExecutor

WORKERS = (1, 2, 4, 8)


def processor_seconds() -> float:
    """Of this process, the orchestrator's."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def finish(work_dir: Path, workers: int, runs: int, seconds: float) -> tuple[float, float]:
    """Wall seconds of so many sleeping runs, and processor seconds of the orchestrator."""
    with RayExecutor(kind="npu", devices=1, threads=1, work_dir=work_dir, workers=workers) as executor:
        begun, used = time.perf_counter(), processor_seconds()
        waiting = [f"{workers}-{number}" for number in range(runs)]
        ended = 0
        while ended < runs:
            while waiting and executor.slots_free:
                run = waiting.pop()
                executor.start(run, time.sleep, (seconds,), work_dir / f"{run}.txt")
            for end in executor.wait(0.2):  # as often as the orchestrator looks
                if end.exitcode != 0:
                    raise SystemExit(f"run {end.job_id} ended with {end.exitcode}: {end.reason}")
                ended += 1
        return time.perf_counter() - begun, processor_seconds() - used


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=15.0, help="that a run sleeps")
    parser.add_argument("--runs", type=int, default=3, help="of each worker")
    parser.add_argument("--markdown", type=Path, help="write the table there too")
    options = parser.parse_args()
    lines = [
        "| workers | runs | wall, s | speed against one | beside the sleep, s a run | orchestrator, CPU ms a run |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    alone = 0.0
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    ray.init("local", resources={"NPU": max(WORKERS)}, include_dashboard=False, logging_level=logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        finish(Path(folder), 1, 1, 0.0)  # the cluster's first worker processes
        for workers in WORKERS:
            runs = workers * options.runs
            wall, used = finish(Path(folder), workers, runs, options.seconds)
            speed = runs / wall
            alone = alone or speed
            beside = wall / options.runs - options.seconds
            lines.append(
                f"| {workers} | {runs} | {wall:.1f} | {speed / alone:.2f} | {beside:.2f} | {1000 * used / runs:.0f} |"
            )
    ray.shutdown()
    print("\n".join(lines))
    if options.markdown is not None:
        about = (
            f"Runs that sleep {options.seconds:g} s, {options.runs} a worker, on {os.cpu_count()} cores; load over the "
            f"last 15 minutes {os.getloadavg()[2]:.1f}, that of other work included; Ray {ray.__version__}.\n"
        )
        command = f"`python benchmarks/ray_scaling.py --seconds {options.seconds:g} --runs {options.runs}`\n"
        options.markdown.write_text("\n".join(["# Scaling over a Ray cluster\n", command, about, *lines, ""]))


if __name__ == "__main__":
    main()

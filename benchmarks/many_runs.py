"""What do 10,000 recorded runs cost the orchestrator, in seconds and in memory?

  python benchmarks/many_runs.py [--runs 100 1000 10000] [--played 100] [--folder DIR]

For each number makes a work folder of so many runs without training. The first of them are played: real worker
processes, journals and MLflow. The others are written as a worker writes them, and copied into the store row by row
from a run that it has, which would else take most of an hour. In the folder it times ``--plan`` of the finished
comparison and of a new sweep, the comparison again with some runs missing, the start of the sweep until its first run
begins, and ``python -m workspace export``; memory is the most that the orchestrator's process held.
"""

import argparse
import json
import math
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from made_up_runs import ARMS, NAME, write_runs

SCRIPT = Path(__file__).with_name("made_up_runs.py")
MISSING = 10
"""Runs that the comparison is played again for."""

_MIB = 2**20


def command(work: Path, *options: str, sweep: bool = False) -> list[str]:
    words = ["sweep"] if sweep else []
    return [sys.executable, str(SCRIPT), *words, "--device", "cpu", "--workers", "2", "--work-dir", str(work), *options]


def environment() -> dict[str, str]:
    """The fork server has no script's folder in its path, and would leave the imports to each of 10,000 workers."""
    path = os.environ.get("PYTHONPATH", "")
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(SCRIPT.parent), path)))}


@contextmanager
def started(call: list[str]) -> Iterator[psutil.Popen]:
    """The process; killed on leaving, with its workers, if it has not ended."""
    process = psutil.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment())
    try:
        yield process
    finally:
        if process.poll() is None:
            family = [*process.children(recursive=True), process]
            for member in family:
                with suppress(psutil.NoSuchProcess):  # workers end when the orchestrator does
                    member.kill()
            psutil.wait_procs(family)


def play(work: Path, runs: int) -> tuple[float, float]:
    """Plays the comparison to its end: seconds, and the orchestrator's peak memory in MiB."""
    begun, peak = time.monotonic(), 0
    with started(command(work, "--seeds", str(runs // ARMS))) as process:
        while process.poll() is None:
            if process.status() != psutil.STATUS_ZOMBIE:
                peak = max(peak, process.memory_info().rss)
            time.sleep(0.1)
        if process.returncode != 0:
            raise SystemExit(f"the play of {runs} runs ended early: {process.stderr.read().decode()}")
    return time.monotonic() - begun, peak / _MIB


def fill_store(work: Path) -> None:
    """Gives the store the runs that it lacks, as copies of one that it has."""
    file = work / "mlflow" / "mlflow.db"
    if not file.exists():
        raise SystemExit("MLflow's store was not made before the tracker's patience ended: the machine is too busy")
    with sqlite3.connect(file, isolation_level="IMMEDIATE") as store:
        has = "select value, run_uuid, status from tags join runs using (run_uuid) where key = 'signature'"
        there = {signature: (run, status) for signature, run, status in store.execute(has)}
        model = next(run for run, status in there.values() if status == "FINISHED")
        for folder in (work / "runs").iterdir():
            if folder.name in there:
                continue
            spec = json.loads((folder / "spec.json").read_text())
            arm, seed = f"2^{math.log2(spec['precision']['loss_scale']['init']):.0f}", str(spec["seed"])
            tags = {"signature": folder.name, "seed": seed, "arm": arm, "mlflow.runName": f"{arm} seed {seed}"}
            copy_run(store, model, tags)


def copy_run(store: sqlite3.Connection, model: str, tags: dict[str, str]) -> None:
    run = uuid.uuid4().hex
    for table, owner in (
        ("runs", "run_uuid"),
        ("params", "run_uuid"),
        ("tags", "run_uuid"),
        ("metrics", "run_uuid"),
        ("latest_metrics", "run_uuid"),
        ("inputs", "destination_id"),
    ):
        rows = store.execute(f"select * from {table} where {owner} = ?", (model,))
        columns = [column[0] for column in rows.description]
        for row in rows.fetchall():
            fields = dict(zip(columns, row, strict=True)) | {owner: run}
            if table == "runs":
                fields["name"] = tags["mlflow.runName"]
            if table == "inputs":
                fields["input_uuid"] = uuid.uuid4().hex
            if table == "tags":
                fields["value"] = tags.get(fields["key"], fields["value"])
            names, marks = ", ".join(fields), ", ".join("?" * len(fields))
            store.execute(f"insert into {table} ({names}) values ({marks})", tuple(fields.values()))


def timed(call: list[str]) -> float:
    begun = time.monotonic()
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(call)}: {done.stderr}")
    return time.monotonic() - begun


def until_first_run(work: Path) -> float:
    """Seconds from the start of a new sweep to the first event in a journal that was not there before."""
    known = set((work / "runs").iterdir())
    begun = time.time()
    with started(command(work, sweep=True)) as process:
        while process.poll() is None:
            for folder in set((work / "runs").iterdir()) - known:
                journal = folder / "events.jsonl"
                if journal.exists() and (lines := journal.read_text().splitlines()):
                    return float(json.loads(lines[0])["time"]) - begun
            time.sleep(0.05)
    raise SystemExit(f"the sweep ended early: {process.stderr.read().decode()}")


def measure(work: Path, runs: int) -> None:
    export = [sys.executable, "-m", "workspace", "export", NAME, "--work-dir", str(work), "--out", str(work / "tables")]
    print(f"  --plan of the finished comparison: {timed(command(work, '--seeds', str(runs // ARMS), '--plan')):.1f} s")
    print(f"  --plan of a new sweep: {timed(command(work, '--plan', sweep=True)):.1f} s")
    for folder in sorted((work / "runs").iterdir())[:MISSING]:
        shutil.rmtree(folder)
    seconds, peak = play(work, runs)
    print(f"  the comparison again, {MISSING} runs missing: {seconds:.1f} s, peak {peak:.0f} MiB")
    print(f"  from the start of that sweep to its first run: {until_first_run(work):.1f} s")
    print(f"  export: {timed(export):.1f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--runs", type=int, nargs="+", default=[100, 1000, 10000], metavar="N", help=f"multiples of {ARMS}"
    )
    parser.add_argument("--played", type=int, default=100, metavar="N", help="of them by workers [default: 100]")
    parser.add_argument("--folder", type=Path, help="work folders are made here [default: a temporary folder]")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for runs in options.runs:
            work = Path(folder) / str(runs)
            played = min(runs, options.played)
            seconds, peak = play(work, played)
            written = write_runs(work, runs)
            print(f"{runs} runs: {played} played in {seconds:.0f} s, peak {peak:.0f} MiB; {written} written")
            fill_store(work)
            measure(work, runs)
            shutil.rmtree(work)


if __name__ == "__main__":
    main()

"""What do 10,000 recorded runs cost the orchestrator, in seconds and in memory?

  python benchmarks/many_runs.py [--runs 100 1000 10000] [--folder DIR]

Plays so many made-up runs (real worker processes, journals and MLflow; no training) from nothing, each number in a
process of its own, and prints the process's peak memory. MLflow takes longer for a run than such a run does, so the
play ends when the last run has, and what the store lacks by then is copied into it row by row from a run that it has.
In the largest folder it then times ``--plan`` of the finished comparison and of a new sweep, the comparison again with
one run missing, the start of the sweep until its first run begins, and ``python -m workspace export``.
"""

import argparse
import json
import math
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
from made_up_runs import ARMS, NAME

SCRIPT = Path(__file__).with_name("made_up_runs.py")
_MIB = 2**20


def command(work: Path, *options: str, sweep: bool = False) -> list[str]:
    words = ["sweep"] if sweep else []
    return [sys.executable, str(SCRIPT), *words, "--device", "cpu", "--workers", "2", "--work-dir", str(work), *options]


@contextmanager
def started(call: list[str]) -> Iterator[psutil.Popen]:
    """The process; killed on leaving, with its workers, if it has not ended."""
    process = psutil.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        if process.poll() is None:
            family = [*process.children(recursive=True), process]
            for member in family:
                with suppress(psutil.NoSuchProcess):  # workers end when the orchestrator does
                    member.kill()
            psutil.wait_procs(family)


def finished(work: Path) -> int:
    return sum(1 for _ in (work / "runs").glob("*/result.json"))


def play(work: Path, runs: int) -> tuple[float, float]:
    """Seconds until the last run has ended, and the orchestrator's peak memory in MiB until then."""
    begun, peak = time.monotonic(), 0
    with started(command(work, "--seeds", str(runs // ARMS))) as process:
        while finished(work) < runs and process.poll() is None:
            peak = max(peak, process.memory_info().rss)
            time.sleep(1.0)
    if finished(work) < runs:
        raise SystemExit(f"the play of {runs} runs ended early: {process.stderr.read().decode()}")
    return time.monotonic() - begun, peak / _MIB


def fill_store(work: Path) -> int:
    """Gives the store the runs that it lacks, as copies of one that it has; returns how many."""
    with sqlite3.connect(work / "mlflow" / "mlflow.db", isolation_level="IMMEDIATE") as store:
        has = "select value from tags join runs using (run_uuid) where key = 'signature' and status = 'FINISHED'"
        there = {value for (value,) in store.execute(has)}
        query = (
            "select run_uuid from tags join runs using (run_uuid) where key = 'kind' and value = 'run' and status = ?"
        )
        (model,) = store.execute(query, ("FINISHED",)).fetchone()
        for (half,) in store.execute(query, ("RUNNING",)).fetchall():
            store.execute("delete from tags where run_uuid = ? and key in ('kind', 'signature')", (half,))
        lacking = [path for path in (work / "runs").iterdir() if path.name not in there]
        for folder in lacking:
            spec = json.loads((folder / "spec.json").read_text())
            arm, seed = f"2^{math.log2(spec['precision']['loss_scale']['init']):.0f}", str(spec["seed"])
            tags = {"signature": folder.name, "seed": seed, "arm": arm, "mlflow.runName": f"{arm} seed {seed}"}
            copy_run(store, model, tags)
    return len(lacking)


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


def again(work: Path, runs: int) -> tuple[float, float, float]:
    """The comparison with one run missing: seconds until that is there and to the end, and the peak memory in MiB."""
    missing = next((work / "runs").iterdir())
    shutil.rmtree(missing)
    begun, there, peak = time.monotonic(), 0.0, 0
    with started(command(work, "--seeds", str(runs // ARMS))) as process:
        while process.poll() is None:
            with_one = (missing / "result.json").exists()
            there = there or (with_one and time.monotonic() - begun)
            if process.status() != psutil.STATUS_ZOMBIE:
                peak = max(peak, process.memory_info().rss)
            time.sleep(0.1)
        if process.returncode != 0:
            raise SystemExit(f"the second play ended early: {process.stderr.read().decode()}")
    return there, time.monotonic() - begun, peak / _MIB


def measure(work: Path, runs: int) -> None:
    export = [sys.executable, "-m", "workspace", "export", NAME, "--work-dir", str(work), "--out", str(work / "tables")]
    print(f"--plan of the finished comparison: {timed(command(work, '--seeds', str(runs // ARMS), '--plan')):.1f} s")
    print(f"--plan of a new sweep: {timed(command(work, '--plan', sweep=True)):.1f} s")
    there, end, peak = again(work, runs)
    print(
        f"the comparison with one run missing: {there:.1f} s until that was there, {end:.1f} s in all, {peak:.0f} MiB"
    )
    print(f"from the start of that sweep to its first run: {until_first_run(work):.1f} s")
    print(f"export: {timed(export):.1f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--runs", type=int, nargs="+", default=[100, 1000, 10000], metavar="N", help=f"multiples of {ARMS}"
    )
    parser.add_argument("--folder", type=Path, help="work folders are made here [default: a temporary folder]")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for runs in options.runs:
            work = Path(folder) / str(runs)
            seconds, peak = play(work, runs)
            print(f"{runs} runs played: {seconds:.0f} s, peak {peak:.0f} MiB", flush=True)
        print(f"runs copied into the store: {fill_store(work)}", flush=True)
        measure(work, runs)


if __name__ == "__main__":
    main()

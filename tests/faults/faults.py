"""What happens to a sweep on a shared machine, done to one that runs and to what it leaves behind."""

import json
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "orchestrator"))

from workspace.journal import EVENTS, JournalReader

STARTUP_SECONDS = 2.5
JOURNAL_BYTES = 8_000
"""About what two or three runs of a small sweep write."""


class Sweep:
    """A sweep that was started, and the processes that it has by now."""

    def __init__(self, command: list[str], work: Path) -> None:
        self.work = work
        self._begun_with = journalled(work)
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self._seen: set[psutil.Process] = set()

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def wait(self, draw: random.Random) -> None:
        """Until some moment of its start-up, or until its runs have written something more."""
        if draw.random() < 0.25:
            moment = time.monotonic() + draw.uniform(0, STARTUP_SECONDS)
            self._until(lambda: time.monotonic() > moment)
        else:
            goal = max(self._begun_with, journalled(self.work)) + draw.randrange(JOURNAL_BYTES)
            self._until(lambda: journalled(self.work) > goal)

    def kill_worker(self, draw: random.Random) -> bool:
        """SIGKILL to one worker; whether there was one."""
        return _kill(draw.sample(workers, 1) if (workers := self._workers()) else [])

    def kill_fork_server(self, _: random.Random) -> bool:
        """SIGKILL to the process that workers are forked from; whether there was one."""
        return _kill(self._fork_servers())

    def fill_disk(self, draw: random.Random) -> None:
        """No process of the sweep can make a file longer, as on a full disk, until it is killed or gives up."""
        for process in self._processes():
            with suppress(psutil.Error):
                process.rlimit(psutil.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        moment = time.monotonic() + draw.uniform(0.2, 4.0)
        self._until(lambda: time.monotonic() > moment)

    def lock_databases(self, draw: random.Random) -> None:
        """Another process holds the study's database, the tracking store's, or both, for a while."""
        files = [file for file in (self.work / "optuna.db", self.work / "mlflow" / "mlflow.db") if file.exists()]
        held = []
        for file in draw.sample(files, draw.randint(min(1, len(files)), len(files))):
            database = sqlite3.connect(file, isolation_level=None, timeout=0.1)
            with suppress(sqlite3.OperationalError):  # the sweep itself holds it
                database.execute("begin exclusive")
            held.append(database)
        moment = time.monotonic() + draw.uniform(0.2, 3.0)
        self._until(lambda: time.monotonic() > moment)
        for database in held:
            database.close()

    def kill(self, *, with_workers: bool) -> bool:
        """SIGKILL to the orchestrator, alone or with all its processes; returns whether it ran, when all are gone."""
        was_running = self.is_running
        others = self._processes()[1:]
        self._process.send_signal(signal.SIGKILL)
        if with_workers:
            _kill(others)
        self.end()
        return was_running

    def end(self) -> tuple[int, str]:
        """Waits for it to end by itself; exit code and what it said.

        Raises:
            AssertionError: a process of it is left over.
        """
        while self.is_running:
            self._processes()
            time.sleep(0.1)
        said = self._process.communicate()[1]
        _, left = psutil.wait_procs(self._seen, timeout=20)
        left = [process for process in left if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
        assert not left, f"left behind: {left}"
        return self._process.returncode, said

    def _until(self, condition: Callable[[], bool]) -> None:
        while self.is_running and not condition():
            self._processes()
            time.sleep(0.02)

    def _processes(self) -> list[psutil.Process]:
        """The orchestrator, if it runs, and all that come from it."""
        try:
            orchestrator = psutil.Process(self._process.pid)
            found = [orchestrator, *orchestrator.children(recursive=True)]
        except psutil.Error:
            return []
        self._seen.update(found[1:])
        return found

    def _fork_servers(self) -> list[psutil.Process]:
        """Children that have its command line; workers have it too, and are its children."""
        own = self._process.pid
        return [p for p in self._processes()[1:] if _is_forked(p) and _parent(p) == own]

    def _workers(self) -> list[psutil.Process]:
        own = self._process.pid
        return [p for p in self._processes()[1:] if _is_forked(p) and _parent(p) != own]


def cut_writes(work: Path, draw: random.Random) -> int:
    """Leaves, of a sweep that does not run, what a crash of the machine may leave; returns how many files it cut."""
    cut = 0
    unfinished = [folder for folder in (work / "runs").glob("*") if not (folder / "result.json").exists()]
    for folder in unfinished:
        cut += _cut_last_line(folder, draw)
        if draw.random() < 0.5:
            (folder / ".result.json.4242").write_text('{\n "ap": 4')
            (folder / ".checkpoint.json.4242").write_text("")
            cut += 2
    for name in ("optuna.db-journal", "mlflow/mlflow.db-journal"):
        cut += _cut_rollback_journal(work / name, draw)
    return cut


def journalled(work: Path) -> int:
    """Bytes in the journals of all runs."""
    return sum(file.stat().st_size for file in (work / "runs").glob(f"*/{EVENTS}"))


def _cut_last_line(folder: Path, draw: random.Random) -> bool:
    """Cuts the journal's last line, unless a checkpoint that is there already was stored after it."""
    events = list(JournalReader(folder).read())
    checkpoint = folder / "checkpoint.json"
    stored = json.loads(checkpoint.read_text())["epoch"] if checkpoint.exists() else 0
    if not events or (events[-1]["kind"] == "eval" and events[-1]["epoch"] <= stored):
        return False
    content = (folder / EVENTS).read_bytes()
    begin = content.rstrip(b"\n").rfind(b"\n") + 1
    (folder / EVENTS).write_bytes(content[: draw.randrange(begin, len(content))])
    return True


def _cut_rollback_journal(file: Path, draw: random.Random) -> bool:
    """Cuts SQLite's rollback journal where its header, which is synced before the database is touched, counts nothing.

    The count is the four bytes from the eighth on (https://sqlite.org/fileformat.html#the_rollback_journal).
    """
    if not file.exists() or not file.stat().st_size or any(file.read_bytes()[8:12]):
        return False
    file.write_bytes(file.read_bytes()[: draw.randrange(file.stat().st_size)])
    return True


def check_database(file: Path) -> None:
    """Raises sqlite3.DatabaseError unless the database is whole."""
    with closing(sqlite3.connect(file)) as database:
        (found,) = database.execute("pragma integrity_check").fetchone()
    if found != "ok":
        raise sqlite3.DatabaseError(f"{file}: {found}")


def _is_forked(process: psutil.Process) -> bool:
    try:
        return any("multiprocessing.forkserver" in word for word in process.cmdline())
    except psutil.Error:
        return False


def _parent(process: psutil.Process) -> int:
    try:
        return int(process.ppid())
    except psutil.Error:
        return 0


def _kill(processes: Iterable[psutil.Process]) -> bool:
    killed = False
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
            killed = True
    return killed

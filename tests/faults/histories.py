"""A history: a small sweep that is killed and broken at random, started again each time, and at last left alone."""

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from broken_tracking import Breakdown, broken_server
from faults import Sweep, cut_writes
from synthetic_runs import command, play

EXPERIMENT = "fcos_fp16_sweep"
SIZE = ("--trials", "8", "--seeds", "2")

Kill = Literal["worker", "orchestrator", "both", "fork server"]
KILLS: tuple[Kill, ...] = get_args(Kill)
_WORKER_KILLS = 2
"""In a start: a run that is killed more often counts as failed, as it should."""


@dataclass
class Told:
    """What happened: kills by whom they hit, and the other faults."""

    kills: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)


def live_through(work: Path, seed: int, kills: int, *, workers: int = 1) -> Told:
    """Plays a history with about so many kills, and then the sweep to its end.

    Args:
        seed: of everything that is drawn; moments also depend on how fast the machine is.
    """
    draw, told = random.Random(seed), Told()
    starts = 0
    while told.kills.total() < kills and starts < 3 * kills:
        starts += 1
        with _tracking(draw, told) as options:
            sweep = Sweep(command(EXPERIMENT, work, *SIZE, *options, workers=workers), work)
            if not _disturb(sweep, draw, told, kills):
                break
        if draw.random() < 0.5:
            told.faults["cut writes"] += cut_writes(work, draw)
    play(EXPERIMENT, work, *SIZE, workers=workers)
    return told


def _disturb(sweep: Sweep, draw: random.Random, told: Told, kills: int) -> bool:
    """The faults of one start; whether it was cut short."""
    for _ in range(draw.randint(1, _WORKER_KILLS)):
        sweep.wait(draw)
        if told.kills.total() < kills - 1:
            victim: Kill = draw.choice(("worker", "worker", "fork server"))
            hit = sweep.kill_worker if victim == "worker" else sweep.kill_fork_server
            told.kills[victim] += hit(draw)
    sweep.wait(draw)
    if draw.random() < 0.25 and sweep.is_running:
        told.faults["locked databases"] += 1
        sweep.lock_databases(draw)
    if draw.random() < 0.25 and sweep.is_running:
        told.faults["full disk"] += 1
        sweep.fill_disk(draw)
        if not sweep.is_running:
            code, said = sweep.end()
            assert code == 2, said
            assert "Traceback" not in said, said
            return True
    whole = draw.random() < 0.5
    if sweep.kill(with_workers=whole):
        told.kills["both" if whole else "orchestrator"] += 1
        return True
    return False


@contextmanager
def _tracking(draw: random.Random, told: Told) -> Iterator[tuple[str, ...]]:
    """Options of a start: its own store, or a server that is of no use."""
    if draw.random() < 0.75:
        yield ()
        return
    how: Breakdown = draw.choice(get_args(Breakdown))
    told.faults[f"tracking server {how}"] += 1
    with broken_server(how) as uri:
        yield ("--tracking-uri", uri)

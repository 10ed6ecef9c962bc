"""What a run folder says of its run."""

import fcntl
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from workspace.errors import UserError
from workspace.files import left_by_kills
from workspace.journal import JournalReader
from workspace.spec import CHECKPOINT, LOCK, RESULT

RunState = Literal["new", "started", "finished", "failed"]


@dataclass(frozen=True)
class RunRecord:
    """A finished run.

    Attributes:
        ap: in points.
        seconds: that it held a device.
        contradictions: of its audit against its precision.
        circumstances: hardware and versions, which arms that are compared should share.
        metrics: MMDetection's AP figures of its evaluation by key, in points; negative where nothing was to be found.
        diverged: what became of its loss or weights, where they were lost; its AP counts all the same.
    """

    ap: float
    seconds: float
    contradictions: tuple[str, ...]
    circumstances: Mapping[str, str]
    diverged: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path) -> "RunRecord":
        """Raises:
        UserError: its result is damaged.
        """
        try:
            result: dict[str, Any] = json.loads((folder / RESULT).read_text())
            device = result["audit"]["device"]
            return cls(
                ap=result["ap"],
                seconds=result["seconds"],
                contradictions=tuple(result["audit"]["contradictions"]),
                circumstances=_circumstances(device["name"], *dict(result["versions"]).items()),
                diverged=result.get("diverged"),  # results of earlier versions do not say
                metrics={sys.intern(name): 100 * value for name, value in result.get("metrics", {}).items()},
            )
        except (ValueError, LookupError, TypeError) as error:
            raise UserError(
                f"{folder / RESULT} is damaged ({type(error).__name__}: {error}): remove it to train the run again"
            ) from error


@cache  # what thousands of runs have in common is kept once
def _circumstances(device: str, *versions: tuple[str, str]) -> Mapping[str, str]:
    return {"device": device, **dict(versions)}


def run_state(folder: Path) -> RunState:
    """How far the run in that folder is."""
    if (folder / RESULT).exists():
        return "finished"
    events = list(JournalReader(folder).read())
    if not events:
        return "new"
    return "failed" if events[-1]["kind"] == "end" else "started"


def tidy(folder: Path, *, goes_on: bool) -> None:
    """Removes what a kill left half written in a run's folder; not while another experiment trains the run.

    Args:
        goes_on: whether the run may be trained further, and needs its checkpoint.
    """

    def left() -> list[Path]:
        checkpoint = folder / CHECKPOINT
        return [*left_by_kills(folder), *([checkpoint] if checkpoint.exists() and not goes_on else [])]

    if not left():
        return
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        for path in left():
            path.unlink(missing_ok=True)

"""Why a run failed, whether trying it again can help, and the record that it leaves in its folder.

Sources of what broken parts say: ``c10/cuda/CUDAException.cpp``, ``c10/cuda/CUDACachingAllocator.cpp``,
``c10/core/impl/alloc_cpu.cpp`` and ``torch/csrc/distributed/c10d`` of PyTorch; ``NPUErrorCodes.h``, ``NPUException.h``
and ``NPUCachingAllocator.cpp`` in ``torch_npu/csrc/core/npu`` of Ascend/pytorch; ``EI0002`` and ``EI0006`` of its
``docs/zh/user_guide/troubleshooting``.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from workspace.execution import Ended
from workspace.files import write_json
from workspace.journal import JournalReader
from workspace.redaction import redact
from workspace.spec import FAILURE

Cause = Literal["killed", "disk", "device", "memory", "connection", "run"]

_SIGNS: dict[Cause, re.Pattern[str]] = {
    "disk": re.compile(r"No space left on device|Disk quota exceeded|File too large|Read-only file system"),
    "memory": re.compile(r"out of memory|can't allocate memory|Cannot allocate memory|^MemoryError"),
    # An assertion of a kernel is a fault of the program, and the same on every device.
    "device": re.compile(
        r"CUDA error: (?!device-side assert)|NPU function error|error code is (?:107\d{3}|207\d{3}|507\d{3})"
        r"|ECC error|device npu: the driver does not come up"
    ),
    "connection": re.compile(
        r"Connection (?:reset|refused|closed|timed out)|Broken pipe|Socket Timeout|EI000[26]"
        r"|(?:NCCL|HCCL) .*(?:error|timeout)|Stale file handle|Transport endpoint is not connected"
    ),
}

_LINES = 20
"""Of the log, kept with the reason."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """How an attempt at a run ended, if not with a result.

    Attributes:
        cause: ``killed`` from outside, without a word; a ``disk`` that takes nothing; the ``device``, its ``memory`` or
            a ``connection``, which another attempt may find better; or the ``run`` itself, which ends so each time.
    """

    cause: Cause
    reason: str

    @property
    def may_pass(self) -> bool:
        return self.cause in ("device", "memory", "connection")

    @classmethod
    def of(cls, folder: Path, end: Ended) -> "Failure":
        """Of the last attempt of the run in that folder, by its own word or by the way its process ended."""
        said = _last_word(folder)
        if said is None and end.signal:
            return cls(cause="killed", reason=end.reason or f"killed by {end.signal}, out of memory perhaps")
        reason = said or next(reversed(last_lines(folder)), "it left no word")
        cause: Cause = next((cause for cause, sign in _SIGNS.items() if sign.search(reason)), "run")
        return cls(cause=cause if said or cause == "disk" else "killed", reason=reason)


def record_failure(folder: Path, failure: Failure, *, attempts: int, place: str) -> None:
    """Writes ``failure.json`` beside the run's journal.

    Args:
        place: where the last attempt was made, in words.

    Raises:
        OSError: the disk takes nothing more.
    """
    write_json(
        folder / FAILURE,
        {
            "cause": failure.cause,
            "reason": failure.reason,
            "attempts": attempts,
            "device": place,
            "log": last_lines(folder),
        },
    )


def last_lines(folder: Path) -> Sequence[str]:
    """What the log of the run in that folder says last, without passwords; lines that say nothing are left out."""
    log = folder / "log.txt"
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return [redact(line) for line in lines if line.strip()][-_LINES:]


def _last_word(folder: Path) -> str | None:
    """What the last attempt gave as its reason; ``None`` where it ended without a word."""
    reason = None
    for event in JournalReader(folder).read():
        if event["kind"] == "end":
            reason = redact(str(event.get("reason", ""))) or None
        elif event["kind"] == "start":
            reason = None
    return reason

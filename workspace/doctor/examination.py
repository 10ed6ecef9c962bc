"""All groups of checks, each in a process of its own: what crashes or hangs there is a finding, and no end.

A library of the wrong version aborts the process that loads it, and a driver that does not answer keeps it for ever;
the machines that need a doctor most are those where that happens.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

from workspace.devices import DeviceName
from workspace.devices.failures import UNKNOWN_CURE, known_cure, telling_line
from workspace.doctor.check import Check, Request
from workspace.redaction import redact

_ACCELERATORS: dict[DeviceName, tuple[str, ...]] = {
    "auto": ("driver", "cann", "npu", "cuda", "cpu"),
    "npu": ("driver", "cann", "npu"),
    "cuda": ("cuda",),
    "cpu": ("cpu",),
}
_LINGER_SECONDS = 2.0  # a process that waits for a driver may outlive SIGKILL: it is left behind
_SLOW_CURE = "see what it waits for (npu-smi info, dmesg, a file server); --timeout gives it longer"


def examine(request: Request, timeout: float) -> Iterator[Check]:
    """The checks, group by group; versions come first.

    Args:
        timeout: seconds that a group may take.
    """
    for group in ("host", "packages", *_ACCELERATORS[request.device], "disk", "data", "tracking"):
        yield from examine_group(group, request, timeout)


def examine_group(group: str, request: Request, timeout: float) -> Iterator[Check]:
    """The checks of one module of this room; a crash or a hang is an error of the check that was under way."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)  # read when the process is over, or is given up
    process = subprocess.Popen(
        [sys.executable, "-m", "workspace.doctor.process", group, str(writing)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=(writing,),
        start_new_session=True,  # so that what it starts ends with it
        # With torch_npu installed, `import torch` imports it too, and fails with it where CANN is missing.
        env=_environment(),
        text=True,
        errors="replace",
    )
    os.close(writing)
    try:
        said, late = _conversation(process, request.to_json(), timeout)
        found = [json.loads(line) for line in _available(reading).splitlines()]
    finally:
        _kill(process)
        os.close(reading)
    under_way = group
    for line in found:
        under_way = line["name"]
        if "status" in line:
            yield Check(group, under_way, line["status"], _presentable(line["value"]), _presentable(line["cure"]))
    if not (late or process.returncode):
        return
    value = f"no answer within {timeout:g} s" if late else _ending(process.returncode)
    if line := telling_line(said):
        value = f"{value}: {line}"
    cure = known_cure(said) or (_SLOW_CURE if late else UNKNOWN_CURE)
    yield Check(group, under_way, "error", _presentable(value), cure)


def _conversation(process: subprocess.Popen[str], question: str, timeout: float) -> tuple[str, bool]:
    """What the process said, and whether it ran out of time."""
    try:
        return process.communicate(question, timeout=timeout)[0], False
    except subprocess.TimeoutExpired:
        _kill(process)
    with contextlib.suppress(subprocess.TimeoutExpired):
        return process.communicate(timeout=_LINGER_SECONDS)[0], True
    return "", True


def _kill(process: subprocess.Popen[str]) -> None:
    """Ends the process and all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _available(descriptor: int) -> str:
    """What lies in the pipe now."""
    parts = []
    with contextlib.suppress(BlockingIOError):
        while part := os.read(descriptor, 65536):
            parts.append(part)
    return b"".join(parts).decode()


def _ending(code: int) -> str:
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def _presentable(text: str) -> str:
    """The text as one line that may be pasted anywhere."""
    return redact(" ".join(text.split()))


def _environment() -> dict[str, str]:
    """Without what runs set for themselves, and torch_npu may refuse as it stands in a shell."""
    return {name: value for name, value in os.environ.items() if not name.startswith("INF_NAN_MODE_")}

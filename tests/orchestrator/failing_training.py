"""A worker that fails as a test asks for: real processes, journals and logs, without any training."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path

from workspace.files import write_json
from workspace.journal import JournalReader, JournalWriter

KILLED = "SIGKILL"


def train(folder: Path, reasons: Sequence[str]) -> None:
    """Each attempt fails with the next reason; the one after the last finishes."""
    attempt = sum(event["kind"] == "start" for event in JournalReader(folder).read())
    folder.mkdir(parents=True, exist_ok=True)
    journal = JournalWriter(folder)
    journal.write("start", step=0, epoch=0)
    print(f"attempt {attempt}", flush=True)
    if attempt < len(reasons):
        if reasons[attempt] == KILLED:
            (folder / f".result.json.{os.getpid()}").write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
        journal.write("end", status="failed", reason=reasons[attempt])
        raise SystemExit(1)
    audit = {"contradictions": [], "device": {"name": "none"}}
    write_json(folder / "result.json", {"ap": 50.0, "seconds": 1.0, "audit": audit, "versions": {}})
    journal.write("end", status="finished")

"""One group of checks, in a process of its own: ``python -m workspace.doctor.process GROUP DESCRIPTOR``.

The request comes in JSON on standard input. What is looked at, and then what was found, go in lines of JSON to the
file descriptor; whatever else this process says is the libraries'.
"""

import importlib
import json
import os
import sys
from typing import TextIO

from workspace.devices.failures import UNKNOWN_CURE, known_cure
from workspace.doctor.check import Answer, Checks, Request, error
from workspace.errors import UserError

LONGEST = 500  # characters of a value or a cure: a line goes into a pipe in one piece


def run(group: str, request: Request, report: TextIO) -> None:
    """Runs the group's checks; what one of them raises is its answer."""
    checks: Checks = importlib.import_module(f"workspace.doctor.{group}").CHECKS
    for name, check in checks.items():
        print(json.dumps({"name": name}), file=report, flush=True)
        answer: Answer | None
        try:
            answer = check(request)
        except UserError as failure:  # it says itself what to do
            answer = error(str(failure), known_cure(str(failure)) or "")
        except Exception as failure:
            said = f"{type(failure).__name__}: {failure}"
            answer = error(said, known_cure(said) or UNKNOWN_CURE)
        if answer is not None:
            line = {"name": name, "status": answer.status, "value": answer.value[:LONGEST], "cure": answer.cure}
            print(json.dumps(line), file=report, flush=True)


if __name__ == "__main__":
    with os.fdopen(int(sys.argv[2]), "w") as lines:
        run(sys.argv[1], Request.from_json(sys.stdin.read()), lines)

"""What a check is asked, and what it says."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from workspace.devices import DeviceName

Status = Literal["ok", "warning", "error"]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the machine is to be used for.

    Attributes:
        device: ``auto`` looks at whatever is there; with a kind, its absence is an error.
        data: COCO-format folder; ``None`` is the embedded set.
        tracking_uri: MLflow store; ``None`` is SQLite under the work folder.
    """

    device: DeviceName = "auto"
    data: Path | None = None
    tracking_uri: str | None = None
    work_dir: Path = Path("work")

    def to_json(self) -> str:
        return json.dumps({name: None if value is None else str(value) for name, value in vars(self).items()})

    @classmethod
    def from_json(cls, text: str) -> "Request":
        fields = json.loads(text)
        data = fields["data"]
        return cls(**{**fields, "data": None if data is None else Path(data), "work_dir": Path(fields["work_dir"])})


class Answer(NamedTuple):
    """``cure``: what to do about it; empty where all is well, and where the value says it."""

    status: Status
    value: str
    cure: str = ""


def ok(value: str) -> Answer:
    return Answer("ok", value)


def warning(value: str, cure: str) -> Answer:
    """Something works worse than it could, or may not do for all that is planned."""
    return Answer("warning", value, cure)


def error(value: str, cure: str) -> Answer:
    """Runs on the device that was asked for will fail, or be wrong."""
    return Answer("error", value, cure)


Checks = Mapping[str, Callable[[Request], Answer | None]]
"""A group's checks by name, in their order. ``None``: there is nothing here that it could look at."""


@dataclass(frozen=True)
class Check:
    """One line of the report; value and cure are single lines without credentials."""

    group: str
    name: str
    status: Status
    value: str
    cure: str

"""What an experiment tells its tracker, kept in the work folder: what a store needs and no run folder says.

One record for each parent run, ``experiments/<name>/tracked/<key>/events.jsonl``: a journal that is only appended to,
by several processes at once where they share a parent. Its kinds of events:

=============  ===========================================================================================
``start``      ``scale``, ``data``, ``params``, ``tags`` and ``source`` (user, commit) of the parent
``run``        ``spec``, ``name``, ``metric``, ``tags`` and ``source`` of a run that begins or goes on
``settled``    ``signature``, ``state``
``published``  ``metrics``, ``tags``, ``summary``, ``files`` (relative to the work folder where they lie in it)
``closed``     ``state``
=============  ===========================================================================================
"""

import getpass
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from workspace.errors import UserError
from workspace.journal import EVENTS, JournalReader, JournalWriter
from workspace.spec import RunSpec
from workspace.tracking.fields import DataSet

State = Literal["running", "finished", "failed", "pruned", "interrupted"]

_FINAL = ("finished", "pruned")  # a run in such a state is never trained again


@dataclass(frozen=True)
class Parent:
    """The run that stands for an experiment at one scale, on one data set, with params that never change."""

    scale: str
    data: DataSet
    params: dict[str, str]
    tags: dict[str, str]

    @property
    def question(self) -> str:
        """Digest of the params: others are another question, and have a parent of their own."""
        return hashlib.sha256(json.dumps(self.params, sort_keys=True).encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Source:
    """Who trained, with which commit of the code; ``None`` outside of git."""

    user: str
    commit: str | None


def now() -> int:
    """Milliseconds since the epoch, as MLflow counts."""
    return int(time.time() * 1000)


@dataclass(frozen=True, kw_only=True)
class Publication:
    """What an experiment as a whole has to show.

    Attributes:
        summary: Markdown, shown first on the parent's page.
        files: uploaded under their own names.
        at: when, in milliseconds since the epoch.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    summary: str = ""
    files: Sequence[Path] = ()
    at: int = field(default_factory=now)


@dataclass
class RecordedRun:
    """A run in its place in the experiment, and the state that it was last said to be in."""

    spec: RunSpec
    name: str
    metric: str
    tags: dict[str, str]
    source: Source
    state: State


@dataclass
class Record:
    """All that a record says.

    Attributes:
        state: of the parent; ``None`` where it was never closed after its last start.
        started, until: times of the first and of the last event, in milliseconds since the epoch.
    """

    parent: Parent
    source: Source
    started: int
    until: int
    state: State | None = None
    runs: dict[str, RecordedRun] = field(default_factory=dict)
    publications: list[Publication] = field(default_factory=list)


class RecordWriter:
    """Appends to the record of a parent run what the record does not say yet.

    Attributes:
        source: of this process.
        started: when the record began, in milliseconds since the epoch.
    """

    def __init__(self, work_dir: Path, experiment: str, parent: Parent, *, commit: str | None) -> None:
        folder = _tracked(work_dir, experiment) / f"{parent.scale}-{parent.data.digest[:8]}-{parent.question}"
        folder.mkdir(parents=True, exist_ok=True)
        self._work_dir = work_dir
        self._known: dict[str, tuple[str, Source, State]] = {}  # of 10,000 runs: no more than what is compared
        self.source = Source(_user(), commit)
        self.started = at = now()
        for event in JournalReader(folder).read():
            self.started = min(self.started, _milliseconds(event))
            match event["kind"]:
                case "run":
                    self._known[_signature(event)] = (_place(event), Source(**event["source"]), "running")
                case "settled" if event["signature"] in self._known:
                    signature = event["signature"]
                    self._known[signature] = (*self._known[signature][:2], event["state"])
        self._journal = JournalWriter(folder)
        self._write("start", at, **asdict(parent), source=asdict(self.source))

    def follow(self, spec: RunSpec, *, name: str, metric: str, tags: Mapping[str, str]) -> Source:
        """A run begins or goes on; returns who trained it, which stays who it was at first."""
        event = {"name": name, "metric": metric, "tags": dict(tags)}
        place, source, state = self._known.get(spec.signature, (None, self.source, None))
        if place != _place(event) or state not in (*_FINAL, "running"):
            self._write("run", now(), signature=spec.signature, spec=spec.to_json(), **event, source=asdict(source))
            self._known[spec.signature] = (_place(event), source, "running")
        return source

    def place(self, signature: str) -> tuple[str, dict[str, str]]:
        """Name and tags of a run that is followed."""
        name, _, tags = json.loads(self._known[signature][0])
        return name, tags

    def settle(self, signature: str, state: State) -> None:
        place, source, known = self._known[signature]
        if state != known:
            self._write("settled", now(), signature=signature, state=state)
            self._known[signature] = (place, source, state)

    def publish(self, publication: Publication) -> None:
        files = [_portable(file, self._work_dir) for file in publication.files]
        content = {"metrics": dict(publication.metrics), "tags": dict(publication.tags), "files": files}
        self._write("published", publication.at, **content, summary=publication.summary)

    def close(self, state: State, at: int) -> None:
        self._write("closed", at, state=state)
        self._journal.close()

    def _write(self, kind: str, at: int, **fields: Any) -> None:
        self._journal.write(kind, time=at / 1000, **fields)


def recorded_experiments(work_dir: Path) -> dict[str, bool]:
    """Names of the experiments that were played in a work folder, and whether each has a record."""
    folders = sorted(path for path in (work_dir / "experiments").glob("*") if path.is_dir())
    return {folder.name: any(_tracked(work_dir, folder.name).glob("*/*.jsonl")) for folder in folders}


def read_records(work_dir: Path, experiment: str) -> list[Record]:
    """The records of an experiment, one for each parent run, in the order of their last events.

    Raises:
        UserError: one was written by another version of this project.
    """
    found = []
    for folder in sorted(_tracked(work_dir, experiment).glob("*/")):
        try:
            record = _read(work_dir, folder)
        except (LookupError, TypeError, ValueError) as error:
            raise UserError(
                f"{experiment}: {folder / EVENTS} says what this version of the project does not know ({error!r}); use "
                "the version that wrote it"
            ) from error
        if record is not None:
            found.append(record)
    return sorted(found, key=lambda record: record.until)


def _read(work_dir: Path, folder: Path) -> Record | None:
    """``None`` where a kill came before the first event was written."""
    record: Record | None = None
    for event in JournalReader(folder).read():
        at = _milliseconds(event)
        if event["kind"] == "start":
            parent = Parent(event["scale"], DataSet(**event["data"]), event["params"], event["tags"])
            source = Source(**event["source"])
            if record is None:
                record = Record(parent, source, at, at)
            record.parent, record.source, record.state = parent, source, None
        if record is None:
            continue
        record.until = at
        match event["kind"]:
            case "run":
                record.runs[_signature(event)] = RecordedRun(
                    RunSpec.from_json(event["spec"]),
                    event["name"],
                    event["metric"],
                    event["tags"],
                    Source(**event["source"]),
                    "running",
                )
            case "settled" if event["signature"] in record.runs:
                record.runs[event["signature"]].state = event["state"]
            case "published":
                fields = {name: event[name] for name in ("metrics", "tags", "summary")}
                files = [work_dir / file for file in event["files"]]  # absolute ones stay what they are
                record.publications.append(Publication(**fields, files=files, at=at))
            case "closed":
                record.state = event["state"]
    return record


def _tracked(work_dir: Path, experiment: str) -> Path:
    return work_dir / "experiments" / experiment / "tracked"


def _signature(event: Mapping[str, Any]) -> str:
    return str(event["signature"])


def _place(event: Mapping[str, Any]) -> str:
    return json.dumps([event["name"], event["metric"], event["tags"]], sort_keys=True)


def _milliseconds(event: Mapping[str, Any]) -> int:
    return round(float(event["time"]) * 1000)  # a float of seconds may lie just below its millisecond


def _portable(file: Path, work_dir: Path) -> str:
    file, root = file.resolve(), work_dir.resolve()
    return str(file.relative_to(root) if file.is_relative_to(root) else file)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "unknown"

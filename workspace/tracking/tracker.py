"""The orchestrator's tracker: told what should be tracked, it brings the MLflow store there in the background.

Its methods note down what is wanted and return at once. One thread compares that with what the store has, ships the
difference, and starts over: after a pause, when something new is wanted, or, with growing pauses, when the store did
not answer. Nothing about shipping is kept on disk: the store itself says what it has, so a killed orchestrator, a
lost answer or another machine leave nothing to mend.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workspace.spec import RunSpec, run_folder
from workspace.tracking.fields import DataSet
from workspace.tracking.points import Points
from workspace.tracking.runs import Publication, Runs, State, last_steps, state_of
from workspace.tracking.store import check_uri, connect, is_refusal, redact

if TYPE_CHECKING:
    from mlflow import MlflowClient

_log = logging.getLogger(__name__)
_LONGEST_PAUSE = 30.0
_LONGEST_MESSAGE = 200


@dataclass
class _Parent:
    scale: str
    data: DataSet
    params: dict[str, str]
    tags: dict[str, str]


@dataclass
class _Child:
    """A run to track. The orchestrator sets ``tags`` and ``wanted``; what stands below is the thread's."""

    spec: RunSpec
    folder: Path
    name: str
    tags: dict[str, str]
    wanted: State
    points: Points
    run_id: str = ""
    described: dict[str, str] | None = None
    shown: str | None = None
    refused: bool = False

    @property
    def is_done(self) -> bool:
        return self.refused or (self.wanted != "running" and self.shown == self.wanted and self.described == self.tags)


class Tracker:
    """Tracks one experiment: a parent run, and a nested child for each of its training runs.

    No method waits for the store, except :meth:`close`, and none raises what goes wrong there: a store that does not
    answer costs one warning in the log, and what it missed is shipped when it answers, or on the next start.

    Args:
        uri: of the MLflow store, a database or a server.
        experiment: name of the MLflow experiment.
        work_dir: holds the run folders, and the artifacts where the URI names a database.
        commit: git commit of the code.
        interval: seconds between two looks at the journals.
        patience: seconds that :meth:`close` waits for a store that takes nothing.

    Raises:
        UserError: the URI names no database and no server.
    """

    def __init__(
        self,
        uri: str,
        experiment: str,
        work_dir: Path,
        *,
        commit: str | None = None,
        interval: float = 2.0,
        patience: float = 20.0,
    ) -> None:
        check_uri(uri)
        self._uri, self._experiment, self._work_dir, self._commit = uri, experiment, work_dir, commit
        self._interval, self._patience = interval, patience
        self._parent: _Parent | None = None
        self._children: dict[str, _Child] = {}
        self._publications: deque[Publication] = deque()
        self._changes = threading.Condition()
        self._changed = False
        self._closing: State | None = None
        self._closed = False
        self._given_up = False
        self._is_down = False
        self._trouble: str | None = None
        self._last_progress = time.monotonic()
        self._client: MlflowClient | None = None
        self._runs: Runs | None = None
        self._parent_id = ""
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)

    def start(self, *, scale: str, data: DataSet, params: Mapping[str, Any], tags: Mapping[str, Any]) -> None:
        """Begins, or goes on with, the experiment at that scale on that data.

        Args:
            params: what never changes between two starts; what may (number of trials, seeds) belongs in ``tags``.
        """
        self._parent = _Parent(scale, data, _text(params), _text(tags))
        self._thread.start()

    def follow(self, spec: RunSpec, *, name: str, metric: str, tags: Mapping[str, Any]) -> None:
        """Ships the journal of that run from now on; also one that is to be continued, or was finished long ago.

        Args:
            metric: MMDetection's key of the AP that judges the run.
        """
        assert self._parent is not None, "start() comes first"
        with self._changing():
            child = self._children.get(spec.signature)
            if child is None:
                folder = run_folder(self._work_dir, spec)
                child = _Child(spec, folder, name, {}, "running", Points(folder, metric))
                self._children[spec.signature] = child
            child.tags = {**child.tags, **_text(tags)}
            child.wanted = "running"

    def settle(self, signature: str, state: State) -> None:
        """The run is over: ships the rest of its journal and its files, and ends it."""
        with self._changing():
            self._children[signature].wanted = state

    def publish(self, publication: Publication) -> None:
        """Shows something on the parent run.

        Raises:
            FileNotFoundError: one of its files does not exist.
        """
        for file in publication.files:
            if not file.exists():
                raise FileNotFoundError(file)
        with self._changing():
            self._publications.append(publication)

    def close(self, state: State) -> None:
        """Ends the parent run and waits until all is shipped, or until the store took nothing for ``patience``."""
        if self._parent is None:
            return
        self._progressed()
        with self._changing():
            self._closing = state
        while self._thread.is_alive() and time.monotonic() - self._last_progress < self._patience:
            self._thread.join(timeout=0.1)
        with self._changing():
            self._given_up = True
        if self.unshipped:
            _log.warning("%s", self.unshipped)

    @property
    def unshipped(self) -> str | None:
        """After :meth:`close`: what the store does not have, in one line, or ``None`` when it has everything."""
        with self._changes:
            refused = sum(child.refused for child in self._children.values())
            missing = refused if self._closed else refused + sum(not c.is_done for c in self._children.values())
        if self._closed and not missing:
            return None
        what = f"{missing} of {len(self._children)} runs" if missing else "the experiment's end"
        why = f" ({self._trouble})" if self._trouble else ""
        return f"tracking: {redact(self._uri)} lacks {what}{why}; the work folder keeps it for the next start"

    def _work(self) -> None:
        pause = 1.0
        while not self._given_up:
            try:
                self._pass()
            except Exception as error:
                if is_refusal(error):
                    self._warn("does not track this experiment", error)
                    return
                if not self._is_down:
                    self._warn("cannot be reached; training goes on, its runs are shipped when it answers", error)
                self._is_down = True
                self._rest(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            if self._closed:
                return
            if self._is_down:
                _log.info("tracking: %s answers again", redact(self._uri))
                self._is_down, self._trouble, pause = False, None, 1.0
            with self._changes:
                self._changes.wait_for(lambda: self._changed, timeout=self._interval)

    def _pass(self) -> None:
        """Brings the store to where it should be now. Whatever it raises, the next pass can start from anywhere."""
        with self._changes:
            self._changed = False
            closing = self._closing
            children = [child for child in self._children.values() if not child.is_done]
        if self._runs is None:
            self._runs = self._open()
        for child in children:
            try:
                self._bring_up_to_date(self._runs, child)
            except Exception as error:
                if not is_refusal(error):
                    raise
                child.refused = True
                self._warn(f"refuses the run {child.name!r}", error)
        while self._publications:
            try:
                self._runs.publish(self._parent_id, self._publications[0])
            except Exception as error:
                if not is_refusal(error):
                    raise
                self._warn("refuses a part of the experiment's results", error)
            self._publications.popleft()
        if closing is not None:
            self._runs.close(self._parent_id, closing)
            self._closed = True

    def _open(self) -> Runs:
        parent = self._parent
        assert parent is not None
        if self._client is None:
            self._client = connect(self._uri)
            self._progressed()  # once: making a client is no sign of life from a server
        runs = Runs(
            self._client, self._uri, self._experiment, self._work_dir, commit=self._commit, progress=self._progressed
        )
        name = f"{self._experiment} {parent.scale}"
        self._parent_id = runs.parent(
            name=name, scale=parent.scale, data=parent.data, params=parent.params, tags=parent.tags
        )
        return runs

    def _bring_up_to_date(self, runs: Runs, child: _Child) -> None:
        assert self._parent is not None
        with self._changes:
            wanted, tags = child.wanted, child.tags
        child.points.read()
        if child.described != tags:
            run = runs.child(
                self._parent_id,
                child.spec,
                name=child.name,
                data=self._parent.data,
                tags=tags,
                start_time=child.points.started,
            )
            child.points.stored(last_steps(run))
            child.run_id, child.shown, child.described = run.info.run_id, state_of(run), tags
        if wanted == child.shown != "running":
            return
        due = child.points.due(complete=wanted != "running")
        if due and child.shown != "running":
            runs.reopen(child.run_id)
            child.shown = "running"
        runs.ship(child.run_id, child.points, due)
        if wanted != "running":
            try:
                runs.upload(child.run_id, child.folder)
            except Exception as error:
                if not is_refusal(error):
                    raise
                self._warn(f"refuses the files of the run {child.name!r}", error)
            runs.settle(child.run_id, wanted, child.folder, child.points)
            child.shown = wanted

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with self._changes:
            yield
            self._changed = True
            self._changes.notify()

    def _rest(self, pause: float) -> None:
        """Waits out a store that does not answer; a close cuts the pause short, once."""
        with self._changes:
            if self._closing is None:
                self._changes.wait_for(lambda: self._closing is not None, timeout=pause)
            else:
                self._changes.wait_for(lambda: self._given_up, timeout=1.0)

    def _progressed(self) -> None:
        self._last_progress = time.monotonic()

    def _warn(self, what: str, error: Exception) -> None:
        said = str(error).strip().splitlines()
        # SQLAlchemy puts a remark on its own session before the reason.
        lines = [line for line in said if not line.startswith("(raised as")] or [type(error).__name__]
        self._trouble = redact(lines[0])[:_LONGEST_MESSAGE]
        _log.warning("tracking: %s %s: %s", redact(self._uri), what, self._trouble)


def _text(values: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in values.items()}

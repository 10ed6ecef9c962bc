"""The orchestrator's tracker: told what should be tracked, it brings the MLflow store there in the background.

Its methods note down what is wanted, in the work folder too, and return at once. One thread compares that with what
the store has, ships the difference, and starts over: after a pause, when something new is wanted, or, with growing
pauses, when the store did not answer. Nothing about shipping is kept on disk: the store itself says what it has, so a
killed orchestrator, a lost answer or another machine leave nothing to mend. What was wanted is
(:mod:`workspace.tracking.record`), for :mod:`workspace.tracking.sync`.
"""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workspace.redaction import redact
from workspace.spec import RunSpec, run_folder
from workspace.tracking.fields import DataSet
from workspace.tracking.points import Points
from workspace.tracking.record import Parent, Publication, RecordWriter, State, now
from workspace.tracking.runs import Runs
from workspace.tracking.store import check_uri, connect, is_refusal, reason_of
from workspace.tracking.tracked import TrackedRun

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_log = logging.getLogger(__name__)
_LONGEST_PAUSE = 30.0

_MANY = 50
"""New runs in a pass above which the store is asked for all that it has, by the page, and not for each."""


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
        self._parent: Parent | None = None
        self._record: RecordWriter | None = None
        self._children: dict[str, TrackedRun] = {}  # that the store may lack something of
        self._followed: set[str] = set()  # signatures of all: of a run that the store has, no more is kept
        self._publications: deque[Publication] = deque()
        self._changes = threading.Condition()
        self._changed = False
        self._closing: tuple[State, int] | None = None
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

        Raises:
            OSError: the work folder cannot be written to, as also from the methods below.
        """
        self._parent = Parent(scale, data, _text(params), _text(tags))
        self._record = RecordWriter(self._work_dir, self._experiment, self._parent, commit=self._commit)
        self._thread.start()

    def follow(self, spec: RunSpec, *, name: str, metric: str, tags: Mapping[str, Any]) -> None:
        """Ships the journal of that run from now on; also one that is to be continued, or was finished long ago.

        Args:
            metric: MMDetection's key of the AP that judges the run.
        """
        assert self._record is not None, "start() comes first"
        if spec.signature in self._followed:
            name, known = self._record.place(spec.signature)
            tags = {**known, **tags}
        tags = _text(tags)
        source = self._record.follow(spec, name=name, metric=metric, tags=tags)
        with self._changing():
            child = self._children.get(spec.signature)
            if child is None:
                folder = run_folder(self._work_dir, spec)
                child = TrackedRun(spec, folder, name, source, Points(folder, metric), tags)
                self._children[spec.signature] = child
                self._followed.add(spec.signature)
            child.tags, child.wanted = tags, "running"

    def settle(self, signature: str, state: State) -> None:
        """The run is over: ships the rest of its journal and its files, and ends it."""
        assert self._record is not None, "start() comes first"
        self._record.settle(signature, state)
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
        assert self._record is not None, "start() comes first"
        self._record.publish(publication)
        with self._changing():
            self._publications.append(publication)

    def close(self, state: State) -> None:
        """Ends the parent run and waits until all is shipped, or until the store took nothing for ``patience``.

        Who interrupts does not wait longer than that in all, however much there is to ship.
        """
        if self._record is None:
            return
        self._progressed()
        at = now()
        self._record.close(state, at)
        with self._changing():
            self._closing = state, at
        waits_until = time.monotonic() + self._patience if state == "interrupted" else math.inf
        while self._thread.is_alive() and time.monotonic() < min(waits_until, self._last_progress + self._patience):
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
        what = f"{missing} of {len(self._followed)} runs" if missing else "the experiment's end"
        why = f" ({self._trouble})" if self._trouble else ""
        return (
            f"tracking: {redact(self._uri)} lacks {what}{why}; the work folder keeps it for the next start "
            "or `python -m workspace sync`"
        )

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
            # Let go of one by one: what was read of a run is many times what is kept of it until then.
            due = {signature: child for signature, child in self._children.items() if not child.is_done}
        if self._runs is None:
            self._runs = self._open()
        if sum(not child.run_id for child in due.values()) > _MANY:
            for run in self._runs.children(self._parent_id):
                child = due.get(run.data.tags["signature"])
                if child is not None and not child.run_id:
                    self._bring_up_to_date(self._runs, child, run)
                    if child.is_done:
                        del due[child.spec.signature]
        for signature in list(due):
            self._bring_up_to_date(self._runs, due.pop(signature))
        while self._publications:
            try:
                self._runs.publish(self._parent_id, self._publications[0])
            except Exception as error:
                if not is_refusal(error):
                    raise
                self._warn("refuses a part of the experiment's results", error)
            self._publications.popleft()
        if closing is not None:
            self._runs.interrupt(self._parent_id)
            self._runs.close(self._parent_id, *closing)
            self._closed = True

    def _open(self) -> Runs:
        parent = self._parent
        assert parent is not None
        assert self._record is not None
        if self._client is None:
            self._client = connect(self._uri)
            self._progressed()  # once: making a client is no sign of life from a server
        runs = Runs(self._client, self._uri, self._experiment, self._work_dir, progress=self._progressed)
        run = runs.parent(parent, start_time=self._record.started)
        runs.describe_parent(run, parent, self._record.source)
        runs.reopen(run.info.run_id)
        self._parent_id = run.info.run_id
        return runs

    def _bring_up_to_date(self, runs: Runs, child: TrackedRun, found: "Run | None" = None) -> None:
        assert self._parent is not None
        with self._changes:
            wanted, tags = child.wanted, child.tags
        try:
            child.bring_up_to_date(
                runs,
                self._parent_id,
                self._parent.data,
                wanted=wanted,
                tags=tags,
                refused=lambda what, error: self._warn(f"refuses {what}", error),
                found=found,
            )
        except Exception as error:
            if not is_refusal(error):
                raise
            child.refused = True
            self._warn(f"refuses the run {child.name!r}", error)
        with self._changes:
            if child.is_done and not child.refused:
                del self._children[child.spec.signature]

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
        self._trouble = reason_of(error)
        _log.warning("tracking: %s %s: %s", redact(self._uri), what, self._trouble)


def _text(values: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in values.items()}

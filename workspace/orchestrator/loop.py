"""The loop that plays an experiment: starts runs, follows their journals, decides, and tells study and tracker.

Only this process speaks with Optuna and MLflow. Everything it decides from is on disk (results, journals, the
study), so starting again after any end goes on where that was: finished runs are reused, interrupted ones continued.
"""

import itertools
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from workspace.errors import UserError
from workspace.execution import Ended, Executor
from workspace.journal import Event, JournalReader, device_seconds
from workspace.orchestrator.conditions import Conditions
from workspace.orchestrator.failures import Failure, record_failure
from workspace.orchestrator.plan import Job
from workspace.orchestrator.promotion import settle_cheap
from workspace.orchestrator.runs import RunRecord, run_state, tidy
from workspace.orchestrator.slots import Slots
from workspace.search import Study
from workspace.spec import FAILURE, RunSpec, run_folder
from workspace.tracking import Tracker

Settled = Literal["finished", "pruned", "failed"]

_log = logging.getLogger(__name__)
_POLL_SECONDS = 0.2

_RESTARTS = 2
"""How often a run that was killed is started again before it counts as failed."""

_RETRIES = 1
"""How often one is that failed by itself, where that can help."""

KEPT = "everything else is kept, the same command tries it again"
_MAKE_ROOM = "make room on the disk; nothing is lost, the same command goes on from here"


class Display(Protocol):
    """Where progress is shown."""

    def started(self, job: Job, steps: int) -> None: ...
    def stepped(self, job: Job, step: int) -> None: ...
    def ended(self, job: Job, state: str, ap: float | None) -> None: ...


@dataclass
class _Active:
    job: Job
    journal: JournalReader
    slot: int | None = None
    avoids: int | None = None
    cancelled: bool = False
    kills: int = 0
    retries: int = 0

    def may_go_on(self, failure: Failure) -> bool:
        """Counts the failure; whether another attempt is made."""
        if failure.cause == "killed":
            self.kills += 1
            return self.kills <= _RESTARTS
        self.retries += 1
        return failure.may_pass and self.retries <= _RETRIES


@dataclass
class Loop:
    """One playing of an experiment's jobs, whatever the experiment asks.

    Attributes:
        launch: starts a run's worker on the executor, given its job id, spec, folder and device slot.
        place: names the devices of a slot; ``None`` where slots have none of their own, so that none is set aside.
        study: that jobs with a trial belong to.
        keeps_going: whether the other runs of the arms are trained when one has failed, which then stands in
            ``failures``; else that ends the playing.
        trained, reused: runs of this playing, by whether they were trained now or found finished.
        records: finished runs by signature; trials that were pruned or failed have none.
        failures: by name of the run, why it failed and where its log is.
    """

    conditions: Conditions
    work_dir: Path
    executor: Executor
    slots: int
    launch: Callable[[str, RunSpec, Path, int], None]
    place: Callable[[int], str] | None
    tracker: Tracker
    study: Study | None
    display: Display
    keeps_going: bool = False
    trained: int = 0
    reused: int = 0
    records: dict[str, RunRecord] = field(default_factory=dict)
    folders: dict[str, Path] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    _active: dict[str, _Active] = field(default_factory=dict)
    _again: list[_Active] = field(default_factory=list)
    _promoted: deque[Job] = field(default_factory=deque)
    _slots: Slots = field(init=False)

    def __post_init__(self) -> None:
        self._slots = Slots(self.slots)

    def play(self, jobs: Iterator[Job]) -> None:
        """Trains what the iterator yields, as slots come free, until it is exhausted and all have ended.

        The iterator is asked for its next job only when a slot is free, so a search asks for its next trial with all
        finished ones known. The full run of a trial that its cheap run promotes comes before what it has next.

        Raises:
            UserError: a run of an arm failed, and the loop does not keep going; the disk is full; or no device is left.
        """
        exhausted = False
        while True:
            for active in list(self._again):
                if self._slots.any_free_but(active.avoids):
                    self._again.remove(active)
                    self._launch(active)
            while self._slots.any_free and (self._promoted or not exhausted):
                job = self._promoted.popleft() if self._promoted else next(jobs, None)
                if job is None:
                    exhausted = True
                else:
                    self._begin(job)
            if not self._active:
                if exhausted and not self._again:
                    return
                continue
            ended = self.executor.wait(_POLL_SECONDS)
            for active in list(self._active.values()):
                self._follow(active)
            for end in ended:
                self._end(end)

    def recall(self, job: Job, state: Settled) -> None:
        """A trial's run of a past start: part of this experiment's cost; what the tracking store missed is shipped."""
        self.folders[job.spec.signature] = folder = run_folder(self.work_dir, job.spec)
        tidy(folder, goes_on=False)
        self._track(job)
        self.tracker.settle(job.spec.signature, state)
        self.reused += 1

    def ap(self, jobs: Iterable[Job]) -> dict[int, float]:
        """AP in points by seed, of one arm's first runs, up to one that is not finished."""
        finished = itertools.takewhile(lambda job: job.spec.signature in self.records, jobs)
        return {job.spec.seed: self.records[job.spec.signature].ap for job in finished}

    def device_seconds(self) -> float:
        """Of all runs of this experiment, pruned and failed ones too, over all devices, whenever they were trained."""
        return self.conditions.devices * sum(device_seconds(folder) for folder in self.folders.values())

    def _begin(self, job: Job) -> None:
        signature = job.spec.signature
        if signature in self.records:  # the default recipe won, or two arms of one precision are both searched for
            ap = self.records[signature].ap
            if job.trial is not None:
                self._take(job, ap)
            self.tracker.follow(job.spec, name=job.name, metric=job.metric, tags={"also": job.arm})
            self.tracker.settle(signature, "finished")
            self.display.ended(job, "finished", ap)
            return
        folder = run_folder(self.work_dir, job.spec)
        self.folders[signature] = folder
        self._track(job)
        active = _Active(job, JournalReader(folder))
        self.display.started(job, self.conditions.steps(job.spec))
        if self._follow(active):
            self._settle(active, "pruned")
        elif run_state(folder) == "finished":
            self.reused += 1
            self._settle(active, "finished")
        else:
            self.trained += 1
            self._launch(active)

    def _launch(self, active: _Active) -> None:
        """Starts the run, or starts it again, on another device than one that failed if there is one."""
        spec = active.job.spec
        active.slot = self._slots.take(other_than=active.avoids)
        self._active[spec.signature] = active
        self.launch(spec.signature, spec, self.folders[spec.signature], active.slot)

    def _track(self, job: Job) -> None:
        tags: dict[str, Any] = {"phase": job.phase, "arm": job.arm}
        if job.trial is not None:
            tags["trial"] = job.trial
        self.tracker.follow(job.spec, name=job.name, metric=job.metric, tags=tags)

    def _follow(self, active: _Active) -> bool:
        """Takes in a run's new events; whether the run is to be pruned for them."""
        for event in active.journal.read():
            if event["kind"] == "step":
                self.display.stepped(active.job, event["step"])
            elif event["kind"] == "eval" and self._prunes(active, event):
                active.cancelled = True
                self.executor.cancel(active.job.spec.signature)
                return True
        return active.cancelled

    def _prunes(self, active: _Active, event: Event) -> bool:
        job = active.job
        if job.trial is None or job.full is not None or active.cancelled:
            return False
        assert self.study is not None
        value = 100 * event["metrics"][job.metric]
        prune = self.study.report(job.trial, event["epoch"], value)
        return prune and event["epoch"] < job.spec.epochs

    def _end(self, end: Ended) -> None:
        active = self._active.pop(end.job_id)
        assert active.slot is not None
        self._slots.give_back(active.slot)
        self._follow(active)
        folder = self.folders[end.job_id]
        if active.cancelled or run_state(folder) == "finished":
            self._slots.worked(active.slot)
            self._settle(active, "pruned" if active.cancelled else "finished")
        else:
            self._fail(active, active.slot, Failure.of(folder, end))

    def _fail(self, active: _Active, slot: int, failure: Failure) -> None:
        """Tries the run again where that can help; it is recorded in any case, for whoever looks."""
        job, signature = active.job, active.job.spec.signature
        place = self.place(slot) if self.place else "the cluster"
        if failure.cause == "disk":
            raise UserError(f"{job.name} stopped: {failure.reason}; {_MAKE_ROOM}")
        goes_on = active.may_go_on(failure)
        try:
            record_failure(self.folders[signature], failure, attempts=active.kills + active.retries, place=place)
        except OSError as error:
            raise UserError(f"{job.name} stopped: {error}; {_MAKE_ROOM}") from error
        if failure.cause == "device" and self.place and self._slots.failed(slot, signature):
            _log.warning("%s is set aside, two runs in a row failed there; the last one: %s", place, failure.reason)
            if not self._slots.any_left:
                raise UserError(f"no device is left to train on; the last one, {place}: {failure.reason}; {KEPT}")
        if goes_on:
            _log.warning("%s failed on %s and is tried again: %s", job.name, place, failure.reason)
            active.avoids = slot if failure.cause == "device" else None
            self._again.append(active)
        else:
            self._settle(active, "failed", reason=failure.reason)

    def _settle(self, active: _Active, state: Settled, reason: str = "") -> None:
        job, signature = active.job, active.job.spec.signature
        tidy(self.folders[signature], goes_on=state == "failed" and job.trial is None)
        if state != "failed":
            (self.folders[signature] / FAILURE).unlink(missing_ok=True)  # of an attempt before
        ap = None
        if state == "finished":
            self.records[signature] = record = RunRecord.load(self.folders[signature])
            ap = record.ap
        if job.trial is not None:
            assert self.study is not None
            if state == "finished":
                assert ap is not None
                self._take(job, ap)
            elif state == "pruned":
                self.study.prune(job.trial)
            else:
                self.study.fail(job.trial, reason)
        self.tracker.settle(signature, state)
        self.display.ended(job, state, ap)
        if state == "failed" and job.trial is None:
            self.failures[job.name] = f"{reason}; its log is {self.folders[signature] / 'log.txt'}"
            if not self.keeps_going:
                raise UserError(f"{job.name} failed: {self.failures[job.name]}; {KEPT}")

    def _take(self, job: Job, ap: float) -> None:
        """A run of a trial has its AP: of a cheap one, that decides on the full run."""
        assert self.study is not None
        assert job.trial is not None
        if job.full is None:
            self.study.finish(job.trial, ap)
        elif (full := settle_cheap(self.study, job, ap)) is not None:
            self._promoted.append(full)

"""The runs of one experiment in an MLflow store: found again, or made; never twice.

Everything here speaks with the store and may raise what MLflow raises; :mod:`workspace.tracking.tracker` decides what
becomes of it.
"""

import getpass
import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from workspace.errors import UserError
from workspace.spec import AUDIT, CONFIG, RESULT, SPEC, RunSpec
from workspace.tracking.fields import DataSet, params_of, tags_of, version_tags
from workspace.tracking.points import Point, Points
from workspace.tracking.store import all_runs, artifact_location, locked

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Run

State = Literal["running", "finished", "failed", "pruned", "interrupted"]

# As in MLflow's own Optuna storage: a pruned trial was stopped, it did not fail.
STATUS: dict[str, str] = {
    "running": "RUNNING",
    "finished": "FINISHED",
    "failed": "FAILED",
    "pruned": "KILLED",
    "interrupted": "KILLED",
}

RUN_FILES = (SPEC, CONFIG, AUDIT, RESULT)
PARENT = "mlflow.parentRunId"
_NOTE, _USER, _COMMIT = "mlflow.note.content", "mlflow.user", "mlflow.source.git.commit"
_SOURCE_NAME, _SOURCE_TYPE = "mlflow.source.name", "mlflow.source.type"
_BATCH = 1000  # metrics that MLflow takes in a call


@dataclass(frozen=True, kw_only=True)
class Publication:
    """What an experiment as a whole has to show.

    Attributes:
        summary: Markdown, shown first on the parent's page.
        files: uploaded under their own names.
        documents: artifact name to text, or to what is written as JSON.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    summary: str = ""
    files: Sequence[Path] = ()
    documents: Mapping[str, str | Mapping[str, Any]] = field(default_factory=dict)


class Runs:
    """The parent run of an experiment and its nested children.

    Args:
        experiment: name of the MLflow experiment, made if it is new.
        commit: git commit of the code that trains.
        progress: called whenever the store has taken something.

    Raises:
        UserError: the experiment was deleted, and MLflow keeps its name.
    """

    def __init__(
        self,
        client: "MlflowClient",
        uri: str,
        experiment: str,
        work_dir: Path,
        *,
        commit: str | None,
        progress: Callable[[], None],
    ) -> None:
        self._client = client
        self._lock = work_dir / "mlflow" / ".runs.lock"
        self._progress = progress
        self._source = {_USER: _user(), _SOURCE_NAME: experiment, _SOURCE_TYPE: "LOCAL"}
        if commit:
            self._source[_COMMIT] = commit
        with locked(self._lock):
            found = client.get_experiment_by_name(experiment)
            if found and found.lifecycle_stage == "deleted":
                raise UserError(
                    f"MLflow experiment {experiment!r} was deleted there: bring it back with "
                    f"`mlflow experiments restore -x {found.experiment_id}` or remove it for good with `mlflow gc`"
                )
            self._experiment_id = (
                found.experiment_id if found else client.create_experiment(experiment, artifact_location(uri, work_dir))
            )

    def parent(
        self, *, name: str, scale: str, data: DataSet, params: Mapping[str, str], tags: Mapping[str, str]
    ) -> str:
        """Finds or makes the experiment's run at that scale, on that data, with those params; reopens it.

        Returns:
            Its id. Other params are another question, and have a parent of their own.
        """
        question = hashlib.sha256(json.dumps(dict(params), sort_keys=True).encode()).hexdigest()[:8]
        identity = {"kind": "experiment", "scale": scale, "data_digest": data.digest, "question": question}
        run = self._find_or_create(identity, name=name, start_time=None)
        self._describe(run, params, {**self._source, **tags, "state": "running"}, data.as_input("eval"))
        self._set_status(run.info.run_id, "running")
        return str(run.info.run_id)

    def child(
        self, parent: str, spec: RunSpec, *, name: str, data: DataSet, tags: Mapping[str, str], start_time: int | None
    ) -> "Run":
        """Finds or makes the run of that spec under that parent. A new one is running; an old one keeps its state.

        Args:
            start_time: of a new one, in milliseconds since the epoch; ``None`` for now.
        """
        identity = {"kind": "run", PARENT: parent, "signature": spec.signature}
        run = self._find_or_create(identity, name=name, start_time=start_time)
        described = {**self._source, **tags_of(spec), **tags}
        self._describe(run, params_of(spec), described, data.as_input(spec.data.evaluate))
        return run

    def reopen(self, run_id: str) -> None:
        """A run that was over goes on."""
        self._client.set_tag(run_id, "state", "running")
        self._set_status(run_id, "running")

    def ship(self, run_id: str, points: Points, due: Sequence[Point]) -> None:
        """Sends points in batches, and tells ``points`` of each batch that the store has taken."""
        from mlflow.entities import Metric

        for first in range(0, len(due), _BATCH):
            batch = due[first : first + _BATCH]
            self._client.log_batch(run_id, metrics=[Metric(p.name, p.value, p.timestamp, p.step) for p in batch])
            points.stored({p.name: p.step for p in batch})
            self._progress()

    def upload(self, run_id: str, folder: Path) -> None:
        """Sends the files of a run that are worth keeping beside its curves."""
        for name in RUN_FILES:
            if (folder / name).exists():
                self._client.log_artifact(run_id, str(folder / name))
                self._progress()

    def settle(self, run_id: str, state: State, folder: Path, points: Points) -> None:
        """Ends a run: what its result says of cost and versions, why it failed, its state."""
        from mlflow.entities import Metric, RunTag

        result = _read_json(folder / RESULT) if state == "finished" else {}
        tags = {**version_tags(result), "state": state}
        if state == "failed" and points.reason:
            tags["reason"] = points.reason
        metrics = []
        if "seconds" in result and points.ended is not None:
            metrics.append(Metric("seconds", float(result["seconds"]), points.ended, points.last_step))
        self._client.log_batch(run_id, metrics=metrics, tags=[RunTag(key, value) for key, value in tags.items()])
        self._set_status(run_id, state, end_time=points.ended)

    def publish(self, parent: str, publication: Publication) -> None:
        """Puts it on the parent; what stands there already is not told twice."""
        from mlflow.entities import Metric, RunTag

        shown = self._client.get_run(parent).data.metrics
        now = int(time.time() * 1000)
        metrics = [
            Metric(name, value, now, 0)
            for name, value in publication.metrics.items()
            if name not in shown or not _equal(shown[name], value)
        ]
        tags = dict(publication.tags)
        if publication.summary:
            tags[_NOTE] = publication.summary
        self._client.log_batch(parent, metrics=metrics, tags=[RunTag(k, v) for k, v in tags.items()])
        for file in publication.files:
            self._client.log_artifact(parent, str(file))
            self._progress()
        for name, content in publication.documents.items():
            text = content if isinstance(content, str) else json.dumps(content, indent=1)
            self._client.log_text(parent, text, name)
            self._progress()

    def close(self, parent: str, state: State) -> None:
        """Ends the parent; children that nothing ended are interrupted."""
        for run in self._search({"kind": "run", PARENT: parent, "state": "running"}):
            self._client.set_tag(run.info.run_id, "state", "interrupted")
            self._set_status(run.info.run_id, "interrupted")
        self._client.set_tag(parent, "state", state)
        self._set_status(parent, state)

    def _find_or_create(self, identity: Mapping[str, str], *, name: str, start_time: int | None) -> "Run":
        with locked(self._lock):
            found = self._search(identity)
            if found:
                return found[0]
            tags = {**identity, "state": "running"}
            return self._client.create_run(self._experiment_id, start_time=start_time, tags=tags, run_name=name)

    def _search(self, tags: Mapping[str, str]) -> "list[Run]":
        """Runs that have all these tags, the oldest first."""
        condition = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
        return list(all_runs(self._client, self._experiment_id, condition))

    def _describe(self, run: "Run", params: Mapping[str, str], tags: Mapping[str, str], data: "DatasetInput") -> None:
        """Adds what the run lacks; MLflow never changes a param once it is set."""
        from mlflow.entities import Param, RunTag

        new_params = [Param(key, value) for key, value in params.items() if key not in run.data.params]
        new_tags = [RunTag(key, value) for key, value in tags.items() if run.data.tags.get(key) != value]
        if new_params or new_tags:
            self._client.log_batch(run.info.run_id, params=new_params, tags=new_tags)
        if run.inputs is None or not run.inputs.dataset_inputs:
            self._client.log_inputs(run.info.run_id, [data])
        self._progress()

    def _set_status(self, run_id: str, state: State, *, end_time: int | None = None) -> None:
        if state == "running":
            self._client.update_run(run_id, status=STATUS[state])
        else:
            self._client.set_terminated(run_id, STATUS[state], end_time)
        self._progress()


def state_of(run: "Run") -> str | None:
    """The state that a run shows, or ``None`` where tag and status contradict each other (a kill between the two)."""
    state = run.data.tags.get("state", "")
    return state if STATUS.get(state) == run.info.status else None


def last_steps(run: "Run") -> dict[str, int]:
    """The last step that the store has of each metric of a run."""
    return {metric.key: metric.step for metric in run.data.to_proto().metrics}


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "unknown"


def _equal(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))


def _read_json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text())) if path.exists() else {}

"""The runs of one experiment in an MLflow store: found again, or made; never twice.

Everything here speaks with the store and may raise what MLflow raises; :mod:`workspace.tracking.tracker` decides what
becomes of it.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workspace.errors import UserError
from workspace.spec import AUDIT, CONFIG, FAILURE, RESULT, SPEC, RunSpec
from workspace.tracking.fields import DataSet, params_of, tags_of, version_tags
from workspace.tracking.points import Point, Points
from workspace.tracking.record import Parent, Publication, Source, State
from workspace.tracking.store import all_runs, artifact_location, locked

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Run

# As in MLflow's own Optuna storage: a pruned trial was stopped, it did not fail.
STATUS: dict[str, str] = {
    "running": "RUNNING",
    "finished": "FINISHED",
    "failed": "FAILED",
    "pruned": "KILLED",
    "interrupted": "KILLED",
}

RUN_FILES = (SPEC, CONFIG, AUDIT, RESULT, FAILURE)
PARENT = "mlflow.parentRunId"
UNTIL = "recorded_until"
_NOTE, _USER, _COMMIT = "mlflow.note.content", "mlflow.user", "mlflow.source.git.commit"
_SOURCE_NAME, _SOURCE_TYPE = "mlflow.source.name", "mlflow.source.type"
_BATCH = 1000  # metrics that MLflow takes in a call


class Runs:
    """The parent run of an experiment and its nested children.

    Args:
        experiment: name of the MLflow experiment, made if it is new.
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
        progress: Callable[[], None],
    ) -> None:
        self._client = client
        self._lock = work_dir / "mlflow" / ".runs.lock"
        self._progress = progress
        self._experiment = experiment
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

    def parent(self, parent: Parent, *, start_time: int) -> "Run":
        """Finds or makes the experiment's run at that scale, on that data, with those params; its state stays.

        Args:
            start_time: of a new one, in milliseconds since the epoch.
        """
        identity = {
            "kind": "experiment",
            "scale": parent.scale,
            "data_digest": parent.data.digest,
            "question": parent.question,
        }
        return self._find_or_create(identity, name=f"{self._experiment} {parent.scale}", start_time=start_time)

    def describe_parent(self, run: "Run", parent: Parent, source: Source) -> None:
        """Adds the params that it lacks, and shows the tags of its last start."""
        self._describe(run, parent.params, {**self._source(source), **parent.tags}, parent.data.as_input("eval"))

    def child(
        self,
        parent: str,
        spec: RunSpec,
        *,
        name: str,
        data: DataSet,
        tags: Mapping[str, str],
        source: Source,
        start_time: int | None,
        found: "Run | None" = None,
    ) -> "Run":
        """Finds or makes the run of that spec under that parent. A new one is running; an old one keeps its state.

        Args:
            start_time: of a new one, in milliseconds since the epoch; ``None`` for now.
            found: the run, where it was found already; see `children`.
        """
        identity = {"kind": "run", PARENT: parent, "signature": spec.signature}
        run = found or self._find_or_create(identity, name=name, start_time=start_time)
        described = {**self._source(source), **tags_of(spec), **tags}
        self._describe(run, params_of(spec), described, data.seen_by(spec).as_input(spec.data.evaluate))
        return run

    def children(self, parent: str) -> "Iterator[Run]":
        """All runs under that parent, the oldest first."""
        for run in all_runs(self._client, self._experiment_id, f"tags.kind = 'run' and tags.`{PARENT}` = '{parent}'"):
            self._progress()
            yield run

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
        if diverged := result.get("diverged"):
            tags["diverged"] = diverged
        if state == "failed" and (reason := _read_json(folder / FAILURE).get("reason", points.reason)):
            tags["reason"] = reason
        metrics = []
        if "seconds" in result and points.ended is not None:
            metrics.append(Metric("seconds", float(result["seconds"]), points.ended, points.last_step))
        self._client.log_batch(run_id, metrics=metrics, tags=[RunTag(key, value) for key, value in tags.items()])
        self._set_status(run_id, state, end_time=points.ended)

    def publish(self, parent: str, publication: Publication) -> None:
        """Puts it on the parent; what stands there already is not told twice."""
        from mlflow.entities import Metric, RunTag

        shown = self._client.get_run(parent).data.metrics
        metrics = [
            Metric(name, value, publication.at, 0)
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

    def interrupt(self, parent: str) -> None:
        """Children that nothing ended are interrupted."""
        for run in self._search({"kind": "run", PARENT: parent, "state": "running"}):
            self._client.set_tag(run.info.run_id, "state", "interrupted")
            self._set_status(run.info.run_id, "interrupted")

    def close(self, parent: str, state: State, at: int) -> None:
        """Ends the parent; from now on it says that the store has the record up to that time.

        Args:
            at: milliseconds since the epoch, as in the record.
        """
        self._client.set_tag(parent, "state", state)
        self._set_status(parent, state, end_time=at)
        self._client.set_tag(parent, UNTIL, str(at))

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

    def _source(self, source: Source) -> dict[str, str]:
        tags = {_USER: source.user, _SOURCE_NAME: self._experiment, _SOURCE_TYPE: "LOCAL"}
        return {**tags, _COMMIT: source.commit} if source.commit else tags

    def _set_status(self, run_id: str, state: State, *, end_time: int | None = None) -> None:
        if state == "running":
            self._client.update_run(run_id, status=STATUS[state])
        else:
            self._client.set_terminated(run_id, STATUS[state], end_time)
        self._progress()


def known_until(parent: "Run") -> int:
    """Up to when, in milliseconds since the epoch, the store has the record of that parent; 0 before the first end."""
    return int(parent.data.tags.get(UNTIL, 0))


def state_of(run: "Run") -> str | None:
    """The state that a run shows, or ``None`` where tag and status contradict each other (a kill between the two)."""
    state = run.data.tags.get("state", "")
    return state if STATUS.get(state) == run.info.status else None


def last_steps(run: "Run") -> dict[str, int]:
    """The last step that the store has of each metric of a run."""
    return {metric.key: metric.step for metric in run.data.to_proto().metrics}


def _equal(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))


def _read_json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text())) if path.exists() else {}

"""All that a store holds: in the store's own words, and in those of an experiment."""

import sqlite3
from pathlib import Path
from typing import Any

from workspace.tracking.store import all_runs, connect

_OF_THE_STORE = ("mlflow.parentRunId", "mlflow.runName")


def rows(file: Path) -> list[str]:
    """Every row of every table of an SQLite store."""
    with sqlite3.connect(file) as database:
        return list(database.iterdump())


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def contents(uri: str, folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """By experiment and run: all but the ids, which each store gives for itself, and some times.

    Those of points that were trained again after a kill are of the attempt that was shipped first, and a run that was
    made before its journal began has the time of that.

    Args:
        folder: where files are downloaded to.
    """
    client = connect(uri)
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for experiment in client.search_experiments():
        for run in all_runs(client, experiment.experiment_id, ""):
            info, data = run.info, run.data
            target = folder / info.run_id
            target.mkdir(parents=True)
            names = [artifact.path for artifact in client.list_artifacts(info.run_id)]
            for name in names:
                client.download_artifacts(info.run_id, name, str(target))
            assert run.inputs is not None
            found[experiment.name, str(info.run_name)] = {
                "ended": info.end_time,
                "status": info.status,
                "params": data.params,
                "tags": {name: value for name, value in data.tags.items() if name not in _OF_THE_STORE},
                "child": "mlflow.parentRunId" in data.tags,
                "data": [entry.to_dictionary() for entry in run.inputs.dataset_inputs],
                "points": {
                    name: sorted(
                        (point.step, repr(point.value)) for point in client.get_metric_history(info.run_id, name)
                    )
                    for name in data.metrics
                },
                "files": files(target),
            }
    return found

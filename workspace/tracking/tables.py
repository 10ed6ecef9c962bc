"""Tidy tables of what a tracking store holds: for notebooks, which read them without MLflow."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from workspace.errors import UserError
from workspace.redaction import redact
from workspace.tracking.points import AP
from workspace.tracking.runs import PARENT, last_steps
from workspace.tracking.store import all_runs, connect, explained

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

IDENTITY = ["run_name", "signature", "scale", "phase", "arm", "detector", "precision", "seed", "trial", "state"]
CURVE = ["signature", "arm", "phase", "seed", "step", "metric", "value"]
_ORDER = ["scale", "phase", "arm", "trial", "seed", "signature"]
_NUMBERS = ["seed", "trial"]
_INFINITY = 1.7976931348623157e308  # what MLflow's SQL store keeps for an infinite metric

_RUNS_AT_ONCE, _POINTS_AT_ONCE = 100, 100_000
"""Of which histories are asked for together: the points of full-scale runs do not fit into memory by the hundred."""


def runs_table(uri: str, experiment: str, *, metrics: Sequence[str] = (AP, "seconds")) -> pd.DataFrame:
    """One row for each run of an experiment, the parents left out.

    Columns: ``run_name, signature, scale, phase, arm, detector, precision, seed, trial, state``, the params in
    alphabetical order, and the last value of each of ``metrics``. AP is in points, seconds are of training.

    Raises:
        UserError: the store cannot be read, or has no such experiment, or no run in it.
    """
    with explained(uri):
        client = connect(uri)
        return _runs_table(_children(client, uri, experiment), metrics)


def curves_table(uri: str, experiment: str, *, metrics: Sequence[str], every: int = 1) -> pd.DataFrame:
    """One row for each point of a metric: ``signature, arm, phase, seed, step, metric, value``.

    Args:
        every: keeps one point, the last, of each so many steps; a metric with fewer points keeps them all.

    Raises:
        UserError: the store cannot be read, or has no such experiment, or no run in it.
    """
    with explained(uri):
        client = connect(uri)
        return _curves_table(client, _children(client, uri, experiment), metrics, every)


def write_tables(
    uri: str, experiment: str, folder: Path, *, metrics: Sequence[str], every: int = 1
) -> tuple[Path, Path]:
    """Writes ``<experiment>.runs.csv`` and ``<experiment>.curves.csv``, numbers to 6 digits, in a fixed order.

    Returns:
        The two paths.

    Raises:
        UserError: the store cannot be read, or has no such experiment, or no run in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / f"{experiment}.runs.csv", folder / f"{experiment}.curves.csv"
    with explained(uri):
        client = connect(uri)
        runs = _children(client, uri, experiment)
        tables = _runs_table(runs, (AP, "seconds")), _curves_table(client, runs, metrics, every)
    for table, path in zip(tables, paths, strict=True):
        table.to_csv(path, index=False, float_format="%.6g", lineterminator="\n")
    return paths


def _runs_table(runs: "Sequence[Run]", metrics: Sequence[str]) -> pd.DataFrame:
    rows = []
    names: set[str] = set()
    for run in runs:
        params = {name: value for name, value in run.data.params.items() if name not in IDENTITY}
        names |= params.keys()
        last = {name: _finite_or_inf(run.data.metrics.get(name, float("nan"))) for name in metrics}
        rows += [{**identity, **params, **last} for identity in _identities(run)]
    table = pd.DataFrame(rows, columns=[*IDENTITY, *sorted(names), *metrics])
    for name in [*_NUMBERS, *sorted(names)]:
        table[name] = _numeric(table[name])
    return table.sort_values(_ORDER, ignore_index=True)


def _curves_table(client: "MlflowClient", runs: "Sequence[Run]", metrics: Sequence[str], every: int) -> pd.DataFrame:
    rows = []
    for name in metrics:
        for run, points in _histories(client, runs, name):
            kept = {(point.step - 1) // every: point for point in sorted(points, key=lambda point: point.step)}
            rows += [
                {**identity, "step": point.step, "metric": name, "value": _finite_or_inf(point.value)}
                for identity in _identities(run)
                for point in kept.values()
            ]
    table = pd.DataFrame(rows, columns=CURVE)
    table["seed"] = _numeric(table["seed"])
    return table.sort_values(["phase", "arm", "seed", "signature", "metric", "step"], ignore_index=True)


def _histories(client: "MlflowClient", runs: "Sequence[Run]", name: str) -> "Iterator[tuple[Run, list[Metric]]]":
    """Each run that has the metric, with all of its points; asked for by the hundred where MLflow can be.

    A database answers for many runs at once, as MLflow's own UI asks it; a server's clients ask for each run.
    """
    in_bulk = getattr(client._tracking_client.store, "get_metric_history_bulk", None)
    for batch in _batches(runs, name):
        if in_bulk is None:
            yield from ((run, client.get_metric_history(run.info.run_id, name)) for run in batch)
            continue
        points: dict[str, list[Metric]] = {run.info.run_id: [] for run in batch}
        for point in in_bulk(list(points), name, None):  # no limit, which would cut a history short
            points[point.run_id].append(point)
        yield from ((run, points[run.info.run_id]) for run in batch)


def _batches(runs: "Sequence[Run]", name: str) -> "Iterator[list[Run]]":
    """The runs that have the metric, so many at once as have a bearable number of points."""
    batch: list[Run] = []
    points = 0
    for run in runs:
        if (last := last_steps(run).get(name)) is None:
            continue
        batch.append(run)
        points += last + 1
        if len(batch) == _RUNS_AT_ONCE or points >= _POINTS_AT_ONCE:
            yield batch
            batch, points = [], 0
    if batch:
        yield batch


def _children(client: "MlflowClient", uri: str, experiment: str) -> "list[Run]":
    """Runs of the experiment's latest playing: those at another scale or on other data do not compare with them."""
    found = client.get_experiment_by_name(experiment)
    parents = list(all_runs(client, found.experiment_id, "tags.kind = 'experiment'")) if found else []
    runs: list[Run] = []
    if found and parents:
        latest = max(parents, key=lambda run: run.info.end_time or float("inf"))
        children = all_runs(client, found.experiment_id, "tags.kind = 'run'")
        runs = [run for run in children if run.data.tags.get(PARENT) == latest.info.run_id]
    if not runs:
        raise UserError(f"{redact(uri)} holds no runs of {experiment!r}: name another store, or run the experiment")
    return runs


def _identities(run: "Run") -> "list[dict[str, str | None]]":
    """A run's place in its experiment; two places where the default recipe won and its runs are the tuned arm's too."""
    tags = run.data.tags
    places = [{"run_name": run.info.run_name, **{name: tags.get(name) for name in IDENTITY[1:]}}]
    if "also" in tags:
        name = f"{tags['also']} seed {tags['seed']}"
        places.append({**places[0], "run_name": name, "arm": tags["also"], "phase": "confirm"})
    return places


def _finite_or_inf(value: float) -> float:
    return float("inf") if value >= _INFINITY else float("-inf") if value <= -_INFINITY else value


def _numeric(column: "pd.Series") -> "pd.Series":
    """Numbers where every entry is one; whole ones stay whole beside missing ones."""
    try:
        return pd.to_numeric(column).convert_dtypes()
    except ValueError:
        return column

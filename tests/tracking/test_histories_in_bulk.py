"""Tables read in bulk, in parts and run by run are the same bytes."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tracked_runs import METRIC, START, FakeRun, track

from workspace.tracking import tables

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")  # of MLflow's models


def written(uri: str, folder: Path) -> list[bytes]:
    paths = tables.write_tables(uri, "fcos_fp16_sweep", folder, metrics=("AP", "train/loss", "never/logged"), every=3)
    return [path.read_bytes() for path in paths]


def test_however_many_histories_are_asked_for_at_once(
    uri: str,
    work_dir: Path,
    make_run: Callable[..., FakeRun],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tracker = track(uri, work_dir)
    for seed in range(3):
        run = make_run(seed=seed)
        run.train(1, 10 * seed + 5)
        run.end(at=START + 60)
        tracker.follow(run.spec, name=f"baseline seed {seed}", metric=METRIC, tags={"phase": "p", "arm": "baseline"})
        tracker.settle(run.spec.signature, "finished")
    tracker.close("finished")
    in_bulk = written(uri, tmp_path / "bulk")
    monkeypatch.setattr(tables, "_POINTS_AT_ONCE", 20)
    assert written(uri, tmp_path / "parts") == in_bulk
    # As of a server, whose clients know no such call.
    monkeypatch.delattr("mlflow.store.tracking.sqlalchemy_store.SqlAlchemyStore.get_metric_history_bulk")
    assert written(uri, tmp_path / "each") == in_bulk
    assert in_bulk[1].count(b"train/loss") == 2 + 5 + 9

"""A work folder shipped to a store: the same as its tracker shipped, from a copy as well, any number of times."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from store_contents import contents, files, rows
from tracked_runs import METRIC, START, FakeRun, children, curve, parents, points, track

from workspace.errors import UserError
from workspace.tracking.record import Publication, read_records, recorded_experiments
from workspace.tracking.store import connect, default_uri
from workspace.tracking.sync import sync
from workspace.tracking.tracker import Tracker

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")  # of MLflow's models
EXPERIMENT = "fcos_fp16_sweep"
MakeRun = Callable[..., FakeRun]


@pytest.fixture
def other(tmp_path: Path, new_store: Path) -> str:
    """A second store, empty."""
    shutil.copy(new_store, tmp_path / "other.db")
    return f"sqlite:///{tmp_path / 'other.db'}"


def follow(tracker: Tracker, run: FakeRun, **tags: object) -> None:
    tracker.follow(run.spec, name=f"seed {run.spec.seed}", metric=METRIC, tags={"arm": "baseline", **tags})


def play(uri: str, work_dir: Path, make_run: MakeRun) -> None:
    """A start that was killed, and one that came to an end: a run each finished, failed, pruned, and the verdict."""
    finished, failed, pruned = (make_run(seed=seed) for seed in range(3))
    finished.train(1, 18)
    killed = track(uri, work_dir)
    follow(killed, finished)
    killed.close("interrupted")
    tracker = track(uri, work_dir)
    finished.train(11, 30, at=START + 100)
    finished.end(at=START + 200)
    failed.train(1, 5)
    failed.write("end", time=START + 10, status="failed", reason="loss is nan")
    pruned.train(1, 20)
    pruned.sample(at=START + 3, memory_bytes=7.0)
    for run, state in ((finished, "finished"), (failed, "failed"), (pruned, "pruned")):
        follow(tracker, run, phase="search")
        tracker.settle(run.spec.signature, state)  # type: ignore[arg-type]
    tracker.follow(finished.spec, name="tuned", metric=METRIC, tags={"also": "tuned"})
    tracker.settle(finished.spec.signature, "finished")
    figure = work_dir / "experiments" / EXPERIMENT / "figure.png"
    for gap in (0.5, 0.25):
        figure.write_bytes(b"\x89PNG %f" % gap)
        tracker.publish(Publication(metrics={"gap": gap}, tags={"verdict": "open"}, summary="FP16.", files=[figure]))
        time.sleep(0.002)  # MLflow counts milliseconds
    tracker.close("finished")
    assert tracker.unshipped is None


def test_a_copied_work_folder_gives_an_empty_store_what_the_first_one_has(
    uri: str, other: str, work_dir: Path, tmp_path: Path, make_run: MakeRun
) -> None:
    play(uri, work_dir, make_run)
    copy = tmp_path / "copy"
    shutil.copytree(work_dir / "runs", copy / "runs")
    shutil.copytree(work_dir / "experiments", copy / "experiments")
    done = sync(copy, other, EXPERIMENT)
    assert (done.runs, done.refused, done.is_newer) == (3, (), False)
    assert done.points == sum(len(curve(other, run, name)) for run in children(other) for name in run.data.metrics) - 1
    there, here = (contents(store, tmp_path / name) for store, name in ((uri, "there"), (other, "here")))
    assert here.keys() == there.keys()
    for key in there:
        assert here[key] == there[key], key


def test_sync_again_changes_nothing(uri: str, other: str, work_dir: Path, tmp_path: Path, make_run: MakeRun) -> None:
    play(uri, work_dir, make_run)
    for store, file in ((uri, work_dir / "mlflow" / "mlflow.db"), (other, tmp_path / "other.db")):
        sync(work_dir, store, EXPERIMENT)
        before = rows(file), files(work_dir / "mlflow" / "artifacts")
        assert sync(work_dir, store, EXPERIMENT).points == 0
        assert (rows(file), files(work_dir / "mlflow" / "artifacts")) == before


def test_sync_after_a_tracker_changes_nothing(uri: str, work_dir: Path, make_run: MakeRun) -> None:
    play(uri, work_dir, make_run)
    before = rows(work_dir / "mlflow" / "mlflow.db"), files(work_dir / "mlflow" / "artifacts")
    assert sync(work_dir, uri, EXPERIMENT).points == 0
    assert (rows(work_dir / "mlflow" / "mlflow.db"), files(work_dir / "mlflow" / "artifacts")) == before


def test_what_an_orchestrator_without_a_store_left_is_shipped_and_goes_on(
    other: str, work_dir: Path, make_run: MakeRun
) -> None:
    run = make_run()
    run.train(1, 18)
    tracker = track("http://127.0.0.1:1", work_dir, patience=0.0)
    follow(tracker, run)  # and then it was killed
    sync(work_dir, other, EXPERIMENT)
    (parent,), (child,) = parents(other), children(other)
    assert parent.info.status == child.info.status == "KILLED"
    assert child.data.tags["state"] == "interrupted"
    assert [step for step, _ in curve(other, child, "train/loss")] == list(range(1, 19))
    tracker.close("interrupted")

    run.train(11, 25, at=START + 100)  # goes on, and is killed again
    assert sync(work_dir, other, EXPERIMENT).points > 0
    run.train(21, 30, at=START + 200)
    run.end(at=START + 300)
    tracker = track(other, work_dir)
    follow(tracker, run)
    tracker.settle(run.spec.signature, "finished")
    tracker.close("finished")
    (child,) = children(other)
    assert curve(other, child, "train/loss") == [(step, 3.0 / step) for step in range(1, 31)]
    assert (child.info.status, child.data.tags["state"]) == ("FINISHED", "finished")


def test_an_older_copy_takes_nothing_back(uri: str, work_dir: Path, tmp_path: Path, make_run: MakeRun) -> None:
    run = make_run()
    run.train(1, 18)
    tracker = track(uri, work_dir)
    follow(tracker, run)
    tracker.publish(Publication(metrics={"gap": 1.0}, tags={"verdict": "undecided"}))
    tracker.close("interrupted")
    shutil.copytree(work_dir, tmp_path / "older")
    play(uri, work_dir, make_run_again(work_dir, make_run, run))
    before = rows(work_dir / "mlflow" / "mlflow.db")
    done = sync(tmp_path / "older", uri, EXPERIMENT)
    assert done.is_newer
    assert rows(work_dir / "mlflow" / "mlflow.db") == before


def make_run_again(work_dir: Path, make_run: MakeRun, first: FakeRun) -> MakeRun:
    """As `make_run`, but the folder of seed 0 is there and empty."""

    def make(*, seed: int) -> FakeRun:
        if seed == first.spec.seed:
            shutil.rmtree(first.folder)
        return make_run(seed=seed)

    return make


def test_a_failed_run_that_is_tried_again_is_shipped_whole(uri: str, work_dir: Path, make_run: MakeRun) -> None:
    run = make_run()
    for attempt in range(2):
        run.train(1 + 10 * attempt, 15 + 10 * attempt, at=START + 100 * attempt)
        run.write("end", time=START + 100 * attempt + 50, status="failed", reason=f"reason {attempt}")
        tracker = track("http://127.0.0.1:1", work_dir, patience=0.0)
        follow(tracker, run)
        tracker.settle(run.spec.signature, "failed")
        tracker.close("failed")
        sync(work_dir, uri, EXPERIMENT)
    (child,) = children(uri)
    assert [step for step, _ in curve(uri, child, "train/loss")] == list(range(1, 26))
    assert child.data.tags["reason"] == "reason 1"


def test_a_parent_that_was_deleted_is_made_again_with_its_runs(uri: str, work_dir: Path, make_run: MakeRun) -> None:
    play(uri, work_dir, make_run)
    deleted = parents(uri)[0].info.run_id
    connect(uri).delete_run(deleted)
    assert sync(work_dir, uri, EXPERIMENT).runs == 3
    assert sum(run.data.tags["mlflow.parentRunId"] != deleted for run in children(uri)) == 3


def test_a_file_that_is_gone_is_named_and_the_rest_is_shipped(other: str, work_dir: Path, make_run: MakeRun) -> None:
    play(other, work_dir, make_run)
    (work_dir / "experiments" / EXPERIMENT / "figure.png").unlink()
    (line,) = sync(work_dir, other, EXPERIMENT).refused
    assert "figure.png: not in the work folder" in line
    assert parents(other)[0].data.metrics["gap"] == 0.25


def test_a_record_cannot_name_files_elsewhere(other: str, work_dir: Path, tmp_path: Path, make_run: MakeRun) -> None:
    """A work folder may be another's: its record must not have files of this machine uploaded."""
    play(other, work_dir, make_run)
    figure = work_dir / "experiments" / EXPERIMENT / "figure.png"
    private = tmp_path / "private.key"
    figure.rename(private)
    figure.symlink_to(private)
    (line,) = sync(work_dir, other, EXPERIMENT).refused
    assert "figure.png: not in the work folder" in line


def test_a_start_that_changes_nothing_adds_two_lines_to_the_record(uri: str, work_dir: Path, make_run: MakeRun) -> None:
    run = make_run()
    run.train(1, 10)
    run.end(at=START + 60)
    lines = len(played(uri, work_dir, run))
    assert len(played(uri, work_dir, run)) == lines + 2  # its start and its end
    assert recorded_experiments(work_dir) == {EXPERIMENT: True}


def played(uri: str, work_dir: Path, run: FakeRun) -> list[str]:
    tracker = track(uri, work_dir)
    follow(tracker, run)
    tracker.settle(run.spec.signature, "finished")
    tracker.close("finished")
    (record,) = work_dir.glob("experiments/*/tracked/*/events.jsonl")
    return record.read_text().splitlines()


def test_a_record_cut_anywhere_can_be_read(uri: str, work_dir: Path, tmp_path: Path, make_run: MakeRun) -> None:
    play(uri, work_dir, make_run)
    (file,) = work_dir.glob("experiments/*/tracked/*/events.jsonl")
    whole = file.read_bytes()
    copy = tmp_path / "copy" / file.relative_to(work_dir)
    copy.parent.mkdir(parents=True)
    known = 0
    for size in range(0, len(whole), 97):
        copy.write_bytes(whole[:size])
        found = read_records(tmp_path / "copy", EXPERIMENT)
        assert len(found) == (size > whole.index(b"\n"))
        known = max(known, *(len(record.runs) for record in found), 0)
    assert known == 3


def test_a_store_that_is_down_is_said_in_a_line(work_dir: Path, make_run: MakeRun) -> None:
    run = make_run()
    run.train(1, 10)
    tracker = track("http://127.0.0.1:1", work_dir, patience=0.0)
    follow(tracker, run)
    tracker.close("interrupted")
    with pytest.raises(UserError, match=r"http://\*\*\*@127.0.0.1:1 does not take it") as caught:
        sync(work_dir, "http://someone:hunter2@127.0.0.1:1", EXPERIMENT)
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_the_record_is_portable(work_dir: Path, uri: str, make_run: MakeRun) -> None:
    play(uri, work_dir, make_run)
    (file,) = work_dir.glob("experiments/*/tracked/*/events.jsonl")
    assert str(work_dir) not in file.read_text()
    published = [e for e in map(json.loads, file.read_text().splitlines()) if e["kind"] == "published"]
    assert published[0]["files"] == [f"experiments/{EXPERIMENT}/figure.png"]
    assert points(default_uri(work_dir)) > 0


def test_a_record_of_another_version_is_said_to_be_one(uri: str, work_dir: Path, make_run: MakeRun) -> None:
    play(uri, work_dir, make_run)
    (record,) = work_dir.glob(f"experiments/{EXPERIMENT}/tracked/*/events.jsonl")
    run = next(line for line in record.read_text().splitlines() if json.loads(line)["kind"] == "run")
    with record.open("a") as file:
        file.write(run.replace('"seed"', '"lottery"') + "\n")
    with pytest.raises(
        UserError, match=r"events\.jsonl says what this version .+lottery.+use the version that wrote it"
    ):
        sync(work_dir, uri, EXPERIMENT)

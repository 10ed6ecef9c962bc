"""What ``--plan`` says of each run of a plan, from run folders and the study."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from small_plan import NULL, SPACE, SWEEP, finish, plan

from workspace.journal import JournalWriter
from workspace.orchestrator.listing import list_experiment
from workspace.search import Study, default_url, resolve
from workspace.spec import RunSpec, run_folder


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    small = plan()
    space = resolve(SPACE, small.default_values)
    with Study(
        SWEEP.name, identity=small.study_identity, space=space, seed=0, prune_from=0, url=default_url(tmp_path)
    ) as opened:
        yield opened


def begin(work_dir: Path, spec: RunSpec, *, failed: bool = False) -> None:
    folder = run_folder(work_dir, spec)
    folder.mkdir(parents=True)
    journal = JournalWriter(folder)
    journal.write("start", step=0, epoch=0)
    if failed:
        journal.write("end", status="failed", reason="the disk is full")
    journal.close()


def test_the_list_before_anything_was_trained(tmp_path: Path) -> None:
    listed = list_experiment(plan(), tmp_path, None)
    assert [run.job.name for run in listed] == [
        *(f"{arm} seed {seed}" for arm in ("baseline", "default") for seed in range(3)),
        *(f"trial {number}" for number in range(4)),
        *(f"tuned seed {seed}" for seed in range(3)),
    ]
    assert {run.state for run in listed} == {"new"}
    assert all(run.is_due for run in listed)
    unknown = [run.job.name for run in listed if run.signature is None]
    assert unknown == ["trial 1", "trial 2", "trial 3", "tuned seed 0", "tuned seed 1", "tuned seed 2"]
    assert [run.job.name for run in list_experiment(plan(NULL), tmp_path, None)][2:4] == [
        "baseline seed 2",
        "default seed 100",
    ]
    assert len(list_experiment(plan(NULL), tmp_path, None)) == 6


def test_the_list_tells_the_state_of_each_run(tmp_path: Path) -> None:
    specs = [job.spec for job in plan().baseline()]
    finish(tmp_path, specs[0])
    begin(tmp_path, specs[1])
    begin(tmp_path, specs[2], failed=True)
    listed = list_experiment(plan(), tmp_path, None)[:4]
    assert [(run.state, run.is_due) for run in listed] == [
        ("finished", False),
        ("started", True),
        ("failed", True),
        ("new", True),
    ]


def test_the_list_takes_trials_from_the_study(study: Study, tmp_path: Path) -> None:
    small = plan()
    trials = [study.ask() for _ in range(4)]
    study.finish(trials[0].number, 50.0)
    study.prune(trials[1].number)
    study.fail(trials[2].number, "the loss is nan")
    specs = [small.trial(trial.number, trial.params).spec for trial in trials]
    finish(tmp_path, specs[0])
    listed = list_experiment(small, tmp_path, study)[6:]
    assert [run.signature for run in listed[:4]] == [spec.signature for spec in specs]
    assert [run.state for run in listed[:4]] == ["finished", "pruned", "failed", "new"]
    assert [run.is_due for run in listed[:4]] == [False, False, False, True]
    assert {run.signature for run in listed[4:]} == {None}
    study.finish(trials[3].number, 60.0)
    confirmed = list_experiment(small, tmp_path, study)[10:]
    assert [run.signature for run in confirmed] == [job.spec.signature for job in small.confirm(trials[3].params)]

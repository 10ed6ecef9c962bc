"""A run that two arms share is trained once, and whoever waits for it is told."""

import contextlib
import dataclasses
from pathlib import Path

from failing_training import train
from small_plan import FP32, SWEEP, conditions, plan
from test_failure_policy import Silent

from workspace import tracking
from workspace.execution import LocalExecutor
from workspace.orchestrator.loop import Loop
from workspace.orchestrator.trials import open_study, search
from workspace.spec import RunSpec


def test_a_trial_whose_run_another_search_has_trained_is_told_to_its_study(tmp_path: Path) -> None:
    space = {"lr": SWEEP.space["lr"]}
    both_fp32 = plan(dataclasses.replace(SWEEP, candidate=FP32, space=space, candidate_seeds_from=100), trials=2)
    studies = [open_study(both_fp32, f"sqlite:///{tmp_path}/{arm}.db") for arm in ("candidate", "baseline")]
    tracker = tracking.Tracker("http://127.0.0.1:9", "small", tmp_path)  # nobody listens
    data = tracking.DataSet(name="dots", digest="0", source="none")
    tracker.start(scale="demo", data=data, params={}, tags={})
    with contextlib.ExitStack() as stack:
        executor = stack.enter_context(LocalExecutor(workers=1, threads=1))

        def launch(job_id: str, spec: RunSpec, folder: Path, slot: int) -> None:
            executor.start(job_id, train, (folder, []), folder / "log.txt")

        loop = Loop(
            conditions=conditions(),
            work_dir=tmp_path,
            executor=executor,
            slots=1,
            launch=launch,
            place=None,
            tracker=tracker,
            study=None,
            display=Silent(),
        )
        for study in studies:
            stack.enter_context(study)
            loop.study = study
            loop.play(search(both_fp32, study, loop.recall))
        rows = [[(row.number, row.state, row.value) for row in study.trials()] for study in studies]
    assert [state for _, state, _ in rows[0]] == ["finished", "finished"]
    assert rows[1] == rows[0]
    assert loop.trained == 2

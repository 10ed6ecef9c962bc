"""A run that two arms share is trained once, and whoever waits for it is told."""

import dataclasses
from pathlib import Path

from failing_training import train
from small_loop import small_loop
from small_plan import FP32, SWEEP, plan

from workspace.execution import LocalExecutor
from workspace.orchestrator.trials import open_study, search
from workspace.spec import RunSpec


def test_a_trial_whose_run_another_search_has_trained_is_told_to_its_study(tmp_path: Path) -> None:
    space = {"lr": SWEEP.space["lr"]}
    both_fp32 = plan(dataclasses.replace(SWEEP, candidate=FP32, space=space, candidate_seeds_from=100), trials=2)
    rows = []
    with LocalExecutor(workers=1, threads=1) as executor:

        def launch(job_id: str, spec: RunSpec, folder: Path, slot: int) -> None:
            executor.start(job_id, train, (folder, []), folder / "log.txt")

        loop = small_loop(tmp_path, executor, launch)
        for arm in ("candidate", "baseline"):
            with open_study(both_fp32, f"sqlite:///{tmp_path}/{arm}.db") as study:
                loop.study = study
                loop.play(search(both_fp32, study, loop.recall))
                rows.append([(row.number, row.state, row.value) for row in study.trials()])
    assert [state for _, state, _ in rows[0]] == ["finished", "finished"]
    assert rows[1] == rows[0]
    assert loop.trained == 2

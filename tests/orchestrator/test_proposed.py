"""The recipe that a diagnosis proposes first: judged before anything is searched, or given up."""

import dataclasses
import json
import random
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from small_plan import SWEEP, conditions, finish
from synthetic_runs import answer_of, command, kill_at_random, play, without_cost

from workspace.gap import measure_gap
from workspace.orchestrator.listing import list_experiment
from workspace.orchestrator.looks import Looks, seeds_to_come
from workspace.orchestrator.plan import PROPOSED, Job, Plan, Start
from workspace.orchestrator.proposed import closes, given_up_after, proposed_jobs
from workspace.orchestrator.report import Cost, Report, build_report
from workspace.orchestrator.runs import RunRecord

EXPERIMENT = "fcos_fp16_sweep"
NOISE = (0.2, -0.3, 0.1, -0.1, 0.3, -0.2, 0.2, -0.2)
HEAD = {"lr": 0.003, "fp32_islands": ("head",)}


def proposing(*, seeds: int = 4, trials: int = 4, **changes: Any) -> Plan:
    start = Start(proposed=HEAD, first=[], in_half={(): 1.0, ("head",): 0.8}, set_aside=[])
    return Plan(experiment=SWEEP, conditions=conditions(), seeds=seeds, trials=trials, start=start, **changes)


def arm(mean: float, seeds: int) -> dict[int, float]:
    return {seed: mean + NOISE[seed] for seed in range(seeds)}


def judged(begun: Plan, arms: Mapping[str, Mapping[int, float]], looks: Looks | None = None) -> Report:
    runs: dict[str, Sequence[Job]] = {
        "baseline": begun.baseline(),
        "default": begun.default(),
        PROPOSED: begun.proposed(),
        "tuned": begun.confirm({"lr": 0.004}),
    }
    jobs = {name: runs[name][: len(aps)] for name, aps in arms.items()}
    records = {
        job.spec.signature: RunRecord(ap=arms[name][job.spec.seed], seconds=1.0, contradictions=(), circumstances={})
        for name, of_arm in jobs.items()
        for job in of_arm
    }
    return build_report(
        begun,
        jobs,
        records,
        metric="coco/bbox_mAP",
        best=None,
        cost=Cost(device_seconds=1.0, trained=0, reused=0),
        looks=looks,
        proposal={"fp32_islands": "head"},
    )


class TestGivingUp:
    def test_what_is_far_below_is_given_up_after_its_first_seed(self) -> None:
        assert given_up_after(proposing(), arm(60, 4), {0: 40.0}) == 1
        assert given_up_after(proposing(), arm(60, 4), arm(40, 3)) == 1  # whatever else has finished meanwhile
        assert given_up_after(proposing(), arm(60, 4), arm(60, 3)) is None
        assert given_up_after(proposing(), arm(60, 4), {}) is None

    def test_it_waits_for_the_whole_baseline(self) -> None:
        assert given_up_after(proposing(), arm(60, 3), {0: 40.0}) is None

    def test_with_added_seeds_it_is_a_look_s_question(self) -> None:
        begun = proposing(seeds=2, max_seeds=8)
        assert given_up_after(begun, arm(60, 8), {0: 40.0}) is None
        assert given_up_after(begun, arm(60, 8), arm(40, 2)) == 2
        arms = {"baseline": arm(60, 2), "default": arm(40, 2), PROPOSED: arm(57, 2)}
        assert seeds_to_come(begun, arms)[PROPOSED] == 2
        assert seeds_to_come(begun, {**arms, PROPOSED: arm(60, 2)})[PROPOSED] == 8

    def test_its_runs_end_there(self) -> None:
        begun = proposing()
        known = {job.spec.signature: 60 + NOISE[job.spec.seed] for job in begun.baseline()}

        def ap(jobs: Any) -> dict[int, float]:
            return {job.spec.seed: known[job.spec.signature] for job in jobs if job.spec.signature in known}

        played = []
        for job in proposed_jobs(begun, ap):
            played.append(job.name)
            known[job.spec.signature] = 59.8 if len(played) == 1 else 50.0
        assert played == ["proposed seed 0", "proposed seed 1"]


class TestVerdict:
    def test_it_allows_for_the_recipe_that_a_search_may_find(self) -> None:
        arms = {"baseline": arm(60, 4), "default": arm(58, 4), PROPOSED: arm(59.8, 4)}
        gaps = judged(proposing(), arms).gaps
        alone = measure_gap(arms["baseline"], arms[PROPOSED], 1.0)
        assert gaps[PROPOSED].low < alone.low < alone.high < gaps[PROPOSED].high
        assert (gaps["default"].recipes, gaps[PROPOSED].recipes) == (1, 2)
        assert judged(proposing(trials=0), arms).gaps[PROPOSED] == alone

    def test_where_it_is_closed_nothing_is_left_to_search(self) -> None:
        assert closes(proposing(), {"baseline": arm(60, 4), PROPOSED: arm(60.2, 4)})
        assert not closes(proposing(), {"baseline": arm(60, 4), PROPOSED: arm(59, 4)})
        assert not closes(proposing(), {"baseline": arm(60, 4), PROPOSED: arm(60.2, 3)})
        assert not closes(proposing(), {"baseline": {}, PROPOSED: {}})

    def test_an_arm_that_was_given_up_has_none(self, tmp_path: Path) -> None:
        arms = {"baseline": arm(60, 4), "default": arm(58, 4), PROPOSED: {0: 40.0}}
        report = judged(proposing(), arms, Looks(tmp_path))
        assert report.gaps.keys() == {"default"}
        assert report.sentences[1] == (
            "FP16 with what the diagnosis proposes (fp32_islands head) was given up after 1 seed: "
            "it could hardly be closed any more."
        )
        assert PROPOSED not in json.loads((tmp_path / "looks.json").read_text())
        assert report.to_json()["proposal"] == {"fp32_islands": "head"}

    def test_at_a_look_that_decides_it_has_one(self) -> None:
        begun = proposing(seeds=2, max_seeds=8)
        arms = {"baseline": arm(60, 4), PROPOSED: arm(40, 4)}
        assert judged(begun, {**arms, "default": arm(58, 4)}).gaps[PROPOSED].verdict == "open"

    def test_a_tuned_baseline_leaves_nothing_to_judge_before_the_search(self) -> None:
        begun = proposing(tune_baseline=True)
        begun = dataclasses.replace(begun, start=dataclasses.replace(begun.start, proposed=None))
        assert begun.proposed() == []
        assert begun.recipes_for("tuned") == 1


class TestPlan:
    def test_what_closed_it_is_all_that_is_listed(self, tmp_path: Path) -> None:
        begun = proposing()
        names = [run.job.name for run in list_experiment(begun, tmp_path)]
        assert names[8:12] == [f"proposed seed {seed}" for seed in range(4)]
        assert "trial 0" in names
        assert names[-4:] == [f"tuned seed {seed}" for seed in range(4)]
        for jobs, mean in ((begun.baseline(), 60), (begun.default(), 58), (begun.proposed(), 60)):
            for job, ap in zip(jobs, arm(mean, 4).values(), strict=True):
                finish(tmp_path, job.spec, ap=ap)
        listed = list_experiment(begun, tmp_path)
        assert [run.job.name for run in listed] == names[:12]
        assert not any(run.is_due for run in listed)

    def test_what_was_given_up_takes_no_more_seeds(self, tmp_path: Path) -> None:
        begun = proposing()
        for job, ap in zip(begun.baseline(), arm(60, 4).values(), strict=True):
            finish(tmp_path, job.spec, ap=ap)
        finish(tmp_path, begun.proposed()[0].spec, ap=40)
        names = [run.job.name for run in list_experiment(begun, tmp_path)]
        assert [name for name in names if name.startswith("proposed")] == ["proposed seed 0"]
        assert "trial 0" in names


def diagnosis(folder: Path, *changes: dict[str, Any]) -> Path:
    file = folder / "diagnosis.json"
    proposals = [{"changes": change, "why": "", "flops_in_half": 1.0} for change in changes]
    content = {"detector": "fcos", "scale": "demo", "precision": {"name": "fp16"}, "proposals": proposals}
    file.write_text(json.dumps(content))
    return file


OPTIONS = ("--trials", "6", "--seeds", "4")
MENDS = {"lr": 0.0055, "fp32_islands": ["bbox_head.conv_cls"]}


def test_a_proposal_that_closes_is_the_answer(tmp_path: Path) -> None:
    options = (*OPTIONS, "--diagnosis", str(diagnosis(tmp_path, MENDS)))
    answer = play(EXPERIMENT, tmp_path / "work", *options)
    assert answer["gaps"][PROPOSED]["verdict"] == "closed"
    assert answer["proposal"]["fp32_islands"] == "bbox_head.conv_cls"
    assert list(answer["arms"]) == ["baseline", "default", PROPOSED]
    assert answer["best"] is None
    assert "search" not in answer
    assert any(
        line.startswith("proposed is closed against a baseline that was not tuned") for line in answer["reservations"]
    )
    specs = [json.loads(path.read_text()) for path in (tmp_path / "work").glob("runs/*/spec.json")]
    assert {spec["data"]["evaluate"] for spec in specs} == {"eval"}
    assert len(specs) == 12

    plan = subprocess.run(
        command(EXPERIMENT, tmp_path / "work", *options, "--plan"), capture_output=True, text=True, check=True
    ).stdout
    assert "nothing is left to train" in plan


@pytest.mark.slow
def test_a_kill_changes_nothing_in_what_is_said_of_a_proposal(tmp_path: Path) -> None:
    options = (*OPTIONS, "--diagnosis", str(diagnosis(tmp_path, MENDS)))
    answer = play(EXPERIMENT, tmp_path / "work", *options)
    cut = tmp_path / "cut"
    kill_at_random(command(EXPERIMENT, cut, *options, workers=2), random.Random(1))
    play(EXPERIMENT, cut, *options, workers=2)
    assert without_cost(answer_of(cut)) == without_cost(answer)


def test_what_is_proposed_can_be_judged_without_a_search(tmp_path: Path) -> None:
    options = ("--trials", "0", "--seeds", "4", "--diagnosis", str(diagnosis(tmp_path, {"lr": 0.0016})))
    answer = play(EXPERIMENT, tmp_path / "work", *options)
    assert list(answer["arms"]) == ["baseline", "default", PROPOSED]
    assert len(answer["arms"][PROPOSED]["seeds"]) < 4
    assert answer["gaps"].keys() == {"default"}

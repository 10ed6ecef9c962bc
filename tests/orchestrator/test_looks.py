"""Looks at a verdict: seeds that are added until it is decided, and looks that are remembered."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from small_plan import SWEEP, conditions, finish, plan

from workspace.errors import UserError
from workspace.orchestrator.listing import list_experiment
from workspace.orchestrator.looks import Looks, seeds_to_come
from workspace.orchestrator.plan import TUNED_BASELINE, Job, Plan
from workspace.orchestrator.report import Cost, Report, build_report
from workspace.orchestrator.runs import RunRecord

NOISE = (0.3, -0.4, 0.1, -0.2, 0.5, -0.3, 0.2, -0.1)


def adding(*, seeds: int = 2, max_seeds: int = 8, **changes: Any) -> Plan:
    return Plan(
        experiment=SWEEP, conditions=conditions(), **{"seeds": seeds, "trials": 4, "max_seeds": max_seeds, **changes}
    )


def arm(mean: float, seeds: int, sd: float = 1.0) -> dict[int, float]:
    return {seed: mean + sd * NOISE[seed] for seed in range(seeds)}


def judged(small: Plan, arms: Mapping[str, Mapping[int, float]], looks: Looks | None, **recipe: Any) -> Report:
    """The report on those APs; ``recipe`` is what the search changed."""
    runs: dict[str, Sequence[Job]] = {
        "baseline": small.baseline(),
        "default": small.default(),
        "tuned": small.confirm(recipe),
    }
    if TUNED_BASELINE in arms:
        runs[TUNED_BASELINE] = small.for_baseline().confirm(recipe)
    jobs = {name: runs[name][: len(aps)] for name, aps in arms.items()}
    records = {
        job.spec.signature: RunRecord(ap=arms[name][job.spec.seed], seconds=1.0, contradictions=(), circumstances={})
        for name, of_arm in jobs.items()
        for job in of_arm
    }
    cost = Cost(device_seconds=1.0, trained=0, reused=0)
    return build_report(small, jobs, records, metric="coco/bbox_mAP", best=None, cost=cost, looks=looks)


class TestSeedsToCome:
    def test_an_arm_that_is_decided_takes_no_more_and_its_reference_as_many_as_the_other_needs(self) -> None:
        arms = {"baseline": arm(60, 4), "default": arm(40, 4), "tuned": arm(59.5, 4)}
        needed = seeds_to_come(adding(), arms)
        assert needed == {"baseline": 8, "default": 2, "tuned": 8}
        assert seeds_to_come(adding(), {**arms, "tuned": arm(40, 4)}) == {"baseline": 2, "default": 2, "tuned": 2}

    def test_arms_that_are_not_trained_yet_may_need_all(self) -> None:
        assert seeds_to_come(adding(), {"baseline": arm(60, 2), "default": {}}) == {"baseline": 8, "default": 8}

    def test_a_plan_lists_at_most_what_the_next_start_trains(self, tmp_path: Path) -> None:
        small = adding(trials=0)
        assert len(list_experiment(small, tmp_path)) == 16
        for job, ap in zip([*small.at(4).baseline(), *small.at(4).default()], 2 * [60, 60.5, 59.6, 60.1], strict=True):
            finish(tmp_path, job.spec, ap=ap if job.arm == "baseline" else ap - 20)
        listed = list_experiment(small, tmp_path)
        assert [(run.job.name, run.is_due) for run in listed] == [
            (f"{name} seed {seed}", False) for name in ("baseline", "default") for seed in range(2)
        ]


class TestPlan:
    def test_the_first_look_is_the_next_one_from_the_seeds_on(self) -> None:
        assert adding(seeds=5, max_seeds=8).seeds == 6
        assert adding(seeds=1).seeds == 2
        assert adding().run_count == 3 * 8 + 4

    @pytest.mark.parametrize(("most", "take"), [(10, "2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96"), (1, "2, 3")])
    def test_another_number_than_a_look_is_refused_with_those_there_are(self, most: int, take: str) -> None:
        with pytest.raises(UserError, match=rf"--max-seeds {most}: .* take {take}"):
            adding(max_seeds=most)

    def test_fewer_than_the_seeds_that_it_begins_with_are_refused(self) -> None:
        with pytest.raises(UserError, match=r"--max-seeds 4: .* take 6, 8, 12"):
            adding(seeds=5, max_seeds=4)


class TestReport:
    def test_of_added_seeds_the_interval_allows_for_looks(self) -> None:
        arms = {"baseline": arm(60, 4), "default": arm(59.5, 4)}
        once = judged(plan(seeds=4), arms, None).gaps["default"]
        among_looks = judged(adding(seeds=4), arms, None).gaps["default"]
        assert (once.sequential, among_looks.sequential) == (False, True)
        assert among_looks.low < once.low < once.high < among_looks.high

    def test_a_look_that_was_taken_before_is_told_with_the_interval_that_allows_for_it(self, tmp_path: Path) -> None:
        before = {"baseline": arm(60, 2), "default": arm(59.5, 2)}
        assert judged(plan(seeds=2), before, Looks(tmp_path)).reservations == []
        assert judged(plan(seeds=2), before, Looks(tmp_path)).reservations == []  # the same look again is one look
        after = {"baseline": arm(60, 4), "default": arm(59.5, 4)}
        (said,) = judged(plan(seeds=4), after, Looks(tmp_path)).reservations
        assert said.startswith("default was judged before with 2 seeds: ")
        assert "allows for looks says undecided (" in said
        assert judged(adding(seeds=4), after, Looks(tmp_path)).reservations == []

    def test_another_tuned_recipe_on_the_same_seeds_is_told(self, tmp_path: Path) -> None:
        arms = {"baseline": arm(60, 2), "tuned": arm(58, 2)}
        assert judged(plan(seeds=2), arms, Looks(tmp_path), lr=0.004).reservations == []
        (said,) = judged(plan(seeds=2), arms, Looks(tmp_path), lr=0.005).reservations
        assert said.startswith("2 tuned recipes were judged on these seeds and pictures by now")


class TestTunedBaseline:
    def test_it_searches_what_it_has_and_is_what_tuned_is_judged_against(self) -> None:
        small = plan_with_baseline()
        searching = small.searches[1]
        assert set(searching.space) == {"lr"}
        trial = searching.trial(3, {"lr": 0.004})
        assert (trial.name, trial.spec.precision.name, trial.spec.data.evaluate) == (
            "baseline trial 3",
            "fp32",
            "search",
        )
        assert searching.study_identity != small.study_identity
        assert searching.default_values == {"lr": small.default_values["lr"]}
        arms = {"baseline": arm(60, 3), "default": arm(58, 3), TUNED_BASELINE: arm(62, 3), "tuned": arm(60, 3)}
        found = judged(small, arms, None, lr=0.004)
        assert found.gaps["tuned"].mean == pytest.approx(-2)
        assert found.gaps.keys() == {"default", "tuned"}
        assert found.to_json()["gaps"]["tuned"]["against"] == TUNED_BASELINE
        assert found.sentences[1].startswith("FP16 with the tuned recipe against tuned FP32 loses 2.0 AP")
        assert small.run_count == 4 * 3 + 2 * 4

    def test_closing_against_a_baseline_that_was_not_tuned_is_never_sold_without_saying_so(self) -> None:
        arms = {"baseline": arm(60, 3, 0.1), "tuned": arm(61, 3, 0.1)}
        (said,) = judged(plan(), arms, None, lr=0.004).reservations
        assert said.startswith("tuned is closed against a baseline that was not tuned")
        assert judged(plan(), arms, None, fp32_islands=("head",)).reservations == []  # the recipe is the baseline's
        assert judged(plan(), {**arms, "tuned": arm(50, 3, 0.1)}, None, lr=0.004).reservations == []
        with_tuned = {**arms, TUNED_BASELINE: arm(60, 3, 0.1)}
        assert judged(plan_with_baseline(), with_tuned, None, lr=0.004).reservations == []

    def test_a_space_of_mixed_precision_alone_has_nothing_for_the_baseline(self) -> None:
        islands = SWEEP.space["fp32_islands"]
        with pytest.raises(UserError, match=r"--tune-baseline: .* searches nothing that its baseline has"):
            plan_with_baseline(experiment=type(SWEEP)(**{**vars(SWEEP), "space": {"fp32_islands": islands}}))

    def test_the_plan_lists_both_searches(self, tmp_path: Path) -> None:
        names = [run.job.name for run in list_experiment(plan_with_baseline(), tmp_path)]
        assert names[6:] == [
            *(f"trial {number}" for number in range(4)),
            *(f"baseline trial {number}" for number in range(4)),
            *(f"tuned seed {seed}" for seed in range(3)),
            *(f"tuned baseline seed {seed}" for seed in range(3)),
        ]


def plan_with_baseline(**changes: Any) -> Plan:
    fields = {"experiment": SWEEP, "seeds": 3, "trials": 4, "tune_baseline": True}
    return Plan(conditions=conditions(), **{**fields, **changes})

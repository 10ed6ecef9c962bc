"""What an experiment answers: JSON, sentences, and why its arms may not compare."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from small_plan import NULL, SWEEP, plan

from workspace.errors import UserError
from workspace.orchestrator.plan import Job, Plan
from workspace.orchestrator.report import Cost, Report, build_report, divergence_lines
from workspace.orchestrator.runs import RunRecord

APS = {"baseline": (60.0, 61.0, 59.0), "default": (50.0, 51.0, 49.5), "tuned": (60.2, 61.0, 59.4)}
BEST = {"trial": 2, "params": {"lr": 0.004, "fp32_islands": "head"}}
SAME = {"device": "a CPU", "torch": "2.13"}


def jobs_of(small: Plan, arms: Sequence[str]) -> dict[str, Sequence[Job]]:
    known = {"baseline": small.baseline(), "default": small.default(), "tuned": small.confirm({"lr": 0.004})}
    return {arm: known[arm] for arm in arms}


def report(
    aps: Mapping[str, Sequence[float]] = APS, small: Plan | None = None, **odd: Mapping[int, dict[str, Any]]
) -> Report:
    """The report on those APs; ``odd`` gives fields of single runs' records, by arm and seed."""
    small = small or plan()
    jobs = jobs_of(small, list(aps))
    records = {}
    for arm, arm_jobs in jobs.items():
        for job, ap in zip(arm_jobs, aps[arm], strict=True):
            fields = {"contradictions": (), "circumstances": SAME, **odd.get(arm, {}).get(job.spec.seed, {})}
            records[job.spec.signature] = RunRecord(ap=ap, seconds=10.0, **fields)
    cost = Cost(device_seconds=123.456, trained=9, reused=4)
    best = BEST if "tuned" in aps else None
    return build_report(small, jobs, records, metric="coco/bbox_mAP", best=best, cost=cost)


def test_the_json_has_the_documented_form() -> None:
    answer = report().to_json()
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer
    assert answer.keys() == {
        "experiment",
        "scale",
        "metric",
        "margin",
        "arms",
        "gaps",
        "best",
        "best_baseline",
        "cost",
        "diverged",
        "reservations",
    }
    assert (answer["experiment"], answer["scale"], answer["metric"]) == (SWEEP.name, "demo", "coco/bbox_mAP")
    assert answer["margin"] == 1.0
    assert answer["arms"] == {
        "baseline": {"precision": "fp32", "seeds": [0, 1, 2], "ap": [60.0, 61.0, 59.0]},
        "default": {"precision": "fp16", "seeds": [0, 1, 2], "ap": [50.0, 51.0, 49.5]},
        "tuned": {"precision": "fp16", "seeds": [0, 1, 2], "ap": [60.2, 61.0, 59.4]},
    }
    assert answer["best"] == BEST
    assert answer["cost"] == {"device_seconds": 123.5, "trained": 9, "reused": 4}


def test_the_gaps_are_candidates_less_baseline() -> None:
    gaps = report().to_json()["gaps"]
    assert gaps.keys() == {"default", "tuned"}
    default = gaps["default"]
    assert default.keys() == {
        *("mean", "low", "high", "verdict", "seeds_needed", "method", "seeds", "sequential", "against"),
    }
    assert (default["seeds"], default["sequential"], default["against"]) == (
        {"baseline": 3, "candidate": 3},
        False,
        "baseline",
    )
    assert default["mean"] == pytest.approx(-29.5 / 3)
    assert default["low"] < default["mean"] < default["high"] < -1.0
    assert (default["verdict"], default["seeds_needed"]) == ("open", 0)
    assert gaps["tuned"]["mean"] == pytest.approx(0.2)


def test_one_seed_gives_a_gap_without_an_interval() -> None:
    answer = report({"baseline": (60.0,), "default": (59.0,)}, plan(seeds=1)).to_json()
    gap = answer["gaps"]["default"]
    assert {name: gap[name] for name in ("mean", "low", "high", "verdict", "seeds_needed", "method")} == {
        "mean": -1.0,
        "low": None,
        "high": None,
        "verdict": "undecided",
        "seeds_needed": 1,
        "method": "none",
    }
    assert answer["best"] is None


def test_the_margin_is_that_of_the_scale() -> None:
    full = report({"baseline": (36.6,), "default": (36.1,)}, plan(scale="full", embedded=False, seeds=1))
    assert (full.scale, full.margin) == ("full", 0.2)
    assert full.gaps["default"].margin == 0.2


def test_each_candidate_has_a_sentence() -> None:
    default, tuned = report().sentences
    assert default.startswith("FP16 with the default recipe loses 9.8 AP (90 % interval ")
    assert default.endswith("open at a margin of 1.0.")
    assert tuned.startswith("FP16 with the tuned recipe gains 0.2 AP")


def test_the_null_experiment_speaks_of_fp32_and_compares_other_seeds() -> None:
    null = report({"baseline": (60.0, 61.0, 59.0), "default": (60.1, 60.8, 59.2)}, plan(NULL))
    assert list(null.arms["default"].ap) == [100, 101, 102]
    assert len(null.sentences) == 1
    assert null.sentences[0].startswith("FP32 on other seeds")


def test_arms_that_compare_have_no_reservations() -> None:
    assert report().reservations == []


def test_a_contradicting_audit_is_a_reservation_told_once() -> None:
    autocast = {"contradictions": ("autocast was on: float16",)}
    found = report(baseline={0: autocast, 2: autocast}, tuned={1: {"contradictions": ("gradient scaler: none",)}})
    assert found.reservations == ["autocast was on: float16", "gradient scaler: none"]


def test_other_circumstances_are_a_reservation() -> None:
    found = report(
        default={1: {"circumstances": {"device": "a CPU", "torch": "2.12"}}},
        tuned={0: {"circumstances": {"device": "a GPU", "torch": "2.13", "mmcv": "2.3"}}},
    )
    assert found.reservations == [
        "arms were trained with different device: a CPU, a GPU",
        "arms were trained with different mmcv: 2.3, unknown",
        "arms were trained with different torch: 2.12, 2.13",
    ]


def test_a_run_that_diverged_counts_and_is_named() -> None:
    lost = "the weights were not finite after 40 steps"
    found = report({**APS, "default": (50.0, 0.0, 49.5)}, default={1: {"diverged": lost}})
    assert found.to_json()["diverged"] == {"default seed 1": lost}
    assert found.gaps["default"].mean == pytest.approx((50.0 + 0.0 + 49.5 - 180.0) / 3)
    assert divergence_lines(found.diverged) == [f"default seed 1 diverged and counts with its AP: {lost}"]
    assert found.reservations == []


def test_a_baseline_that_diverged_is_a_reservation_too() -> None:
    found = report({**APS, "baseline": (0.0, 61.0, 59.0)}, baseline={0: {"diverged": "the loss was not finite"}})
    assert found.reservations == ["baseline seed 0 diverged: gaps against it do not measure the candidate"]


@pytest.mark.parametrize("ap", [-100.0, float("nan"), 101.0])
def test_an_ap_that_is_no_percentage_is_refused(ap: float) -> None:
    with pytest.raises(UserError, match="AP of the candidate arm's seed 1 is"):
        report({"baseline": (60.0, 61.0, 59.0), "default": (60.0, ap, 59.0)})

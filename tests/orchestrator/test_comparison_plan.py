"""From a comparison to its runs, and what it shares with the sweeps."""

import dataclasses
from pathlib import Path

import pytest
from small_plan import FP16, SWEEP, conditions, finish, plan

from workspace.detectors import DETECTORS, detector
from workspace.errors import UserError
from workspace.experiment import ArmSpec, Comparison, Effort
from workspace.orchestrator.comparison_plan import ComparisonPlan
from workspace.orchestrator.listing import list_comparison
from workspace.precision import FP32

ARMS = {
    "plain": ArmSpec(detector="fcos", precision=FP32),
    "half": ArmSpec(detector="fcos", precision=FP16),
    "wide": ArmSpec(detector="fcos", precision=FP32, recipe="8x8"),
}
SMALL = Comparison(
    name="small_comparison",
    arms=ARMS,
    contrasts={"gap": {"plain": -1, "half": 1}},
    efforts={"demo": Effort(seeds=2, margin=1.0), "full": Effort(seeds=5, margin=0.2)},
)


def compared(comparison: Comparison = SMALL, *, seeds: int = 2, **changes: object) -> ComparisonPlan:
    return ComparisonPlan(comparison=comparison, conditions=conditions(**changes), seeds=seeds)


def test_its_runs_are_the_sweep_s_where_they_are_the_same() -> None:
    """Whichever experiment trains them first, the other finds them."""
    arms = compared(seeds=3).arms()
    sweep = plan()
    assert [job.spec for job in arms["plain"]] == [job.spec for job in sweep.baseline()]
    assert [job.spec for job in arms["half"]] == [job.spec for job in sweep.default()]
    assert [job.spec.signature for job in arms["half"]] == [job.spec.signature for job in sweep.default()]


def test_jobs_carry_their_arm_and_name() -> None:
    jobs = [job for arm in compared().arms().values() for job in arm]
    assert [(job.phase, job.arm, job.name, job.trial, job.metric) for job in jobs[1:3]] == [
        ("compare", "plain", "plain seed 1", None, "coco/bbox_mAP"),
        ("compare", "half", "half seed 0", None, "coco/bbox_mAP"),
    ]


def test_a_named_recipe_is_the_detector_s_at_that_scale() -> None:
    arms = compared().arms()
    assert arms["wide"][0].spec.recipe == detector("fcos").demo.recipes["8x8"]
    full = compared(scale="full", embedded=False).arms()
    assert full["wide"][0].spec.recipe == detector("fcos").full.recipes["8x8"]


def test_naming_the_default_recipe_changes_no_signature() -> None:
    named = dataclasses.replace(SMALL, arms={**ARMS, "plain": dataclasses.replace(ARMS["plain"], recipe="8x2")})
    assert compared(named).arms()["plain"] == compared().arms()["plain"]


def test_arms_of_the_same_runs_are_refused() -> None:
    twice = dataclasses.replace(SMALL, arms={**ARMS, "again": dataclasses.replace(ARMS["plain"], recipe="8x2")})
    with pytest.raises(UserError, match="two of its arms are the same runs at scale demo"):
        compared(twice)


def test_contrasts_of_boxes_with_masks_are_refused() -> None:
    arms = {**ARMS, "masks": ArmSpec(detector="solov2", precision=FP32)}
    mixed = dataclasses.replace(SMALL, arms=arms, contrasts={"models": {"plain": -1, "masks": 1}})
    dataset = dataclasses.replace(conditions().dataset, has_masks=True)
    with pytest.raises(UserError, match="models mixes coco/bbox_mAP and coco/segm_mAP"):
        compared(mixed, dataset=dataset)


def test_masks_that_the_data_lack_are_asked_for_in_vain() -> None:
    masks = dataclasses.replace(SMALL, arms={**ARMS, "masks": ArmSpec(detector="solov2", precision=FP32)})
    with pytest.raises(UserError, match="solov2 learns masks, and not every object of dots has one"):
        compared(masks)


def test_an_unknown_recipe_is_refused() -> None:
    odd = dataclasses.replace(SMALL, arms={**ARMS, "odd": ArmSpec(detector="fcos", precision=FP32, recipe="9x9")})
    with pytest.raises(UserError, match="no recipe '9x9'; it has 8x2, 8x8"):
        compared(odd)


@pytest.mark.parametrize("seeds", [0, 1001])
def test_seeds_are_between_one_and_the_search_s(seeds: int) -> None:
    with pytest.raises(UserError, match=f"{seeds} seeds: at least 1 and at most 1000"):
        compared(seeds=seeds)


def test_several_devices_are_other_runs_and_share_the_batch_evenly() -> None:
    several = compared(devices=2)
    assert several.arms()["plain"][0].spec == dataclasses.replace(compared().arms()["plain"][0].spec, devices=2)
    assert several.conditions.key == f"{compared().conditions.key}x2"
    with pytest.raises(UserError, match="3 devices cannot share the batch of 8 pictures of fcos evenly"):
        compared(devices=3)


@pytest.mark.parametrize("name", DETECTORS)
def test_default_arms_of_every_detector_are_its_sweep_s(name: str) -> None:
    arms = {f"{p.name}": ArmSpec(detector=name, precision=p) for p in (FP32, FP16)}
    comparison = dataclasses.replace(SMALL, arms=arms, contrasts={"gap": {"fp32": -1, "fp16": 1}})
    dataset = dataclasses.replace(conditions().dataset, has_masks=True)
    sweep = plan(dataclasses.replace(SWEEP, detector=name, space={}), dataset=dataset)
    mine = compared(comparison, seeds=3, dataset=dataset).arms()
    assert [job.spec.signature for job in (*mine["fp32"], *mine["fp16"])] == [
        job.spec.signature for job in (*sweep.baseline(), *sweep.default())
    ]


def test_the_list_has_all_runs_and_their_state(tmp_path: Path) -> None:
    finish(tmp_path, compared().arms()["half"][0].spec)
    listed = list_comparison(compared(), tmp_path)
    assert [run.job.name for run in listed] == [f"{arm} seed {seed}" for arm in ARMS for seed in range(2)]
    assert [run.is_due for run in listed] == [True, True, False, True, True, True]

"""From an experiment to its runs: who trains what with which seed on which split, at what expected cost."""

import dataclasses
from typing import Any

import pytest
from small_plan import FP16, NULL, SPACE, SWEEP, plan

from workspace.detectors import detector
from workspace.errors import UserError
from workspace.precision import LossScale
from workspace.search import choice

TUNED = {"lr": 0.004, "clip_norm": None, "loss_scale": LossScale(init=512.0), "fp32_islands": ("head",)}


def test_the_arms_differ_in_their_precision_alone() -> None:
    small = plan()
    for baseline, default in zip(small.baseline(), small.default(), strict=True):
        assert default.spec == dataclasses.replace(baseline.spec, precision=FP16)
    assert [job.spec.seed for job in small.baseline()] == [0, 1, 2]
    assert [job.name for job in small.default()] == ["default seed 0", "default seed 1", "default seed 2"]


def test_roles_have_names() -> None:
    small = plan()
    jobs = [small.baseline()[0], small.default()[1], small.trial(2, {}), small.confirm({})[0]]
    assert [(job.phase, job.arm, job.name) for job in jobs] == [
        ("baseline", "baseline", "baseline seed 0"),
        ("default", "default", "default seed 1"),
        ("search", "trial", "trial 2"),
        ("confirm", "tuned", "tuned seed 0"),
    ]


@pytest.mark.parametrize("experiment", [SWEEP, NULL], ids=lambda experiment: experiment.name)
def test_the_search_has_seeds_and_a_split_of_its_own(experiment: Any) -> None:
    small = plan(experiment, trials=50, seeds=30)
    judged = [job.spec for job in (*small.baseline(), *small.default(), *small.confirm({}))]
    searched = [small.trial(number, {}).spec for number in range(50)]
    assert not {spec.seed for spec in judged} & {spec.seed for spec in searched}
    assert len({spec.seed for spec in searched}) == 50
    assert {spec.data.evaluate for spec in judged} == {"eval"}
    assert {spec.data.evaluate for spec in searched} == {"search"}


def test_the_null_experiment_draws_its_candidates_from_other_seeds() -> None:
    small = plan(NULL)
    assert [job.spec.seed for job in small.baseline()] == [0, 1, 2]
    assert [job.spec.seed for job in small.default()] == [100, 101, 102]
    assert small.default()[0].spec == dataclasses.replace(small.baseline()[0].spec, seed=100)


def test_an_experiment_of_equal_arms_and_seeds_is_refused() -> None:
    with pytest.raises(UserError, match="equal arms with equal seeds"):
        dataclasses.replace(NULL, candidate_seeds_from=0)


def test_changes_land_in_the_recipe_and_in_the_precision() -> None:
    small = plan()
    plain, tuned = small.trial(1, {}).spec, small.trial(1, TUNED).spec
    recipe = dataclasses.replace(plain.recipe, lr=0.004, clip_norm=None)
    precision = dataclasses.replace(FP16, loss_scale=LossScale(init=512.0), fp32_islands=("head",))
    assert tuned == dataclasses.replace(plain, recipe=recipe, precision=precision)


def test_the_confirmed_recipe_is_the_trial_s() -> None:
    small = plan()
    trial = small.trial(7, TUNED).spec
    for job in small.confirm(TUNED):
        assert (job.spec.recipe, job.spec.precision) == (trial.recipe, trial.precision)
    assert [job.spec.seed for job in small.confirm(TUNED)] == [0, 1, 2]


def test_the_default_values_are_the_candidate_s_own() -> None:
    assert plan().default_values == {"lr": detector("fcos").demo.recipe.lr, "fp32_islands": ()}


def test_an_unknown_name_in_the_space_is_refused() -> None:
    wrong = dataclasses.replace(SWEEP, space={**SPACE, "learning_rate": choice({"a": 1}), "zeal": choice({"a": 1})})
    with pytest.raises(UserError, match="small_sweep: learning_rate, zeal in its space: neither a field of Recipe"):
        plan(wrong)


def test_an_unknown_island_is_refused() -> None:
    with pytest.raises(UserError, match="fcos has no FP32 island nose: use backbone, neck, head, predictors, loss"):
        plan().trial(0, {"fp32_islands": ("head", "nose")})


def test_an_island_may_be_a_group_a_module_or_a_method() -> None:
    names = ("backbone.layer1", "bbox_head", "bbox_head:loss_by_feat", "head")
    assert plan().trial(0, {"fp32_islands": names}).spec.precision.fp32_islands == names


@pytest.mark.parametrize("effort", [{"seeds": 0}, {"trials": -1}])
def test_an_effort_of_nothing_is_refused(effort: dict[str, int]) -> None:
    with pytest.raises(UserError, match="at least 1 seed and 0 trials"):
        plan(**effort)


def test_the_length_follows_the_data_and_the_batch() -> None:
    spec = plan().baseline()[0].spec  # 1200 steps of 8 of 400 pictures
    assert (spec.epochs, spec.evaluations, plan().conditions.steps(spec)) == (24, 3, 1200)
    wide = plan().trial(0, {"batch_size": 300, "steps": 2}).spec
    assert (wide.epochs, wide.evaluations, plan().conditions.steps(wide)) == (1, 1, 2)


def test_a_user_s_pictures_keep_more_pixels_than_the_embedded_ones() -> None:
    assert plan().baseline()[0].spec.image_size == (96, 96)
    assert plan(embedded=False).baseline()[0].spec.image_size == (160, 160)
    assert plan(embedded=False, scale="full").baseline()[0].spec.image_size is None


def test_trials_of_other_questions_have_another_identity() -> None:
    identities = [
        plan().study_identity,
        plan(device="npu").study_identity,
        plan(embedded=False).study_identity,
        plan(dataclasses.replace(SWEEP, candidate=dataclasses.replace(FP16, overflow="saturate"))).study_identity,
    ]
    assert all(a != b for i, a in enumerate(identities) for b in identities[:i])
    assert plan(seeds=9, trials=99).study_identity == plan().study_identity

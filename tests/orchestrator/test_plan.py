"""From an experiment to its runs: who trains what with which seed on which split, at what expected cost."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_plan import FP16, NULL, SPACE, SWEEP, finish, plan

from workspace.detectors import detector
from workspace.errors import UserError
from workspace.journal import JournalWriter
from workspace.orchestrator.cost import expected_seconds, finished_runs
from workspace.orchestrator.listing import list_runs
from workspace.precision import LossScale
from workspace.search import Study, choice, default_url, resolve
from workspace.spec import RunSpec, run_folder

STEP_SECONDS = 0.075  # of the FCOS demo
TUNED = {"lr": 0.004, "clip_norm": None, "loss_scale": LossScale(init=512.0), "fp32_islands": ("head",)}


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    small = plan()
    space = resolve(SPACE, small.default_values)
    with Study(
        SWEEP.name, identity=small.study_identity, space=space, seed=0, prune_from=0, url=default_url(tmp_path)
    ) as opened:
        yield opened


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


@pytest.mark.parametrize("effort", [{"seeds": 0}, {"trials": -1}])
def test_an_effort_of_nothing_is_refused(effort: dict[str, int]) -> None:
    with pytest.raises(UserError, match="at least 1 seed and 0 trials"):
        plan(**effort)


def test_the_length_follows_the_data_and_the_batch() -> None:
    spec = plan().baseline()[0].spec  # 1200 steps of 8 of 400 pictures
    assert (spec.epochs, spec.evaluations, plan().steps(spec)) == (24, 3, 1200)
    wide = plan().trial(0, {"batch_size": 300, "steps": 2}).spec
    assert (wide.epochs, wide.evaluations, plan().steps(wide)) == (1, 1, 2)


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


def test_expected_seconds_come_from_measured_runs_alike(tmp_path: Path) -> None:
    small = plan()
    baseline, default = small.baseline(), small.default()
    finish(tmp_path, baseline[0].spec, seconds=10.0)
    finish(tmp_path, baseline[1].spec, seconds=20.0)
    finish(tmp_path, small.trial(0, {"steps": 9}).spec, seconds=1.0)  # a shorter run says nothing of the others
    measured = finished_runs(tmp_path)
    assert len(measured) == 3
    assert expected_seconds(small, baseline[2].spec, measured) == 15.0
    assert expected_seconds(small, default[2].spec, measured) == pytest.approx(1200 * STEP_SECONDS * 1.15)


def test_expected_seconds_of_what_nobody_measured() -> None:
    small = plan()
    spec = small.baseline()[0].spec
    assert expected_seconds(small, spec, []) == pytest.approx(1200 * STEP_SECONDS)
    larger = plan(embedded=False).baseline()[0].spec
    assert expected_seconds(small, larger, []) == pytest.approx(1200 * STEP_SECONDS * (160 / 96) ** 2)
    assert expected_seconds(plan(device="npu"), dataclasses.replace(spec, device="npu"), []) is None
    full = plan(scale="full", embedded=False)
    assert expected_seconds(full, full.baseline()[0].spec, []) is None


def begin(work_dir: Path, spec: RunSpec, *, failed: bool = False) -> None:
    folder = run_folder(work_dir, spec)
    folder.mkdir(parents=True)
    journal = JournalWriter(folder)
    journal.write("start", step=0, epoch=0)
    if failed:
        journal.write("end", status="failed", reason="the disk is full")
    journal.close()


def test_the_list_before_anything_was_trained(tmp_path: Path) -> None:
    listed = list_runs(plan(), tmp_path, None)
    assert [run.name for run in listed] == [
        *(f"{arm} seed {seed}" for arm in ("baseline", "default") for seed in range(3)),
        *(f"trial {number}" for number in range(4)),
        *(f"tuned seed {seed}" for seed in range(3)),
    ]
    assert {run.state for run in listed} == {"new"}
    assert all(run.is_due for run in listed)
    unknown = [run.name for run in listed if run.signature is None]
    assert unknown == ["trial 1", "trial 2", "trial 3", "tuned seed 0", "tuned seed 1", "tuned seed 2"]
    assert [run.name for run in list_runs(plan(NULL), tmp_path, None)][2:4] == ["baseline seed 2", "default seed 100"]
    assert len(list_runs(plan(NULL), tmp_path, None)) == 6


def test_the_list_tells_the_state_of_each_run(tmp_path: Path) -> None:
    specs = [job.spec for job in plan().baseline()]
    finish(tmp_path, specs[0])
    begin(tmp_path, specs[1])
    begin(tmp_path, specs[2], failed=True)
    listed = list_runs(plan(), tmp_path, None)[:4]
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
    listed = list_runs(small, tmp_path, study)[6:]
    assert [run.signature for run in listed[:4]] == [spec.signature for spec in specs]
    assert [run.state for run in listed[:4]] == ["finished", "pruned", "failed", "new"]
    assert [run.is_due for run in listed[:4]] == [False, False, False, True]
    assert {run.signature for run in listed[4:]} == {None}
    study.finish(trials[3].number, 60.0)
    confirmed = list_runs(small, tmp_path, study)[10:]
    assert [run.signature for run in confirmed] == [job.spec.signature for job in small.confirm(trials[3].params)]

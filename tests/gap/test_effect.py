"""Contrasts of several arms: against two-arm gaps, against scipy, and their coverage in simulated designs."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from workspace.errors import UserError
from workspace.gap import LOOKS, effect_sentence, measure_effect, measure_effect_sequentially, measure_gap
from workspace.gap.contrast import contrast
from workspace.gap.sequential import level

STUDIES = 4_000
# Three standard errors of a coverage of 90 %.
TOLERANCE = 3 * np.sqrt(0.9 * 0.1 / STUDIES)

RECIPE = {"8x2 fp32": -0.5, "8x2 fp16": -0.5, "8x8 fp32": 0.5, "8x8 fp16": 0.5}
INTERACTION = {"8x2 fp32": 1.0, "8x2 fp16": -1.0, "8x8 fp32": -1.0, "8x8 fp16": 1.0}


def design(rng: np.random.Generator, seeds: int, means=(50.0, 49.0, 48.0, 46.5), sds=(1.0, 1.5, 0.5, 1.0)):
    return {
        name: dict(enumerate((mean + sd * rng.standard_normal(seeds)).tolist()))
        for name, mean, sd in zip(RECIPE, means, sds, strict=True)
    }


@pytest.mark.parametrize("seeds", [1, 2, 4, 8])
@pytest.mark.parametrize("correlation", [0.0, 0.99])
def test_of_two_arms_is_the_gap(seeds, correlation):
    rng = np.random.default_rng(seeds)
    shared, own = rng.standard_normal((2, seeds))
    baseline = dict(enumerate((50 + shared).tolist()))
    candidate = dict(enumerate((49.5 + correlation * shared + np.sqrt(1 - correlation**2) * own).tolist()))
    effect = measure_effect({"a": baseline, "b": candidate, "unused": {}}, {"a": -1, "b": 1})
    gap = measure_gap(baseline, candidate, margin=1.0)
    assert (effect.mean, effect.low, effect.high, effect.method) == (gap.mean, gap.low, gap.high, gap.method)
    assert effect.seeds == {"a": seeds, "b": seeds}


def test_of_unequal_arms_is_welch_s_and_may_have_other_seeds():
    baseline, candidate = {0: 50.0, 1: 51.0, 2: 49.0}, {7: 48.0, 8: 48.5}
    effect = measure_effect({"a": baseline, "b": candidate}, {"a": -1, "b": 1})
    expected = stats.ttest_ind(list(candidate.values()), list(baseline.values()), equal_var=False)
    interval = expected.confidence_interval(0.9)
    assert (effect.low, effect.high) == pytest.approx((interval.low, interval.high))


def test_a_weight_scales_the_contrast():
    arms = design(np.random.default_rng(0), 3)
    once = measure_effect(arms, INTERACTION)
    half = measure_effect(arms, {name: weight / 2 for name, weight in INTERACTION.items()})
    assert (half.mean, half.low, half.high) == pytest.approx((once.mean / 2, once.low / 2, once.high / 2))


def test_main_effects_add_up_to_the_total():
    arms = design(np.random.default_rng(0), 3)
    precision = {"8x2 fp32": -0.5, "8x2 fp16": 0.5, "8x8 fp32": -0.5, "8x8 fp16": 0.5}
    total = measure_gap(arms["8x2 fp32"], arms["8x8 fp16"], margin=1.0)
    assert total.mean == pytest.approx(measure_effect(arms, RECIPE).mean + measure_effect(arms, precision).mean)


def test_four_arms_alike_in_each_seed_are_taken_seed_by_seed():
    rng = np.random.default_rng(2)
    seed_luck = rng.standard_normal(8)
    arms = {name: dict(enumerate((50 + seed_luck + 0.05 * rng.standard_normal(8)).tolist())) for name in RECIPE}
    effect = measure_effect(arms, RECIPE)
    differences = [sum(RECIPE[name] * arm[seed] for name, arm in arms.items()) for seed in range(8)]
    expected = stats.ttest_1samp(differences, 0).confidence_interval(0.9)
    assert effect.method == "paired"
    assert (effect.low, effect.high) == pytest.approx((expected.low, expected.high))
    without_one = {**arms, "8x8 fp16": {seed + 1: ap for seed, ap in arms["8x8 fp16"].items()}}
    assert measure_effect(without_one, RECIPE).method == "welch"


@pytest.mark.parametrize("weights", [RECIPE, INTERACTION], ids=["recipe", "interaction"])
@pytest.mark.parametrize("sds", [(1.0, 1.0, 1.0, 1.0), (0.5, 1.0, 2.0, 1.0)], ids=str)
@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_the_interval_covers_the_truth_in_90_percent(weights, sds, seeds):
    rng = np.random.default_rng(seeds)
    means = np.array([50.0, 49.0, 48.0, 46.5])
    arms = [mean + sd * rng.standard_normal((STUDIES, seeds)) for mean, sd in zip(means, sds, strict=True)]
    low, high = contrast(arms, list(weights.values()), same_seeds=True).interval()
    truth = float(means @ np.array(list(weights.values())))
    covered = float(((low <= truth) & (truth <= high)).mean())
    assert covered >= 0.9 - TOLERANCE
    assert covered <= (0.97 if seeds < 5 else 0.9 + TOLERANCE)  # Satterthwaite's t is conservative at few seeds


@pytest.mark.parametrize("seeds", [2, 5, 10])
def test_arms_that_share_their_seeds_luck_are_covered_at_least_as_often(seeds):
    rng = np.random.default_rng(seeds)
    luck = rng.standard_normal((STUDIES, seeds))
    arms = [0.7 * luck + 0.7 * rng.standard_normal((STUDIES, seeds)) for _ in RECIPE]
    low, high = contrast(arms, list(RECIPE.values()), same_seeds=True).interval()
    assert float(((low <= 0) & (high >= 0)).mean()) >= 0.9 - TOLERANCE


@pytest.mark.parametrize("weights", [RECIPE, INTERACTION], ids=["recipe", "interaction"])
@pytest.mark.parametrize("sds", [(1.0, 1.0, 1.0, 1.0), (0.5, 1.0, 2.0, 1.0), (0.2, 1.0, 1.0, 1.0)], ids=str)
def test_at_whichever_look_others_end_the_adding_of_seeds_the_interval_covers_the_truth(weights, sds):
    """The worst that a choice of look could do: a study misses where any of its looks does."""
    rng = np.random.default_rng(3)
    arms = [sd * rng.standard_normal((STUDIES, LOOKS[-1])) for sd in sds]
    above, below = np.zeros((2, STUDIES), dtype=np.bool_)
    plain = np.zeros(STUDIES, dtype=np.bool_)
    for look in LOOKS:
        found = contrast([arm[:, :look] for arm in arms], list(weights.values()), same_seeds=True)
        low, high = found.interval(level(look))
        above |= low > 0
        below |= high < 0
        plain |= found.interval()[0] > 0
    at_most = 0.05 + 3 * np.sqrt(0.05 * 0.95 / STUDIES)
    assert above.mean() <= at_most
    assert below.mean() <= at_most
    assert above.mean() + below.mean() >= 0.04
    assert plain.mean() > 2 * at_most


def test_seeds_that_were_added_are_measured_at_the_last_look_that_all_arms_reached():
    arms = design(np.random.default_rng(0), 9)
    arms["8x8 fp16"] = {seed: arms["8x8 fp16"][seed] for seed in reversed(range(7))}
    found = measure_effect_sequentially(arms, RECIPE)
    first = {name: {seed: arm[seed] for seed in range(6)} for name, arm in arms.items()}
    assert found == dataclasses.replace(measure_effect(first, RECIPE, level(6)), sequential=True)
    assert set(found.seeds.values()) == {6}
    assert "(90 % interval that allows for looks " in effect_sentence(found, name="recipe")
    one = measure_effect_sequentially(design(np.random.default_rng(0), 1), RECIPE)
    assert (one.method, one.sequential, set(one.seeds.values())) == ("none", True, {1})


def test_one_seed_or_no_spread_gives_no_interval():
    one = measure_effect(design(np.random.default_rng(0), 1), RECIPE)
    constant = measure_effect({name: {0: 40.0, 1: 40.0} for name in RECIPE}, RECIPE)
    assert (one.low, one.high, one.method) == (None, None, "none")
    assert dataclasses.replace(constant, seeds={}) == dataclasses.replace(one, mean=0.0, seeds={})


@pytest.mark.parametrize(("arm", "said"), [({}, "no finished run"), ({0: 50.0, 1: float("nan")}, "seed 1 is nan")])
def test_an_arm_that_cannot_be_judged_is_named(arm, said):
    with pytest.raises(UserError, match=f"8x8 fp16 arm.*{said}"):
        measure_effect({**design(np.random.default_rng(0), 2), "8x8 fp16": arm}, RECIPE)


def test_sentences():
    arms = {name: {0: ap, 1: ap + 1} for name, ap in zip(RECIPE, (50.0, 49.0, 48.0, 46.0), strict=True)}
    said = effect_sentence(measure_effect(arms, RECIPE), name="recipe")
    assert said == "recipe: -2.50 AP (90 % interval -3.57 to -1.43, 2 seeds an arm)."
    arms["8x8 fp32"] = {0: 48.0}
    said = effect_sentence(measure_effect(arms, RECIPE), name="recipe", metric="mask AP")
    assert said == "recipe: -2.75 mask AP (1 to 2 seeds an arm, no interval)."

"""When a candidate is given up: hardly ever one that would have been closed, and early one that is far from it."""

import numpy as np
import pytest

from workspace.errors import UserError
from workspace.gap import FUTILE, chance_of_closing, measure_gap

FP32 = {0: 87.1, 1: 88.3, 2: 86.0, 3: 87.7}


def test_far_below_the_baseline_the_first_seed_is_enough():
    assert chance_of_closing(FP32, {0: 40.0}, 5.0, seeds=4) < 0.01
    assert chance_of_closing(FP32, {0: 87.0}, 5.0, seeds=4) > 0.9


def test_once_all_seeds_are_there_it_is_the_verdict_of_equal_spreads():
    level = {0: 86.0, 1: 87.5, 2: 85.5, 3: 86.6}
    for drop in np.linspace(0, 8, 33):
        candidate = {seed: ap - drop for seed, ap in level.items()}
        chance = chance_of_closing(FP32, candidate, 5.0, seeds=4)
        verdict = measure_gap(FP32, candidate, 5.0).verdict
        assert chance == (verdict == "closed")


def test_it_falls_with_what_was_lost_and_with_what_the_verdict_allows_for():
    chances = [chance_of_closing(FP32, {0: ap}, 5.0, seeds=4) for ap in (87.0, 80.0, 75.0, 70.0, 60.0)]
    assert chances == sorted(chances, reverse=True)
    one, two = (chance_of_closing(FP32, {0: 76.0}, 5.0, seeds=4, recipes=recipes) for recipes in (1, 2))
    assert two < one
    looks = chance_of_closing(FP32, {0: 76.0}, 5.0, seeds=4, sequential=True)
    assert looks < one


@pytest.mark.parametrize(("known", "lost"), [(1, 4.5), (2, 3.0), (3, 2.2)])
def test_it_is_the_share_of_studies_that_go_on_to_close(known, lost):
    """With the spread known well, so that the two ways to treat it do not differ."""
    rng = np.random.default_rng(known)
    baseline = {seed: float(ap) for seed, ap in enumerate(50 + rng.standard_normal(400))}
    mean = float(np.mean(list(baseline.values())))
    first = dict.fromkeys(range(known), mean - lost)
    chance = chance_of_closing(baseline, first, 2.0, seeds=5)
    closed = 0
    for _ in range(2000):
        to_come = mean + rng.standard_normal(5 - known)
        study = {**first, **dict(enumerate(to_come.tolist(), start=known))}
        pooled = chance_of_closing(baseline, study, 2.0, seeds=5)
        closed += pooled == 1.0
    assert chance == pytest.approx(closed / 2000, abs=0.05)
    assert 0.02 < chance < 0.98


def test_giving_up_takes_little_power():
    """Studies without a gap: those that are given up on the way would seldom have been closed."""
    rng = np.random.default_rng(0)
    lost = closed = 0
    for _ in range(1000):
        baseline, candidate = (dict(enumerate(arm)) for arm in 50 + rng.standard_normal((2, 4)))
        is_closed = measure_gap(baseline, candidate, 2.5).verdict == "closed"
        given_up = any(
            chance_of_closing(baseline, {seed: candidate[seed] for seed in range(count)}, 2.5, seeds=4) < FUTILE
            for count in (1, 2, 3)
        )
        closed += is_closed
        lost += is_closed and given_up
    assert closed > 700
    assert lost / closed < 0.03


def test_without_any_spread_nothing_is_said():
    assert chance_of_closing({0: 87.0}, {0: 20.0}, 5.0, seeds=4) == 1
    assert chance_of_closing({0: 87.0, 1: 87.0}, {0: 20.0}, 5.0, seeds=4) == 1


def test_what_is_no_ap_is_refused():
    with pytest.raises(UserError, match="candidate arm's seed 0 is -100"):
        chance_of_closing(FP32, {0: -100.0}, 5.0, seeds=4)

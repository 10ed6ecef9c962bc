"""A verdict on seeds that are added until it is decided."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from workspace.errors import UserError
from workspace.gap import LOOKS, measure_gap, measure_sequentially, next_look, sentence
from workspace.gap.sequential import level


def arm(values: np.ndarray) -> dict[int, float]:
    return dict(enumerate(values.tolist()))


def study(seeds: int, gap: float, sd: float = 1.0) -> tuple[dict[int, float], dict[int, float]]:
    rng = np.random.default_rng(0)
    return arm(50 + sd * rng.standard_normal(seeds)), arm(50 + gap + sd * rng.standard_normal(seeds))


def test_a_look_is_the_fixed_interval_at_its_own_level() -> None:
    baseline, candidate = study(6, -1.0)
    found = measure_sequentially(baseline, candidate, 1.0)
    welch = stats.ttest_ind(list(candidate.values()), list(baseline.values()), equal_var=False)
    expected = welch.confidence_interval(1 - 2 * level(6))
    assert (found.verdict, found.baseline_seeds, found.candidate_seeds) == ("undecided", 6, 6)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.sequential


def test_the_first_look_that_decides_is_the_answer_and_later_seeds_change_nothing() -> None:
    baseline, candidate = study(24, -3.0)
    found = measure_sequentially(baseline, candidate, 1.0)
    assert (found.verdict, found.seeds_needed) == ("open", 0)
    assert found.baseline_seeds in LOOKS[:-1]
    assert measure_sequentially(baseline, {**candidate, 23: 99.0}, 1.0) == found
    before = {seed: ap for seed, ap in candidate.items() if seed < found.baseline_seeds - 1}
    assert measure_sequentially(baseline, before, 1.0).verdict == "undecided"


def test_seeds_between_two_looks_wait_for_the_next() -> None:
    baseline, candidate = study(7, -1.0)
    seven = measure_sequentially(baseline, candidate, 1.0)
    six = measure_sequentially(
        {seed: baseline[seed] for seed in range(6)}, {seed: candidate[seed] for seed in reversed(range(6))}, 1.0
    )
    assert seven == six


def test_it_is_never_decided_where_a_single_look_at_the_usual_level_is_not() -> None:
    for seeds in LOOKS:
        baseline, candidate = study(seeds, -0.4)
        if measure_gap(baseline, candidate, 1.0).verdict == "undecided":
            alone = measure_sequentially(baseline, candidate, 1.0)
            assert alone.verdict == "undecided" or alone.baseline_seeds < seeds


def test_the_seeds_that_it_needs_end_at_a_look() -> None:
    baseline, candidate = study(4, 0.0)
    found = measure_sequentially(baseline, candidate, 1.0)
    assert found.verdict == "undecided"
    assert found.seeds_needed is not None
    assert 4 + found.seeds_needed in LOOKS
    once = measure_gap(baseline, candidate, 1.0)
    assert once.seeds_needed is not None
    assert found.seeds_needed > once.seeds_needed


def test_a_gap_that_no_look_can_tell_from_the_margin_is_said_to_need_more_than_there_are() -> None:
    centred = np.array([-1.0, 1.0, -2.0, 2.0])
    found = measure_sequentially(arm(50 + centred), arm(49.05 + centred[::-1]), 1.0)
    assert found.seeds_needed is None
    assert sentence(found).endswith("it is so close to the margin that more than 96 seeds an arm would be needed.")


def test_one_seed_and_no_spread_decide_nothing() -> None:
    one = measure_sequentially({0: 57.0}, {0: 56.2}, 1.0)
    assert (one.method, one.verdict, one.seeds_needed) == ("none", "undecided", 1)
    constant = measure_sequentially(dict.fromkeys(range(8), 40.0), dict.fromkeys(range(8), 20.0), 1.0)
    assert (constant.method, constant.verdict, constant.seeds_needed) == ("none", "undecided", None)


def test_the_sentence_says_that_looks_are_allowed_for() -> None:
    baseline, candidate = study(6, -1.0)
    found = dataclasses.replace(measure_sequentially(baseline, candidate, 1.0), mean=-1.0, low=-2.2, high=0.4)
    assert "(90 % interval that allows for looks -2.2 to +0.4, 6 seeds an arm)" in sentence(found)


def test_what_a_fixed_verdict_refuses_is_refused() -> None:
    with pytest.raises(UserError, match="margin"):
        measure_sequentially({0: 50.0}, {0: 50.0}, 0.0)
    with pytest.raises(UserError, match="seed 1 is nan"):
        measure_sequentially({0: 50.0, 1: float("nan")}, {0: 50.0, 1: 50.0}, 1.0)


def test_looks_come_one_after_the_other() -> None:
    assert [next_look(seeds) for seeds in (0, 2, 5, 95, 96)] == [2, 3, 6, 96, None]

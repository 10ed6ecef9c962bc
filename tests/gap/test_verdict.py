import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from workspace.errors import UserError
from workspace.gap import Gap, measure_gap

FP32 = {0: 57.1, 1: 58.3, 2: 56.0, 3: 57.7}


def study(rng: np.random.Generator, seeds: int, gap: float, sd: float = 1.0, correlation: float = 0.0):
    shared = rng.standard_normal(seeds)
    own = rng.standard_normal(seeds)
    baseline = 50 + sd * shared
    candidate = 50 + gap + sd * (correlation * shared + math.sqrt(1 - correlation**2) * own)
    return dict(enumerate(baseline.tolist())), dict(enumerate(candidate.tolist()))


def values(arm: dict[int, float]) -> list[float]:
    return list(arm.values())


class TestInterval:
    @pytest.mark.parametrize("seeds", [2, 3, 8])
    def test_of_independent_arms_is_scipys_welch(self, seeds):
        baseline, candidate = study(np.random.default_rng(seeds), seeds, gap=-0.4)
        candidate = {seed + 100: 2 * ap - 50 for seed, ap in candidate.items()}

        gap = measure_gap(baseline, candidate, margin=0.5)

        expected = stats.ttest_ind(values(candidate), values(baseline), equal_var=False).confidence_interval(0.90)
        assert (gap.low, gap.high) == pytest.approx((expected.low, expected.high))
        moved = [ap + 0.5 for ap in values(candidate)]
        test = stats.ttest_ind(moved, values(baseline), equal_var=False, alternative="greater")
        assert gap.p_value == pytest.approx(test.pvalue)
        assert gap.method == "welch"
        assert gap.correlation is None

    def test_of_strongly_correlated_seeds_is_scipys_paired_t(self):
        baseline, candidate = study(np.random.default_rng(1), 8, gap=-0.4, correlation=0.98)

        gap = measure_gap(baseline, candidate, margin=0.5)

        expected = stats.ttest_rel(values(candidate), values(baseline)).confidence_interval(0.90)
        assert (gap.low, gap.high) == pytest.approx((expected.low, expected.high))
        assert gap.correlation == pytest.approx(stats.pearsonr(values(baseline), values(candidate)).statistic)
        assert gap.method == "paired"

    def test_pairs_by_seed_and_not_by_order(self):
        baseline, candidate = study(np.random.default_rng(1), 8, gap=-0.4, correlation=0.98)
        shuffled = {seed: candidate[seed] for seed in (5, 2, 7, 0, 3, 6, 1, 4)}

        assert measure_gap(baseline, shuffled, 0.5) == measure_gap(baseline, candidate, 0.5)

    def test_is_welchs_where_an_arm_has_a_seed_of_its_own(self):
        baseline, candidate = study(np.random.default_rng(1), 8, gap=-0.4, correlation=0.98)
        candidate[8] = candidate.pop(7)

        gap = measure_gap(baseline, candidate, 0.5)

        assert gap.method == "welch"
        assert gap.correlation is not None

    def test_is_welchs_below_five_pairs_however_correlated(self):
        candidate = {seed: ap - 0.3 + 0.001 * seed**2 for seed, ap in FP32.items()}

        gap = measure_gap(FP32, candidate, 1.0)

        assert gap.correlation == pytest.approx(1, abs=1e-4)
        assert gap.method == "welch"

    def test_is_welchs_at_a_correlation_that_chance_gives(self):
        baseline, candidate = study(np.random.default_rng(3), 8, gap=0, correlation=0.3)

        gap = measure_gap(baseline, candidate, 0.5)

        assert gap.correlation is not None
        assert gap.method == "welch"


class TestVerdict:
    def test_closed_needs_the_whole_interval_above_the_margin(self):
        candidate = {10: 57.2, 11: 58.1, 12: 56.3, 13: 57.6}
        wide = measure_gap(FP32, candidate, margin=5.0)
        assert wide.verdict == "closed"
        assert wide.seeds_needed == 0
        assert wide.low is not None
        assert measure_gap(FP32, candidate, margin=-wide.low * 1.001).verdict == "closed"
        assert measure_gap(FP32, candidate, margin=-wide.low * 0.999).verdict == "undecided"

    def test_open_needs_the_whole_interval_below_the_margin(self):
        candidate = {seed: ap - 4 for seed, ap in FP32.items()}
        gap = measure_gap(FP32, candidate, margin=1.0)
        assert gap.verdict == "open"
        assert gap.seeds_needed == 0
        assert gap.high is not None
        assert measure_gap(FP32, candidate, margin=-gap.high * 0.999).verdict == "open"
        assert measure_gap(FP32, candidate, margin=-gap.high * 1.001).verdict == "undecided"

    def test_no_significant_difference_is_not_closed(self):
        gap = measure_gap(FP32, {10: 56.1, 11: 57.9, 12: 57.0, 13: 56.0}, margin=0.2)
        assert gap.low is not None
        assert gap.high is not None
        assert gap.low < 0 < gap.high
        assert gap.verdict == "undecided"

    @settings(max_examples=200, deadline=None)
    @given(
        st.lists(st.floats(0, 100), min_size=1, max_size=7),
        st.lists(st.floats(0, 100), min_size=1, max_size=7),
        st.floats(0.01, 20),
    )
    def test_fields_agree_for_any_two_arms(self, baseline, candidate, margin):
        gap = measure_gap(dict(enumerate(baseline)), dict(enumerate(candidate)), margin)

        assert gap.mean == pytest.approx(np.mean(candidate) - np.mean(baseline), abs=1e-9)
        assert (gap.seeds_needed == 0) == (gap.verdict != "undecided")
        if gap.method == "none":
            assert (gap.low, gap.high, gap.p_value, gap.probability) == (None, None, None, None)
            assert gap.verdict == "undecided"
            return
        assert gap.low is not None
        assert gap.high is not None
        assert gap.p_value is not None
        assert gap.low <= gap.mean <= gap.high
        assert gap.probability == pytest.approx(1 - gap.p_value)
        if abs(gap.p_value - 0.05) > 1e-9:
            assert (gap.verdict == "closed") == (gap.p_value < 0.05)
        assert all(math.isfinite(number) for number in dataclasses.astuple(gap) if isinstance(number, float))


class TestWithoutSpread:
    def test_one_seed_an_arm_has_no_interval_and_needs_at_least_one_more(self):
        gap = measure_gap({0: 57.0}, {0: 56.2}, 1.0)
        assert gap == Gap(
            mean=pytest.approx(-0.8),
            low=None,
            high=None,
            margin=1.0,
            verdict="undecided",
            seeds_needed=1,
            probability=None,
            p_value=None,
            method="none",
            baseline_seeds=1,
            candidate_seeds=1,
            correlation=None,
        )

    def test_one_seed_in_one_arm_is_no_better(self):
        gap = measure_gap(FP32, {0: 20.0}, 1.0)
        assert (gap.method, gap.verdict, gap.seeds_needed) == ("none", "undecided", 1)

    @pytest.mark.parametrize("candidate", [40.0, 20.0])
    @pytest.mark.parametrize("seeds", [2, 6])
    def test_two_constant_arms_decide_nothing(self, candidate, seeds):
        gap = measure_gap(dict.fromkeys(range(seeds), 40.0), dict.fromkeys(range(seeds), candidate), 1.0)
        assert (gap.method, gap.verdict, gap.seeds_needed) == ("none", "undecided", None)
        assert gap.mean == candidate - 40

    def test_one_constant_arm_is_judged_by_the_others_spread(self):
        diverged = measure_gap(FP32, dict.fromkeys(FP32, 0.0), 1.0)
        assert (diverged.method, diverged.verdict) == ("welch", "open")
        alone = stats.ttest_1samp(values(FP32), 0).confidence_interval(0.90)
        assert diverged.low == pytest.approx(-alone.high)
        assert diverged.correlation is None

    def test_equal_differences_do_not_make_a_gap_exact(self):
        baseline, _ = study(np.random.default_rng(0), 8, gap=0)
        for shift in (0.0, 0.1):
            gap = measure_gap(baseline, {seed: ap - shift for seed, ap in baseline.items()}, 0.2)
            assert gap.correlation == pytest.approx(1)
            assert gap.method == "welch"
            assert gap.verdict == "undecided"


class TestBadInput:
    @pytest.mark.parametrize("ap", [math.nan, math.inf, -100.0, 101.0])
    @pytest.mark.parametrize("arm", ["baseline", "candidate"])
    def test_names_the_arm_and_seed_of_an_impossible_ap(self, ap, arm):
        arms = {"baseline": dict(FP32), "candidate": dict(FP32)}
        arms[arm][2] = ap
        with pytest.raises(UserError, match=f"the {arm} arm's seed 2 is {ap}"):
            measure_gap(**arms, margin=1.0)

    def test_names_an_empty_arm(self):
        with pytest.raises(UserError, match="candidate arm has no finished run"):
            measure_gap(FP32, {}, 1.0)

    @pytest.mark.parametrize("margin", [0.0, -0.2, math.nan, math.inf])
    def test_refuses_a_margin_that_is_none(self, margin):
        with pytest.raises(UserError, match="margin"):
            measure_gap(FP32, FP32, margin)

import dataclasses

import pytest

from workspace.gap import Gap, measure_gap, sentence

UNDECIDED = Gap(
    mean=-0.4,
    low=-1.9,
    high=1.1,
    margin=1.0,
    verdict="undecided",
    seeds_needed=9,
    probability=0.78,
    p_value=0.22,
    method="welch",
    baseline_seeds=4,
    candidate_seeds=4,
    correlation=None,
)


def changed(**fields) -> str:
    return sentence(dataclasses.replace(UNDECIDED, **fields))


def test_undecided_says_what_would_decide():
    assert sentence(UNDECIDED) == (
        "FP16 loses 0.4 AP (90 % interval -1.9 to +1.1, 4 seeds an arm): undecided at a margin of 1.0; "
        "about 9 more seeds an arm would decide it."
    )


def test_names_of_candidate_and_metric():
    text = sentence(UNDECIDED, candidate="BF16 with tuned recipe", metric="mask AP")
    assert text.startswith("BF16 with tuned recipe loses 0.4 mask AP (")


def test_closed_and_open():
    assert changed(low=-0.7, high=0.1, verdict="closed", seeds_needed=0) == (
        "FP16 loses 0.4 AP (90 % interval -0.7 to +0.1, 4 seeds an arm): closed at a margin of 1.0."
    )
    assert changed(mean=-2.4, low=-3.0, high=-1.5, verdict="open", seeds_needed=0) == (
        "FP16 loses 2.4 AP (90 % interval -3.0 to -1.5, 4 seeds an arm): open at a margin of 1.0."
    )


@pytest.mark.parametrize(
    ("mean", "start"),
    [
        (0.31, "FP16 gains 0.3 AP ("),
        (0.0, "FP16 is level with the baseline in AP ("),
        (-0.04, "FP16 is level with the baseline in AP ("),
    ],
)
def test_direction(mean, start):
    assert changed(mean=mean).startswith(start)


@pytest.mark.parametrize(
    ("further", "end"),
    [
        (1, "; about 1 more seed an arm would decide it."),
        (4321, "; it is so close to the margin that more than 1000 more seeds an arm would be needed."),
        (None, "; the gap lies on the margin, where no number of seeds can be expected to decide."),
    ],
)
def test_further_seeds(further, end):
    assert changed(seeds_needed=further).endswith(end)


def test_seeds_of_the_arms():
    assert "4 seeds an arm, paired)" in changed(method="paired")
    assert "4 seeds against 6 of the baseline)" in changed(baseline_seeds=6)


def test_one_seed_an_arm():
    assert sentence(measure_gap({0: 57.0}, {0: 56.2}, 1.0)) == (
        "FP16 loses 0.8 AP (1 seed an arm): undecided at a margin of 1.0; "
        "one seed shows no spread, so at least one more seed an arm is needed."
    )


def test_one_seed_in_one_arm():
    assert sentence(measure_gap({0: 57.0, 1: 57.4}, {0: 56.2}, 1.0)) == (
        "FP16 loses 1.0 AP (1 seed against 2 of the baseline): undecided at a margin of 1.0; "
        "one seed shows no spread, so the arm with one needs at least one more."
    )


def test_constant_arms():
    assert sentence(measure_gap({0: 40.0, 1: 40.0}, {0: 40.0, 1: 40.0}, 1.0)) == (
        "FP16 is level with the baseline in AP (2 seeds an arm): undecided at a margin of 1.0; "
        "all seeds of an arm gave the same value, so their spread is unknown: check that the seed reaches training."
    )


def test_a_small_margin_is_not_rounded_away():
    text = changed(mean=-0.031, low=-0.12, high=0.06, margin=0.05)
    assert text.startswith("FP16 loses 0.03 AP (90 % interval -0.12 to +0.06, ")
    assert "at a margin of 0.05;" in text


def test_an_interval_that_ends_near_the_margin_is_printed_on_its_side_of_it():
    text = changed(low=-0.98, high=0.18, verdict="closed", seeds_needed=0)
    assert "interval -0.98 to +0.18," in text
    assert "closed at a margin of 1.00." in text

"""What a diagnosed search does next and what it takes, as decisions on numbers."""

import random
from collections.abc import Sequence

import pytest

from workspace.search.strategy import REFERENCE, FurtherSeed, Point, Rules, Step, front

RULES = Rules(margin=2.0)
TRIALS = 8


def step(
    *points: Point, reference: tuple[float, ...] = (60.0, 60.0), asked: int = 0, pending: Sequence[int] = ()
) -> Step:
    return RULES.next_step(points, reference, asked=asked or len(points), trials=TRIALS, pending=pending)


def test_the_reference_comes_first_and_trials_do_not_wait_for_it() -> None:
    assert step(reference=()) == FurtherSeed(REFERENCE)
    assert step(reference=(), pending=[REFERENCE]) == "trial"
    assert step(reference=(60.0,)) == "trial"


def test_a_recipe_within_the_margin_gets_a_second_seed_and_so_does_the_reference() -> None:
    broken, near = Point(0, 1.0, (40.0,)), Point(1, 0.9, (58.5,))
    assert step(broken, near, reference=(60.0,)) == FurtherSeed(1)
    assert step(broken, near, reference=(60.0,), pending=[1]) == FurtherSeed(REFERENCE)
    assert step(broken, near, reference=(60.0,), pending=[1, REFERENCE]) == "wait"
    again = Point(1, 0.9, (58.5, 59.9))
    assert step(broken, again, reference=(60.0,)) == FurtherSeed(REFERENCE)
    assert step(broken, again) == "stop"


def test_one_seed_is_enough_where_nothing_is_lost() -> None:
    assert step(Point(0, 1.0, (40.0,)), Point(1, 0.9, (60.1,)), reference=(60.0,)) == "stop"
    assert step(Point(0, 1.0, (40.0,)), Point(1, 0.3, (60.1,)), reference=(60.0,)) == "trial"


def test_the_search_goes_on_where_the_second_seed_tells_otherwise() -> None:
    lucky = Point(1, 0.9, (59.5, 58.0))  # 1.25 below: more than half the margin
    assert step(Point(0, 1.0, (40.0,)), lucky) == "trial"
    assert not RULES.is_reached([lucky], (60.0, 60.0))
    assert RULES.is_reached([lucky], (60.0, 59.0))
    assert not RULES.is_reached([lucky], (59.0,))
    assert RULES.is_reached([lucky], (58.7,))
    assert not RULES.is_reached([lucky], ())


def test_a_recipe_with_too_little_in_half_is_no_answer() -> None:
    everything_in_fp32 = Point(1, 0.1, (60.5, 60.5))
    assert step(Point(0, 1.0, (40.0,)), everything_in_fp32) == "trial"
    assert RULES.chosen([Point(0, 1.0, (40.0,)), everything_in_fp32]) == Point(0, 1.0, (40.0,))
    assert RULES.chosen([everything_in_fp32]) is None


def test_seeds_go_to_those_between_which_the_choice_lies() -> None:
    points = [Point(n, 1.0, (ap,)) for n, ap in enumerate((40.0, 55.0, 54.5, 54.0, 53.5, 53.2, 50.0))]
    asked = []
    while isinstance(got := step(*points, asked=TRIALS), FurtherSeed):
        asked.append(got.number)
        points[got.number] = Point(got.number, 1.0, (*points[got.number].values, points[got.number].mean))
    assert got == "stop"
    assert asked == [1, 2, 3, 4, 1, 2]
    assert RULES.chosen(points) == points[1]


def test_one_contender_needs_no_further_seed() -> None:
    assert step(Point(0, 1.0, (40.0,)), Point(1, 1.0, (55.0,)), asked=TRIALS) == "stop"
    assert step(asked=TRIALS) == "stop"


def test_a_running_trial_is_waited_for_before_contenders_race() -> None:
    points = [Point(0, 1.0, (55.0,)), Point(1, 1.0, (54.5,))]
    assert step(*points, asked=TRIALS, pending=[7]) == "wait"
    assert step(*points, asked=TRIALS) == FurtherSeed(0)
    assert step(*points, asked=TRIALS, pending=[0]) == FurtherSeed(1)


def test_what_further_seeds_cost_is_bounded() -> None:
    points = [Point(n, 1.0, (59.0, 57.0, 57.0)) for n in range(4)]
    assert step(*points, Point(4, 1.0, (59.5,))) == "trial"
    assert step(*points, Point(4, 1.0, (59.5,)), asked=TRIALS) == "stop"


def test_the_cheapest_near_the_best_is_chosen() -> None:
    best, near, far = Point(0, 0.6, (60.0,)), Point(1, 0.9, (59.2,)), Point(2, 1.0, (58.5,))
    assert RULES.chosen([best, near, far]) == near
    assert RULES.chosen([best, far]) == best
    twin = Point(3, 0.91, (59.1,))  # a hundredth of the operations is no reason to lose AP
    assert RULES.chosen([best, near, twin]) == near


def test_the_front_has_what_nothing_beats() -> None:
    points = [Point(0, 1.0, (50.0,)), Point(1, 0.9, (49.0,)), Point(2, 0.8, (58.0,)), Point(3, 0.8, (57.0,))]
    reference = Point(REFERENCE, 0.0, (60.0,))
    assert front([*points, reference]) == [points[0], points[2], reference]


@pytest.mark.parametrize("seed", range(20))
def test_decisions_depend_on_what_is_known_and_not_on_how_it_came(seed: int) -> None:
    draw = random.Random(seed)
    points = [
        Point(n, draw.choice((0.3, 0.8, 1.0)), tuple(draw.gauss(58, 2) for _ in range(draw.randint(1, 3))))
        for n in range(6)
    ]
    shuffled = draw.sample(points, len(points))
    reference = (60.0, 59.0)[: draw.randint(1, 2)]
    assert step(*points, reference=reference, asked=TRIALS) == step(*shuffled, reference=reference, asked=TRIALS)
    assert RULES.chosen(points) == RULES.chosen(shuffled)
    assert front(points) == front(shuffled)

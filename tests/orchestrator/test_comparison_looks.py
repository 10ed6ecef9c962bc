"""Comparisons whose seeds are added until each gap is decided: which arms get them, what is said of the contrasts."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from small_plan import conditions, finish
from test_comparison_plan import ARMS, SMALL

from workspace.errors import UserError
from workspace.gap import measure_effect, measure_gap
from workspace.gap.sequential import level
from workspace.orchestrator.comparison import ComparisonReport, build_comparison
from workspace.orchestrator.comparison_plan import ComparisonPlan
from workspace.orchestrator.listing import list_comparison
from workspace.orchestrator.looks import Looks, seeds_to_come
from workspace.orchestrator.report import Cost
from workspace.orchestrator.runs import RunRecord
from workspace.orchestrator.tables import comparison_tables

NOISE = (0.3, -0.4, 0.1, -0.2, 0.5, -0.3, 0.2, -0.1)
COST = Cost(device_seconds=1.0, trained=0, reused=0)
HALF = {"plain": -1.0, "half": 1.0}
WIDE = {"plain": -1.0, "wide": 1.0}
CURVE = {"plain": -1.0, "half": 0.5, "wide": 0.5}
TWO_GAPS = dataclasses.replace(SMALL, contrasts={"half": HALF, "wide": WIDE, "others": CURVE})
ONE_GAP = dataclasses.replace(SMALL, contrasts={"half": HALF, "others": CURVE})


def adding(comparison: Any = TWO_GAPS, *, seeds: int = 2, max_seeds: int | None = 8) -> ComparisonPlan:
    return ComparisonPlan(comparison=comparison, conditions=conditions(), seeds=seeds, max_seeds=max_seeds)


def arm(mean: float, seeds: int, sd: float = 1.0) -> dict[int, float]:
    return {seed: mean + sd * NOISE[seed] for seed in range(seeds)}


def judged(
    plan: ComparisonPlan,
    arms: Mapping[str, Mapping[int, float]],
    *,
    looks: Looks | None = None,
    failed: tuple[str, ...] = (),
) -> ComparisonReport:
    """The report on those APs; ``failed`` are names of runs that left none."""
    most = plan.at(plan.max_seeds or plan.seeds).arms()
    jobs = {name: most[name][: len(aps)] for name, aps in arms.items()}
    records = {
        job.spec.signature: RunRecord(ap=arms[name][job.spec.seed], seconds=1.0, contradictions=(), circumstances={})
        for name, of_arm in jobs.items()
        for job in of_arm
        if job.name not in failed
    }
    return build_comparison(plan, jobs, records, failures=dict.fromkeys(failed, "lost"), cost=COST, looks=looks)


UNEQUAL = {"plain": arm(60, 8), "half": arm(55, 3), "wide": arm(59.2, 8)}
"""As they are where the gap of ``half`` was decided by three seeds and that of ``wide`` by none."""


class TestSeedsToCome:
    def test_only_the_arms_of_an_undecided_gap_get_more(self) -> None:
        arms = {"plain": arm(60, 4), "half": arm(40, 4), "wide": arm(59.5, 4)}
        assert seeds_to_come(adding(), arms) == {"plain": 8, "half": 2, "wide": 8}
        assert seeds_to_come(adding(), {**arms, "wide": arm(40, 4)}) == {"plain": 2, "half": 2, "wide": 2}

    def test_an_arm_that_is_in_no_gap_gets_none(self) -> None:
        arms = {"plain": arm(60, 2), "half": arm(59.5, 2), "wide": arm(40, 2)}
        assert seeds_to_come(adding(ONE_GAP), arms) == {"plain": 8, "half": 8, "wide": 0}

    def test_a_plan_lists_at_most_what_the_next_start_trains(self, tmp_path: Path) -> None:
        assert len(list_comparison(adding(), tmp_path)) == 24
        assert len(list_comparison(adding(ONE_GAP), tmp_path)) == 2 * 8 + 2
        aps = {"plain": arm(60, 4), "half": arm(40, 4), "wide": arm(59.5, 4)}
        for job in (job for runs in adding().at(4).arms().values() for job in runs):
            finish(tmp_path, job.spec, ap=aps[job.arm][job.spec.seed])
        listed = list_comparison(adding(), tmp_path)
        assert [(run.job.arm, run.job.spec.seed) for run in listed if run.is_due] == [
            (name, seed) for name in ("plain", "wide") for seed in range(4, 8)
        ]
        assert [run.job.spec.seed for run in listed if run.job.arm == "half"] == [0, 1]


class TestPlan:
    def test_the_first_look_is_the_next_one_from_the_seeds_on(self) -> None:
        assert adding(seeds=5).seeds == 6
        assert (adding().run_count, adding(ONE_GAP).run_count, adding(max_seeds=None).run_count) == (24, 18, 6)

    def test_another_number_than_a_look_is_refused_with_those_there_are(self) -> None:
        with pytest.raises(UserError, match=r"--max-seeds 5: .* take 3, 4, 6, 8"):
            adding(seeds=3, max_seeds=5)

    def test_effects_alone_have_no_verdict_that_could_end_it(self) -> None:
        effects = dataclasses.replace(SMALL, contrasts={"others": CURVE})
        with pytest.raises(UserError, match=r"--max-seeds 8: small_comparison has effects alone, .* with --seeds"):
            adding(effects)


class TestReport:
    def test_each_gap_is_judged_on_its_own_seeds_and_allows_for_looks(self) -> None:
        found = judged(adding(), UNEQUAL)
        half, wide = found.contrasts["half"], found.contrasts["wide"]
        assert (half.verdict, half.candidate_seeds, half.sequential) == ("open", 3, True)
        assert (wide.verdict, wide.candidate_seeds, wide.sequential) == ("undecided", 8, True)
        once = measure_gap(UNEQUAL["plain"], UNEQUAL["wide"], 1.0)
        assert wide.low < once.low < once.high < wide.high
        answer = found.to_json()
        assert answer["contrasts"]["half"]["seeds"] == {"baseline": 3, "candidate": 3}
        assert answer["contrasts"]["wide"]["sequential"]
        assert [len(answer["arms"][name]["seeds"]) for name in ARMS] == [8, 3, 8]
        assert all("that allows for looks" in said for said in found.sentences)

    def test_an_effect_between_gaps_is_measured_on_shared_seeds_and_allows_for_looks_too(self) -> None:
        found = judged(adding(), UNEQUAL)
        effect = found.contrasts["others"]
        first = {"plain": arm(60, 3), "half": arm(55, 3), "wide": arm(59.2, 3)}
        assert effect == dataclasses.replace(measure_effect(first, CURVE, level(3)), sequential=True)
        assert effect.low < measure_effect(first, CURVE).low
        assert found.to_json()["contrasts"]["others"]["seeds"] == dict.fromkeys(ARMS, 3)

    def test_an_effect_of_an_arm_in_no_gap_keeps_the_seeds_and_interval_that_no_verdict_decided(self) -> None:
        found = judged(adding(ONE_GAP), {"plain": arm(60, 8), "half": arm(59.5, 8), "wide": arm(58, 2)})
        first = {"plain": arm(60, 2), "half": arm(59.5, 2), "wide": arm(58, 2)}
        assert found.contrasts["others"] == measure_effect(first, CURVE)
        assert found.notes[-1].startswith("Those of others need not: ")

    def test_contrasts_of_different_seeds_are_not_said_to_sum_up(self) -> None:
        whole = {"plain": -0.5, "half": 1.0, "wide": -0.5}
        rest = {"plain": 0.5, "wide": -0.5}
        summed = dataclasses.replace(
            SMALL, contrasts={"half": HALF, "whole": whole, "rest": rest}, parts={"whole": ("half", "rest")}
        )
        alike = {"plain": arm(60, 2), "half": arm(59.5, 2), "wide": arm(58, 2)}
        assert any("whole: " in said and " = " in said for said in judged(adding(summed), alike).sentences)
        apart = {"plain": arm(60, 8), "half": arm(59.5, 8), "wide": arm(58, 2)}
        assert not any(" = " in said for said in judged(adding(summed), apart).sentences)

    def test_tables_show_the_seeds_and_the_means_that_the_gap_is_the_difference_of(self) -> None:
        found = judged(adding(), UNEQUAL)
        for row in found.rows()[:2]:
            assert row["candidate_ap"] - row["baseline_ap"] == pytest.approx(row["mean"])
        assert [(row["seeds"], row["sequential"]) for row in found.rows()] == [(3, True), (8, True), (3, True)]
        _, table = comparison_tables(found)
        assert list(next(column for column in table.columns if column.header == "seeds").cells) == ["3", "8", "3"]
        Console(quiet=True).print(table)
        fixed = judged(adding(max_seeds=None), {name: arm(60, 2) for name in ARMS})
        assert "seeds" not in [column.header for column in comparison_tables(fixed)[1].columns]
        assert fixed.notes == []

    def test_an_undecided_gap_waits_for_a_run_that_failed_and_a_decided_one_does_not(self) -> None:
        arms = {"plain": arm(60, 4), "half": arm(20, 3), "wide": arm(59.5, 4)}
        found = judged(adding(), arms, failed=("plain seed 3",))
        assert found.contrasts.keys() == {"half", "others"}
        assert found.contrasts["half"].verdict == "open"
        assert found.seeds("wide") is None
        assert judged(adding(), arms, failed=("plain seed 0",)).contrasts == {}

    def test_a_look_that_was_taken_before_is_told(self, tmp_path: Path) -> None:
        before = {"plain": arm(60, 2), "half": arm(59.5, 2), "wide": arm(59, 2)}
        assert judged(adding(max_seeds=None), before, looks=Looks(tmp_path)).reservations == []
        after = {"plain": arm(60, 4), "half": arm(59.5, 4), "wide": arm(59, 4)}
        said = judged(adding(max_seeds=None, seeds=4), after, looks=Looks(tmp_path)).reservations
        assert [text.split(":")[0] for text in said] == [
            f"{name} was judged before with 2 seeds" for name in ("half", "wide")
        ]
        assert judged(adding(), after, looks=Looks(tmp_path)).reservations == []

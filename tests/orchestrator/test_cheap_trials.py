"""Searches whose trials begin with a cheap run: their plan, what is trained after a kill, and what is said of them."""

import dataclasses
import itertools
import math
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from small_plan import conditions, finish, plan
from test_diagnosed import PROPOSALS, diagnosis
from test_report import report

from workspace.errors import UserError
from workspace.orchestrator.bill import bills
from workspace.orchestrator.cost import Costs
from workspace.orchestrator.diagnosed import Found, steps, with_diagnosis
from workspace.orchestrator.listing import list_experiment
from workspace.orchestrator.plan import Job, Plan
from workspace.orchestrator.promotion import settle_cheap
from workspace.orchestrator.report import selection_line
from workspace.orchestrator.runs import RunRecord
from workspace.orchestrator.tables import front_table
from workspace.orchestrator.trials import interrupted, open_study, search, trial_job
from workspace.search import CHEAP, Fidelity, Ranks, Selection, Study, Trial, default_url
from workspace.search.strategy import Point
from workspace.spec import RunSpec


def with_fidelity(text: str = "schedule=1/3", *, trials: int = 4) -> Plan:
    whole = conditions().dataset
    train = dataclasses.replace(whole.splits["train"], pictures=133, trained_on=133)
    part = dataclasses.replace(whole, digest="fedcba9876543210", splits={**whole.splits, "train": train})
    given = conditions(part=part)
    return dataclasses.replace(plan(trials=trials), conditions=given, fidelity=Fidelity.parse(text))


def cheap_of(of: Plan, trial: Job) -> Job:
    cheap = of.cheap(trial)
    assert cheap is not None
    return cheap


@pytest.mark.parametrize("text", ["schedule=1/3", "data=1/3"])
def test_a_cheap_run_is_the_trial_s_with_fewer_steps(text: str) -> None:
    begun = with_fidelity(text)
    trial = begun.trial(3, {"lr": 0.004})
    cheap = cheap_of(begun, trial)
    assert (cheap.trial, cheap.full, cheap.phase, cheap.arm) == (3, trial, "search", "cheap trial")
    assert cheap.name == f"trial 3 at {text}"
    assert cheap.spec.signature != trial.spec.signature
    assert (cheap.spec.seed, cheap.spec.precision, cheap.spec.recipe.lr) == (1003, trial.spec.precision, 0.004)
    assert cheap.spec.data.evaluate == "search"
    assert cheap.spec.evaluations == 1
    assert cheap.spec.recipe.warmup_steps == 40
    assert (begun.conditions.steps(trial.spec), begun.conditions.steps(cheap.spec)) == (
        1200,
        {"s": 400, "d": 408}[text[0]],
    )
    epochs, digest = (8, trial.spec.data.digest) if text[0] == "s" else (24, "fedcba9876543210")
    assert (cheap.spec.epochs, cheap.spec.data.digest) == (epochs, digest)
    assert begun.conditions.dataset_of(cheap.spec).digest == digest
    assert begun.conditions.dataset_of(trial.spec) is begun.conditions.dataset
    assert RunSpec.from_json(cheap.spec.to_json()) == cheap.spec


def test_without_a_fidelity_nothing_is_cheap() -> None:
    assert plan().cheap(plan().trial(0, {})) is None
    assert with_fidelity().study_identity == plan().study_identity


def test_a_fidelity_that_saves_no_step_is_refused() -> None:
    with pytest.raises(UserError, match="--fidelity schedule=99/100: as many steps as the full run of small_sweep"):
        with_fidelity("schedule=0.99")


def test_the_plan_and_the_bill_list_cheap_runs_with_their_steps(tmp_path: Path) -> None:
    begun = with_fidelity()
    listed = list_experiment(begun, tmp_path)
    trials = [run for run in listed if run.job.phase == "search"]
    assert [run.job.name for run in trials[:4]] == [
        "trial 0 at schedule=1/3",
        "trial 0",
        "trial 1 at schedule=1/3",
        "trial 1",
    ]
    assert [run.steps for run in trials] == [400, 1200] * 4
    assert [run.signature is None for run in trials] == [False, False] + [True] * 6
    (bill,) = bills(listed, Costs(begun.conditions, tmp_path), slots=1)
    lines = {(line.phase, line.arm): (line.runs, line.steps) for line in bill.lines}
    assert lines["search", "cheap trial"] == (4, 1600)
    assert lines["search", "trial"] == (4, 4800)
    assert begun.run_count == len(listed) == plan().run_count + 4
    both = dataclasses.replace(begun, tune_baseline=True)
    assert (
        both.run_count
        == len(list_experiment(both, tmp_path))
        == dataclasses.replace(plan(), tune_baseline=True).run_count + 8
    )


def test_the_list_knows_which_runs_a_trial_had(tmp_path: Path) -> None:
    begun = with_fidelity(trials=5)
    with open_study(begun, default_url(tmp_path)) as study:
        jobs = [trial_job(begun, study, study.ask()) for _ in range(4)]
        for job in jobs[:3]:
            finish(tmp_path, job.spec)
        full = settle_cheap(study, jobs[0], 50.0)
        assert full is not None
        study.prune(1)
        study.fail(3, "the loss is nan")
        listed = [run for run in list_experiment(begun, tmp_path, study) if run.job.phase == "search"]
    assert [(run.job.name, run.state, run.is_due) for run in listed] == [
        ("trial 0 at schedule=1/3", "finished", False),
        ("trial 0", "new", True),
        ("trial 1 at schedule=1/3", "finished", False),
        ("trial 1", "pruned", False),
        ("trial 2 at schedule=1/3", "finished", False),
        ("trial 2", "new", True),
        ("trial 3 at schedule=1/3", "failed", False),
        ("trial 3", "failed", False),
        ("trial 4 at schedule=1/3", "new", True),
        ("trial 4", "new", True),
    ]


class Killed(BaseException):
    pass


@pytest.fixture
def allow_writes() -> Iterator[Callable[[float], None]]:
    """Sets how many more transactions are committed before the process is as good as killed."""
    left = math.inf
    writing = False

    def relax(connection: sqlite3.Connection, _: Any) -> None:
        connection.execute("PRAGMA synchronous = OFF")  # only a power cut needs it

    def before_statement(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        nonlocal writing
        if statement.split(maxsplit=1)[0] in ("INSERT", "UPDATE", "DELETE", "CREATE"):
            if left <= 0:
                raise Killed
            writing = True

    def ended(connection: Any) -> None:
        nonlocal left, writing
        left -= writing
        writing = False

    def allow(writes: float) -> None:
        nonlocal left
        left = writes

    listeners = {"connect": relax, "before_cursor_execute": before_statement, "commit": ended, "rollback": ended}
    for event, listener in listeners.items():
        sqlalchemy.event.listen(sqlalchemy.Engine, event, listener)
    yield allow
    for event, listener in listeners.items():
        sqlalchemy.event.remove(sqlalchemy.Engine, event, listener)


def ap(spec: RunSpec, *, agrees: bool = True) -> float:
    """Best at a rate of 0.004; cheap runs see less of the same, or the opposite."""
    full = 60.0 - 10 * abs(math.log(spec.recipe.lr / 0.004)) - 5 * spec.precision.is_mixed
    return full if spec.evaluations > 1 else (full / 2 if agrees else 100 - full)


def searched(begun: Plan, study: Study, ap: Callable[[RunSpec], float]) -> list[str]:
    """Plays the search with that AP for training, one run at a time; the name of each run, in order."""
    played: list[str] = []
    records: dict[str, RunRecord] = {}

    def train(job: Job) -> None:
        played.append(job.name)
        value = ap(job.spec)
        records[job.spec.signature] = RunRecord(ap=value, seconds=1.0, contradictions=(), circumstances={})
        if job.full is not None:
            if (full := settle_cheap(study, job, value)) is not None:
                train(full)
        elif job.trial is not None:
            study.finish(job.trial, value)

    if begun.start is None:
        for job in search(begun, study, recall=lambda job, state: None):
            train(job)
    else:
        for trial in interrupted(begun, study):
            train(trial_job(begun, study, trial))
        for job in steps(begun, study, records):
            train(job)
    return played


@pytest.mark.parametrize("is_diagnosed", [False, True], ids=["plain", "diagnosed"])
def test_killed_between_any_two_writes_it_comes_to_the_same_trials(
    is_diagnosed: bool, tmp_path: Path, allow_writes: Callable[[float], None]
) -> None:
    begun = with_fidelity(trials=9)
    if is_diagnosed:
        begun = with_diagnosis(begun, diagnosis(tmp_path, *PROPOSALS))
    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    with open_study(begun, default_url(tmp_path / "whole")) as study:
        played = searched(begun, study, ap)
        whole = study.trials()
    assert {row.state for row in whole} >= {"finished", "pruned"}
    assert all(min(row.reports) == CHEAP for row in whole if row.state != "waiting")
    assert f"trial {next(row.number for row in whole if row.state == 'pruned')}" not in played
    for life, writes in enumerate(itertools.cycle((2, 3, 5))):
        assert life < 300, "no progress"
        allow_writes(writes)
        study = None
        try:
            study = open_study(begun, default_url(tmp_path / "cut"))
            searched(begun, study, ap)
            break
        except Killed:
            pass
        finally:
            if study is not None:
                study.close()
    allow_writes(math.inf)
    assert life > 20
    with open_study(begun, default_url(tmp_path / "cut")) as study:
        assert study.trials() == whole


def test_proposals_and_the_default_recipe_are_trained_in_full(tmp_path: Path) -> None:
    begun = with_diagnosis(with_fidelity(trials=8), diagnosis(tmp_path, *PROPOSALS))
    assert begun.start is not None
    with open_study(begun, default_url(tmp_path)) as study:
        played = searched(begun, study, lambda spec: ap(spec, agrees=True))
    assert {f"trial {number}" for number in range(len(begun.start.first) + 1)} <= set(played)
    assert not [name for name in played if "reference" in name and " at " in name]


def test_cheap_runs_that_do_not_rank_trials_are_given_up_after_eight(tmp_path: Path) -> None:
    begun = with_fidelity(trials=11)
    with open_study(begun, default_url(tmp_path)) as study:
        played = searched(begun, study, lambda spec: ap(spec, agrees=False))
        selection = study.selection()
        assert selection is not None
        assert (selection.trials, selection.is_given_up, selection.not_promoted) == (8, True, 0)
    assert [name for name in played if " at " in name] == [f"trial {number} at schedule=1/3" for number in range(8)]
    assert [name for name in played if " at " not in name] == [f"trial {number}" for number in range(11)]


def selection(tau: float | None, p_value: float, trials: int, not_promoted: int) -> Selection:
    ranks = None if tau is None else Ranks(tau, p_value, trials)
    return Selection(fidelity="schedule=1/3", trials=trials, ranks=ranks, not_promoted=not_promoted)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            selection(0.8, 0.04, 5, 3),
            "AP at schedule=1/3 ranks 5 trials as AP of full runs does with tau +0.80 (p 0.04): enough to select by; "
            "3 more had no full run.",
        ),
        (
            selection(0.33, 0.5, 3, 0),
            "AP at schedule=1/3 ranks 3 trials as AP of full runs does with tau +0.33 (p 0.50): too little to select "
            "by; trials went on to their full runs.",
        ),
        (
            selection(-0.1, 0.6, 9, 2),
            "AP at schedule=1/3 ranks 9 trials as AP of full runs does with tau -0.10 (p 0.60): too little to select "
            "by; no more cheap runs were made; 2 more had no full run.",
        ),
        (
            selection(None, 1.0, 1, 0),
            "Whether AP at schedule=1/3 ranks trials as AP of full runs does cannot be told from 1 trial: too little "
            "to select by; trials went on to their full runs.",
        ),
    ],
)
def test_what_is_said_of_cheap_runs(found: Selection, said: str) -> None:
    assert selection_line(found) == said


def test_a_diagnosed_search_says_it_in_its_table() -> None:
    """And in a line beside it only what is of the baseline's search."""
    enough, too_little = selection(0.8, 0.04, 5, 3), selection(0.33, 0.5, 3, 0)
    point = Point(1, 0.9, (59.0,))
    chosen = Trial(1, {}, {})
    found = Found(chosen, [point], [60.0], default=0, is_reached=False, set_aside=(), ranks={})
    both = {"candidate": enough, "baseline": too_little}
    judged = dataclasses.replace(report(), found=found, selections=both)
    (table,) = front_table(judged)
    assert str(table.caption).splitlines()[-1] == selection_line(enough)
    assert judged.selection_lines == [f"the baseline's search: {selection_line(too_little)}"]
    assert dataclasses.replace(judged, found=None).selection_lines[0] == selection_line(enough)
    assert judged.to_json()["fidelity"] == {"candidate": enough.to_json(), "baseline": too_little.to_json()}
    assert "fidelity" not in report().to_json()

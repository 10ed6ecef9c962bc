"""A search that a diagnosis begins: its plan, and whole experiments of it with the synthetic worker."""

import dataclasses
import json
import math
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from small_plan import SWEEP, plan
from synthetic_runs import answer_of, command, play

from workspace.errors import UserError
from workspace.orchestrator.bill import bills
from workspace.orchestrator.cost import Costs
from workspace.orchestrator.diagnosed import steps, with_diagnosis
from workspace.orchestrator.listing import list_experiment
from workspace.orchestrator.plan import Job, Plan
from workspace.orchestrator.runs import RunRecord
from workspace.orchestrator.trials import interrupted, open_study, trial_job
from workspace.precision import LossScale
from workspace.search import default_url
from workspace.spec import RunSpec

EXPERIMENT = "fcos_fp16_sweep"
OPTIONS = ("--trials", "6", "--seeds", "2")
PROPOSALS: tuple[dict[str, Any], ...] = (
    {"lr": 0.0016},  # which is judged first, and is worse than the default
    {"fp32_islands": ["backbone"]},
    {"lr": 0.0055, "fp32_islands": ["bbox_head.conv_cls"]},
    {"loss_scale": {"policy": "dynamic", "init": 1024.0, "growth_interval": 2000}},
)


def diagnosis(folder: Path, *proposals: dict[str, Any], detector: str = "fcos", precision: str = "fp16") -> Path:
    file = folder / "diagnosis.json"
    file.write_text(
        json.dumps(
            {
                "detector": detector,
                "scale": "demo",
                "precision": {"name": precision},
                "causes": [],
                "proposals": [{"changes": changes, "why": "", "flops_in_half": 1.0} for changes in proposals],
            }
        )
    )
    return file


def test_the_space_holds_what_is_proposed_and_worth_it(tmp_path: Path) -> None:
    begun = with_diagnosis(plan(), diagnosis(tmp_path, *PROPOSALS, {"fp32_islands": []}))
    assert begun.start is not None
    assert begun.start.proposed is not None
    assert (begun.start.proposed["lr"], begun.start.proposed["fp32_islands"]) == (0.0016, ())
    assert [point["fp32_islands"] for point in begun.start.first] == [("bbox_head.conv_cls",), ()]
    assert begun.start.first[0]["lr"] == 0.0055
    assert begun.start.first[1]["loss_scale"] == LossScale(init=1024.0)
    assert begun.space["lr"].high == pytest.approx(0.006)  # twice the default, as the experiment has it
    (aside,) = begun.start.set_aside
    assert aside == "fp32_islands ('backbone',): only 28 % of the operations would stay in half"
    assert [label for label, _ in begun.space["fp32_islands"].options] == ["none", "head", "bbox_head.conv_cls"]
    shares = begun.start.in_half
    assert shares[()] == 1 > shares["bbox_head.conv_cls",] > shares["head",] > 0.5 > shares["backbone",] > 0
    assert begun.for_baseline().start is None


def test_the_experiment_s_own_studies_stay_what_they_are(tmp_path: Path) -> None:
    assert plan().study_identity == with_diagnosis(plan(), diagnosis(tmp_path, *PROPOSALS)).study_identity
    nothing = with_diagnosis(plan(), diagnosis(tmp_path))
    assert nothing.space == SWEEP.space
    assert nothing.trial(3, {"lr": 0.004}) == plan().trial(3, {"lr": 0.004})


def test_runs_beside_the_trials_have_the_search_s_split_and_seeds_of_their_own() -> None:
    small = plan(trials=50, seeds=30)
    judged = {job.spec.seed for job in (*small.baseline(), *small.default(), *small.confirm({}))}
    trials = {small.trial(number, {}).spec.seed for number in range(50)}
    beside = [small.searched_for(0), small.searched_for(1), small.further(7, {"lr": 0.004}, 1)]
    assert {job.spec.data.evaluate for job in beside} == {"search"}
    assert not {job.spec.seed for job in beside} & (judged | trials)
    assert [job.name for job in beside] == ["reference seed 0", "reference seed 1", "trial 7 seed 1"]
    assert beside[1].spec.precision.name == "fp32"
    assert beside[2].spec == dataclasses.replace(small.trial(7, {"lr": 0.004}).spec, seed=beside[1].spec.seed)


@pytest.mark.parametrize(
    ("proposals", "changes", "said"),
    [
        ((), {"detector": "ssdlite"}, "it is of ssdlite in fp16; small_sweep searches for fcos in fp16"),
        ((), {"precision": "bf16"}, "it is of fcos in bf16; small_sweep searches for fcos in fp16"),
        (({"zeal": 1},), {}, "zeal: neither a field of Recipe nor of Precision"),
        (({"fp32_islands": ["nose"]},), {}, "fcos has no FP32 island nose"),
    ],
)
def test_a_diagnosis_of_something_else_is_refused(
    proposals: tuple[dict[str, Any], ...], changes: dict[str, str], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said):
        with_diagnosis(plan(), diagnosis(tmp_path, *proposals, **changes))
    with pytest.raises(UserError, match="proposes nothing that small_sweep could judge, and nothing is searched"):
        with_diagnosis(plan(trials=0), diagnosis(tmp_path))


def test_the_plan_lists_what_it_may_cost_at_most(tmp_path: Path) -> None:
    begun = with_diagnosis(plan(trials=4), diagnosis(tmp_path, *PROPOSALS))
    runs = list_experiment(begun, tmp_path)
    searched = [run for run in runs if run.job.phase == "search"]
    assert [run.job.name for run in searched[:2]] == ["reference seed 0", "reference seed 1"]
    assert [run.signature is not None for run in searched[2:6]] == [True, True, True, False]
    assert [run.job.name for run in searched[6:]] == [f"further seed {seed}" for seed in range(1, 9)]
    (bill,) = bills(runs, Costs(begun.conditions, tmp_path), slots=1)
    assert bill.total.runs == len(runs) == 12 + 2 + 4 + 8
    assert begun.run_count <= len(runs)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work folder of a diagnosed search that nothing disturbed, its diagnosis beside it."""
    folder = tmp_path_factory.mktemp("diagnosed")
    play(EXPERIMENT, folder / "work", *OPTIONS, "--diagnosis", str(diagnosis(folder, *PROPOSALS)))
    return folder / "work"


def seeds_searched(work: Path) -> list[int]:
    specs = [json.loads(path.read_text()) for path in work.glob("runs/*/spec.json")]
    return sorted(spec["seed"] for spec in specs if spec["data"]["evaluate"] == "search")


def test_the_search_ends_when_a_proposal_reaches_the_reference(finished: Path) -> None:
    result = answer_of(finished)
    found = result["search"]
    assert found["reached"]
    assert found["reference"][0] < found["front"][0]["ap"]
    assert result["best"]["trial"] == 0
    assert result["best"]["params"]["fp32_islands"] == "bbox_head.conv_cls"
    assert [(point["trial"], point["seeds"]) for point in found["front"]] == [(0, 1)]
    assert 0.9 < found["front"][0]["in_half"] < 1
    assert [line.split(":")[0] for line in found["set_aside"]] == ["fp32_islands ('backbone',)"]
    assert result["proposal"] == {"lr": 0.0016}
    assert 1 <= len(result["arms"]["proposed"]["seeds"]) <= 2
    assert result["gaps"]["tuned"]["recipes"] == 2
    assert "recipes" not in result["gaps"]["default"]
    assert seeds_searched(finished) == [1000, 1_000_000]


@pytest.fixture
def no_waiting_for_the_disk() -> Iterator[None]:
    """What a process has written outlives it without; only a power cut needs it."""

    def relax(connection: sqlite3.Connection, _: Any) -> None:
        connection.execute("PRAGMA synchronous = OFF")

    sqlalchemy.event.listen(sqlalchemy.Engine, "connect", relax)
    yield
    sqlalchemy.event.remove(sqlalchemy.Engine, "connect", relax)


class Killed(BaseException):
    pass


def searched(begun: Plan, folder: Path, ap: Callable[[RunSpec], float], *, runs: float = math.inf) -> list[str]:
    """Plays the search with that AP for training, one run at a time, and dies in the run after so many.

    Returns:
        Name of each run, in order.
    """
    played: list[str] = []
    records: dict[str, RunRecord] = {}

    def train(job: Job) -> None:
        if len(played) >= runs:
            raise Killed
        played.append(job.name)
        value = ap(job.spec)
        records[job.spec.signature] = RunRecord(ap=value, seconds=1.0, contradictions=(), circumstances={})
        if job.trial is not None:
            study.finish(job.trial, value)

    with open_study(begun, default_url(folder)) as study:
        for trial in interrupted(begun, study):
            train(trial_job(begun, study, trial))
        for job in steps(begun, study, records):
            train(job)
    return played


def ap(spec: RunSpec) -> float:
    """Nearly all is won back with one layer in FP32, by a first seed; all of it with the head in FP32."""
    if not spec.precision.is_mixed:
        return 60.0 if spec.seed == 1_000_000 else 60.4
    if "head" in spec.precision.fp32_islands:
        return 59.9
    return 59.3 if spec.precision.fp32_islands else 58.0 + spec.seed % 7 / 100


def test_killed_anywhere_it_trains_what_it_would_have(tmp_path: Path, no_waiting_for_the_disk: None) -> None:
    begun = with_diagnosis(plan(trials=6), diagnosis(tmp_path, *PROPOSALS))
    (tmp_path / "whole").mkdir()
    whole = searched(begun, tmp_path / "whole", ap)
    assert whole[:5] == ["reference seed 0", "trial 0", "trial 0 seed 1", "reference seed 1", "trial 1"]
    assert len(whole) > 6
    for runs in (0, 2, 3, 4, len(whole) - 1):  # asked, a first and a further seed, the reference, at the end
        folder = tmp_path / str(runs)
        folder.mkdir()
        with pytest.raises(Killed):
            searched(begun, folder, ap, runs=runs)
        # Runs beside the trials are asked for again; a trial that has its result is not.
        assert {*whole[:runs], *searched(begun, folder, ap)} == set(whole)
        with open_study(begun, default_url(folder)) as cut, open_study(begun, default_url(tmp_path / "whole")) as other:
            assert [(row.labels, row.value) for row in cut.trials()] == [(r.labels, r.value) for r in other.trials()]


def test_its_plan_knows_that_it_has_ended(finished: Path) -> None:
    options = (*OPTIONS, "--diagnosis", str(finished.parent / "diagnosis.json"), "--plan")
    said = subprocess.run(command(EXPERIMENT, finished, *options), capture_output=True, text=True, check=True).stdout
    assert "nothing is left to train" in said
    assert "reference seed 0" in said
    assert "trial 0 " in said
    assert "trial 1 " not in said


def test_a_comparison_has_nothing_to_diagnose_for(tmp_path: Path) -> None:
    options = ("--diagnosis", str(diagnosis(tmp_path)))
    done = subprocess.run(
        command("verified_models", tmp_path / "work", *options), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "compares arms and searches nothing; leave it out" in done.stderr

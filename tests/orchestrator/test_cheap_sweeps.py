"""Whole sweeps whose trials begin with a cheap run, with the synthetic worker: reuse, kills, and what is tracked."""

import json
import random
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest
from synthetic_runs import answer_of, command, kill_at_random, play, tracked_states, without_cost

EXPERIMENT = "fcos_fp16_sweep"
OPTIONS = ("--trials", "9", "--seeds", "2", "--fidelity", "schedule=1/3")


def trials(work: Path) -> list[tuple[int, str, float | None]]:
    with sqlite3.connect(work / "optuna.db") as database:
        query = "select number, state, value from trials left join trial_values using (trial_id) order by number"
        return list(database.execute(query))


def specs(work: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in work.glob("runs/*/spec.json")]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work folder of one sweep that nothing disturbed."""
    work = tmp_path_factory.mktemp("fidelity") / "work"
    play(EXPERIMENT, work, *OPTIONS)
    return work


def test_a_trial_that_is_not_promoted_has_no_full_run(finished: Path) -> None:
    answer = answer_of(finished)
    found = answer["fidelity"]["candidate"]
    assert answer["fidelity"].keys() == {"candidate"}
    assert found.keys() == {"fidelity", "trials", "tau", "p_value", "enough", "given_up", "not_promoted"}
    assert (found["fidelity"], found["enough"], found["given_up"]) == ("schedule=1/3", True, False)
    searched = [spec for spec in specs(finished) if spec["data"]["evaluate"] == "search"]
    cheap = {spec["seed"] for spec in searched if spec["evaluations"] == 1}
    full = {spec["seed"] for spec in searched if spec["evaluations"] > 1}
    states = trials(finished)
    failed = {1000 + number for number, state, _ in states if state == "FAIL"}
    assert cheap == {1000 + number for number in range(9)}
    assert full < cheap
    assert failed  # by its cheap run, and nothing else came of it
    assert not failed & full
    assert len(cheap - full - failed) == found["not_promoted"] > 0
    pruned = {1000 + number for number, state, _ in states if state == "PRUNED"}
    assert cheap - full - failed <= pruned
    assert answer["cost"]["trained"] == len(specs(finished))


def test_cheap_runs_are_tracked_apart_from_trials(finished: Path) -> None:
    with sqlite3.connect(finished / "mlflow" / "mlflow.db") as database:
        arms = dict(database.execute("select value, count(*) from tags where key = 'arm' group by value"))
    assert arms["cheap trial"] == 9
    assert arms["trial"] == len(specs(finished)) - arms["cheap trial"] - 6  # two seeds of three arms


def test_a_second_start_trains_nothing_and_says_the_same(finished: Path) -> None:
    first = answer_of(finished)
    options = (*OPTIONS, "--json", str(finished.with_suffix(".json")))
    done = subprocess.run(command(EXPERIMENT, finished, *options), capture_output=True, text=True, check=True)
    second = answer_of(finished)
    assert without_cost(second) == without_cost(first)
    assert (second["cost"]["trained"], second["cost"]["device_seconds"]) == (0, first["cost"]["device_seconds"])
    said = " ".join(done.stdout.split())
    assert "AP at schedule=1/3 ranks" in said
    assert "enough to select by;" in said
    done = subprocess.run(command(EXPERIMENT, finished, *OPTIONS, "--plan"), capture_output=True, text=True, check=True)
    assert "nothing is left to train" in done.stdout


@pytest.mark.slow
def test_kills_change_nothing(finished: Path, tmp_path: Path) -> None:
    """SIGKILL to the orchestrator with all its workers, or to a worker alone, at random moments."""
    draw = random.Random(0)
    work = tmp_path / "work"
    for _ in range(5):
        kill_at_random(command(EXPERIMENT, work, *OPTIONS, "--json", str(work.with_suffix(".json"))), draw)
    assert without_cost(play(EXPERIMENT, work, *OPTIONS)) == without_cost(answer_of(finished))
    assert trials(work) == trials(finished)
    assert tracked_states(work) == tracked_states(finished)


def test_a_part_of_the_data_serves_both_searches(tmp_path: Path) -> None:
    work = tmp_path / "work"
    options = ("--trials", "3", "--seeds", "1", "--tune-baseline", "--fidelity", "data=0.25")
    answer = play(EXPERIMENT, work, *options, workers=2)
    assert {name: found["fidelity"] for name, found in answer["fidelity"].items()} == {
        "candidate": "data=1/4",
        "baseline": "data=1/4",
    }
    whole = {spec["data"]["digest"] for spec in specs(work) if spec["evaluations"] > 1}
    cheap = [spec for spec in specs(work) if spec["evaluations"] == 1]
    assert len(whole) == 1
    assert len(cheap) == 6
    assert {spec["precision"]["name"] for spec in cheap} == {"fp16", "fp32"}
    (part,) = {spec["data"]["digest"] for spec in cheap}
    assert part not in whole
    with sqlite3.connect(work / "mlflow" / "mlflow.db") as database:
        query = (
            "select runs.name, datasets.digest from runs join inputs on destination_id = run_uuid "
            "join datasets on dataset_uuid = source_id"
        )
        seen = dict(database.execute(query))
    assert {name for name, digest in seen.items() if part.startswith(digest)} == {
        name for name in seen if "at data=1/4" in name
    }


@pytest.mark.parametrize(
    ("experiment", "options", "said"),
    [
        ("verified_models", (), "--fidelity schedule=1/3: verified_models compares arms and searches nothing"),
        (EXPERIMENT, ("--trials", "0"), "--fidelity schedule=1/3: fcos_fp16_sweep searches nothing; give it --trials"),
    ],
)
def test_what_searches_nothing_has_no_cheap_runs(
    experiment: str, options: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    start = command(experiment, tmp_path / "work", "--fidelity", "schedule=1/3", *options)
    done = subprocess.run(start, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1

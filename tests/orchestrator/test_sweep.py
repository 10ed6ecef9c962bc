"""The whole experiment with a synthetic worker: phases, reuse, kills, and what is said of it."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import synthetic_runs
from synthetic_runs import answer_of, kill_at_random, play, tracked_states, without_cost

EXPERIMENT = "fcos_fp16_sweep"


def command(work: Path, *options: str) -> list[str]:
    return synthetic_runs.command(EXPERIMENT, work, *options)


def sweep(work: Path, *options: str, workers: int = 1) -> dict[str, Any]:
    return play(EXPERIMENT, work, *options, workers=workers)


def trials(work: Path) -> list[tuple[int, str, float | None]]:
    with sqlite3.connect(work / "optuna.db") as database:
        query = (
            "select number, state, value from trials left join trial_values using (trial_id) "
            "where state != 'WAITING' order by number"
        )
        return list(database.execute(query))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work folder of one sweep that nothing disturbed."""
    work = tmp_path_factory.mktemp("sweep") / "work"
    sweep(work, "--trials", "8", "--seeds", "2")
    return work


def test_the_json_has_the_documented_form(finished: Path) -> None:
    result = answer_of(finished)
    assert result.keys() == {
        "experiment",
        "scale",
        "metric",
        "margin",
        "arms",
        "gaps",
        "best",
        "best_baseline",
        "cost",
        "diverged",
        "reservations",
    }
    assert result["experiment"] == "fcos_fp16_sweep"
    assert (result["scale"], result["metric"], result["margin"]) == ("demo", "coco/bbox_mAP", 1.0)
    assert result["arms"].keys() == {"baseline", "default", "tuned"}
    assert result["arms"]["baseline"]["precision"] == "fp32"
    assert result["arms"]["tuned"]["precision"] == "fp16"
    for arm in result["arms"].values():
        assert arm["seeds"] == [0, 1]
        assert all(30 < ap < 100 for ap in arm["ap"])
    assert result["gaps"].keys() == {"default", "tuned"}
    for gap in result["gaps"].values():
        assert gap.keys() >= {"mean", "low", "high", "verdict", "seeds_needed"}
        assert gap["low"] < gap["mean"] < gap["high"]
    assert result["best"]["params"].keys() >= {"lr", "loss_scale", "fp32_islands"}
    assert result["cost"]["trained"] == 14
    assert result["cost"]["reused"] == 0
    assert result["cost"]["device_seconds"] > 0


def test_the_search_never_sees_the_verdict_s_split_or_seeds(finished: Path) -> None:
    specs = [json.loads(path.read_text()) for path in finished.glob("runs/*/spec.json")]
    searched = {spec["seed"] for spec in specs if spec["data"]["evaluate"] == "search"}
    judged = {spec["seed"] for spec in specs if spec["data"]["evaluate"] == "eval"}
    assert len(searched) == 8
    assert judged == {0, 1}
    assert not searched & judged


def test_a_second_start_trains_nothing_and_says_the_same(finished: Path) -> None:
    first = answer_of(finished)
    second = sweep(finished, "--trials", "8", "--seeds", "2")
    assert without_cost(second) == without_cost(first)
    assert second["cost"] == {**first["cost"], "trained": 0, "reused": second["cost"]["reused"]}
    assert second["cost"]["reused"] >= 6


def test_more_seeds_keep_the_runs_that_are_there(finished: Path, tmp_path: Path) -> None:
    subprocess.run(["cp", "-r", str(finished), str(tmp_path / "work")], check=True)
    result = sweep(tmp_path / "work", "--trials", "8", "--seeds", "3")
    assert result["cost"]["trained"] == 3
    assert result["arms"]["baseline"]["ap"][:2] == answer_of(finished)["arms"]["baseline"]["ap"]
    looked = [text for text in result["reservations"] if "was judged before with 2 seeds" in text]
    assert [text.split()[0] for text in looked] == ["default", "tuned"]


def test_seeds_are_added_until_the_verdict_and_the_baseline_has_a_search_of_its_own(tmp_path: Path) -> None:
    options = ("--trials", "2", "--seeds", "2", "--max-seeds", "4", "--tune-baseline")
    result = sweep(tmp_path / "work", *options, workers=2)
    assert result["arms"].keys() == {"baseline", "default", "tuned baseline", "tuned"}
    assert {gap["against"] for gap in result["gaps"].values()} == {"baseline", "tuned baseline"}
    for name, gap in result["gaps"].items():
        seeds = len(result["arms"][name]["seeds"])
        assert gap["sequential"]
        assert seeds == 4 if gap["verdict"] == "undecided" else gap["seeds"]["candidate"] <= seeds
    assert result["best_baseline"]["params"].keys().isdisjoint({"loss_scale", "fp32_islands"})
    folder = next((tmp_path / "work/experiments/fcos_fp16_sweep").iterdir())
    assert {"trials.csv", "baseline_trials.csv", "looks.json"} <= {file.name for file in folder.iterdir()}
    again = sweep(tmp_path / "work", *options, workers=2)
    assert without_cost(again) == without_cost(result)
    assert again["cost"]["trained"] == 0


def test_two_workers_agree_on_what_is_not_searched(finished: Path, tmp_path: Path) -> None:
    result = sweep(tmp_path / "work", "--trials", "2", "--seeds", "2", workers=2)
    for arm in ("baseline", "default"):
        assert result["arms"][arm] == answer_of(finished)["arms"][arm]


def test_failed_and_pruned_trials_are_told_apart(finished: Path) -> None:
    states = {state for _, state, _ in trials(finished)}
    assert "COMPLETE" in states
    reasons = [p for p in finished.glob("runs/*/events.jsonl") if "the formula diverged" in p.read_text()]
    assert len(reasons) == sum(state == "FAIL" for _, state, _ in trials(finished))


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_kills_change_nothing(seed: int, finished: Path, tmp_path: Path) -> None:
    """SIGKILL to the orchestrator with all its workers, or to a worker alone, at random moments."""
    draw = random.Random(seed)
    work = tmp_path / "work"
    options = ("--trials", "8", "--seeds", "2", "--json", str(work.with_suffix(".json")))
    for _ in range(4):
        kill_at_random(command(work, *options), draw)
    result = sweep(work, "--trials", "8", "--seeds", "2")
    assert without_cost(result) == without_cost(answer_of(finished))
    assert trials(work) == trials(finished)
    assert tracked_states(work) == tracked_states(finished)


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_ctrl_c_says_how_to_go_on(workers: int, tmp_path: Path) -> None:
    start = synthetic_runs.command(EXPERIMENT, tmp_path / "work", workers=workers)
    process = subprocess.Popen(start, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("work/runs/*/events.jsonl"))) < workers and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.strip().splitlines()[-1] == "stopped; nothing is lost, the same command goes on from here"
    assert "Traceback" not in said


def test_a_second_orchestrator_is_refused(tmp_path: Path) -> None:
    first = subprocess.Popen(command(tmp_path / "work"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("work/runs/*/events.jsonl")) and time.monotonic() < deadline:
            time.sleep(0.05)
        second = subprocess.run(command(tmp_path / "work"), capture_output=True, text=True, check=False)
    finally:
        first.kill()
        first.wait()
    assert second.returncode == 2
    assert f"already running in {tmp_path / 'work'} (pid {first.pid} on " in second.stderr


def test_the_plan_starts_nothing(tmp_path: Path) -> None:
    done = subprocess.run(command(tmp_path / "work", "--plan"), capture_output=True, text=True, check=True)
    assert "baseline seed 0" in done.stdout
    assert "tuned seed 1" in done.stdout
    assert not (tmp_path / "work" / "runs").exists()
    assert not (tmp_path / "work" / "optuna.db").exists()


def test_the_plan_makes_no_study_in_a_database_that_is_there(finished: Path) -> None:
    subprocess.run(synthetic_runs.command("ssdlite_fp16_sweep", finished, "--plan"), capture_output=True, check=True)
    with sqlite3.connect(finished / "optuna.db") as database:
        assert list(database.execute("select count(*) from studies")) == [(1,)]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--data", "no/such/folder"), "no/such/folder"),
        (("--scale", "full"), "--scale full needs --data"),
        (("--device", "cuda"), "built without CUDA"),
        (("--device", "npu"), "torch_npu is not installed"),
        (("--json", "no/such/folder/v.json"), "there is no folder"),
        (("--devices-per-run", "3"), "3 devices cannot share the batch of 8 pictures of fcos evenly"),
        (("--tracking-uri", "gopher://x"), "gopher"),
    ],
)
def test_wrong_input_is_one_line(options: tuple[str, ...], said: str, tmp_path: Path) -> None:
    done = subprocess.run(command(tmp_path / "work", *options), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.glob("work/runs/*"))

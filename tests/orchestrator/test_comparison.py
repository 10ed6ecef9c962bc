"""Whole comparisons with a synthetic worker: answers, reuse, kills, and a run that fails."""

import csv
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
import synthetic_runs
from synthetic_runs import answer_of, command, kill_at_random, play, tracked_states, without_cost

ATTRIBUTION = "fcos_gap_attribution"


def read_table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.fixture(scope="module")
def attributed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work folder of one comparison that nothing disturbed."""
    work = tmp_path_factory.mktemp("comparison") / "work"
    play(ATTRIBUTION, work)
    return work


def test_the_json_has_the_documented_form(attributed: Path) -> None:
    result = answer_of(attributed)
    assert result.keys() == {
        "experiment",
        "scale",
        "margin",
        "arms",
        "contrasts",
        "published",
        "failures",
        "diverged",
        "cost",
        "reservations",
    }
    assert result["arms"]["8x8 fp16"].keys() == {"detector", "metric", "precision", "recipe", "seeds", "ap"}
    assert [result["arms"]["8x8 fp16"][key] for key in ("precision", "recipe", "seeds")] == ["fp16", "8x8", [0, 1]]
    assert result["contrasts"]["total"].keys() >= {"weights", "mean", "low", "high", "verdict", "seeds_needed"}
    assert result["contrasts"]["total"]["pictures"] is None, "the formula matches nothing"
    assert result["contrasts"]["recipe"].keys() == {"weights", "mean", "low", "high", "seeds", "sequential"}
    assert result["published"] == {
        "total": {"npu": 36.1, "zoo": 36.6, "difference": -0.5, "recipes": {"npu": "8x8", "zoo": "8x2"}}
    }
    assert result["failures"] == {}
    assert (result["cost"]["trained"], result["cost"]["reused"]) == (8, 0)


def test_contrasts_are_of_the_arms_means(attributed: Path) -> None:
    result = answer_of(attributed)
    means = {name: sum(arm["ap"]) / len(arm["ap"]) for name, arm in result["arms"].items()}
    for contrast in result["contrasts"].values():
        expected = sum(weight * means[arm] for arm, weight in contrast["weights"].items())
        assert contrast["mean"] == pytest.approx(expected)
        assert contrast["low"] < contrast["mean"] < contrast["high"]
    parts = result["contrasts"]["recipe"]["mean"] + result["contrasts"]["precision"]["mean"]
    assert result["contrasts"]["total"]["mean"] == pytest.approx(parts)


def test_results_lie_in_the_work_folder(attributed: Path) -> None:
    (folder,) = (attributed / "experiments" / ATTRIBUTION).glob("demo-*")
    assert json.loads((folder / "result.json").read_text()) == answer_of(attributed)
    assert (folder / "figure.png").read_bytes().startswith(b"\x89PNG")
    rows = read_table(folder / "table.csv")
    assert [row["contrast"] for row in rows] == ["total", "recipe", "precision", "interaction"]
    assert (rows[0]["published_difference"], rows[1]["published_difference"]) == ("-0.5", "")


def test_a_second_start_trains_nothing_and_says_the_same(attributed: Path) -> None:
    first = answer_of(attributed)
    second = play(ATTRIBUTION, attributed)
    assert without_cost(second) == without_cost(first)
    assert second["cost"] == {**first["cost"], "trained": 0, "reused": 8}


def test_runs_are_shared_with_sweeps_and_other_comparisons(attributed: Path, tmp_path: Path) -> None:
    subprocess.run(["cp", "-r", str(attributed), str(tmp_path / "work")], check=True)
    sweep = play("fcos_fp16_sweep", tmp_path / "work", "--trials", "0", "--seeds", "2")
    assert (sweep["cost"]["trained"], sweep["cost"]["reused"]) == (0, 4)
    arms = answer_of(attributed)["arms"]
    assert sweep["arms"]["default"]["ap"] == arms["8x2 fp16"]["ap"]
    models = play("verified_models", tmp_path / "work", "--seeds", "1", workers=2)
    assert (models["cost"]["trained"], models["cost"]["reused"]) == (10, 2)
    assert models["arms"]["fcos fp32"]["ap"] == arms["8x2 fp32"]["ap"][:1]
    assert models["arms"]["solov2 fp16"]["metric"] == "coco/segm_mAP"
    tables = tmp_path / "tables"
    exported = [sys.executable, "-m", "workspace", "export", "verified_models", "--out", str(tables)]
    subprocess.run([*exported, "--work-dir", str(tmp_path / "work")], check=True, capture_output=True)
    runs = {row["arm"]: row for row in read_table(tables / "verified_models.runs.csv")}
    assert (runs["ssd300 fp32"]["detector"], runs["ssd300 fp32"]["phase"]) == ("ssd300", "compare")
    assert float(runs["solov2 fp16"]["AP"]) == pytest.approx(models["arms"]["solov2 fp16"]["ap"][0], abs=0.01)


@pytest.mark.slow
def test_kills_change_nothing(attributed: Path, tmp_path: Path) -> None:
    draw = random.Random(0)
    work = tmp_path / "work"
    for _ in range(3):
        kill_at_random(command(ATTRIBUTION, work, "--json", str(work.with_suffix(".json"))), draw)
    result = play(ATTRIBUTION, work)
    assert without_cost(result) == without_cost(answer_of(attributed))
    assert tracked_states(work) == tracked_states(attributed)


def test_seeds_are_added_to_the_arms_of_each_gap_until_it_is_decided(tmp_path: Path) -> None:
    result = play("saturation_gap", tmp_path / "work", "--seeds", "2", "--max-seeds", "6", workers=2)
    taken = {name: len(arm["seeds"]) for name, arm in result["arms"].items()}
    for gap in result["contrasts"].values():
        (baseline,) = (name for name, weight in gap["weights"].items() if weight < 0)
        (candidate,) = (name for name, weight in gap["weights"].items() if weight > 0)
        assert gap["sequential"]
        assert gap["seeds"]["candidate"] == taken[candidate] <= taken[baseline]
        assert taken[candidate] == 6 if gap["verdict"] == "undecided" else taken[candidate] <= 6
        mean = {name: sum(result["arms"][name]["ap"][: taken[candidate]]) / taken[candidate] for name in gap["weights"]}
        assert gap["mean"] == pytest.approx(mean[candidate] - mean[baseline])
    for model in ("ssdlite", "fcos"):
        assert taken[f"{model} fp32"] == max(taken[f"{model} {name}"] for name in ("inf_nan", "saturate"))


@pytest.mark.slow
def test_kills_change_nothing_where_seeds_are_added(tmp_path: Path) -> None:
    options = ("--max-seeds", "4")
    undisturbed = play(ATTRIBUTION, tmp_path / "undisturbed", *options)
    taken = {name: len(arm["seeds"]) for name, arm in undisturbed["arms"].items()}
    assert taken == {"8x2 fp32": 3, "8x2 fp16": 2, "8x8 fp32": 2, "8x8 fp16": 3}
    work = tmp_path / "work"
    kill_at_random(command(ATTRIBUTION, work, *options), random.Random(1))
    assert without_cost(play(ATTRIBUTION, work, *options)) == without_cost(undisturbed)
    assert tracked_states(work) == tracked_states(tmp_path / "undisturbed")


def test_a_gap_waits_for_an_added_run_that_failed(tmp_path: Path) -> None:
    work, answer = tmp_path / "work", tmp_path / "answer.json"
    (work / "diverges").mkdir(parents=True)
    options = ("--seeds", "2", "--max-seeds", "4")
    listed = subprocess.run(command(ATTRIBUTION, work, "--plan", *options), capture_output=True, text=True, check=True)
    assert "at most" in listed.stdout
    names = [line.split("│")[1].strip() for line in listed.stdout.splitlines() if " seed " in line]
    assert names == [
        *(f"8x2 fp32 seed {seed}" for seed in range(4)),
        *(f"{arm} seed {seed}" for arm in ("8x2 fp16", "8x8 fp32") for seed in range(2)),
        *(f"8x8 fp16 seed {seed}" for seed in range(4)),
    ]
    line = next(line for line in listed.stdout.splitlines() if "8x8 fp16 seed 2" in line)
    (work / "diverges" / line.split("│")[2].strip()).touch()
    start = command(ATTRIBUTION, work, *options, "--json", str(answer))
    done = subprocess.run(start, capture_output=True, text=True, check=False)
    assert (done.returncode, "error: 1 of 10 runs failed: 8x8 fp16 seed 2: " in done.stderr) == (2, True)
    assert "a run failed" in next(line for line in done.stdout.splitlines() if line.startswith("│ total"))
    result = json.loads(answer.read_text())
    assert result["contrasts"].keys() == {"recipe", "precision", "interaction"}
    assert {effect["sequential"] for effect in result["contrasts"].values()} == {False}
    next((work / "diverges").iterdir()).unlink()
    again = play(ATTRIBUTION, work, *options)
    assert again["contrasts"]["total"]["sequential"]
    assert again["failures"] == {}


def test_a_run_that_fails_takes_only_its_own_contrasts_with_it(tmp_path: Path) -> None:
    """The formula diverges for one signature; what does not need it is judged, and the next start tries it again."""
    work, answer = tmp_path / "work", tmp_path / "answer.json"
    (work / "diverges").mkdir(parents=True)
    listed = subprocess.run(command(ATTRIBUTION, work, "--plan"), capture_output=True, text=True, check=True)
    line = next(line for line in listed.stdout.splitlines() if "8x2 fp16 seed 0" in line)
    (work / "diverges" / line.split("│")[2].strip()).touch()
    start = command(ATTRIBUTION, work, "--seeds", "1", "--json", str(answer))
    done = subprocess.run(start, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    (said,) = done.stderr.strip().splitlines()
    assert said.startswith("error: 1 of 4 runs failed: 8x2 fp16 seed 0: the formula diverged; its log is ")
    assert "a run failed" in next(line for line in done.stdout.splitlines() if line.startswith("│ recipe"))
    result = json.loads(answer.read_text())
    assert result["contrasts"].keys() == {"total"}
    assert result["failures"].keys() == {"8x2 fp16 seed 0"}
    assert result["arms"]["8x2 fp16"]["ap"] == []
    next((work / "diverges").iterdir()).unlink()
    again = play(ATTRIBUTION, work, "--seeds", "1")
    assert (again["cost"]["trained"], len(again["contrasts"]), again["failures"]) == (1, 4, {})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--trials", "4"), "--trials 4: fcos_gap_attribution compares arms and searches nothing; leave it out"),
        (("--devices-per-run", "5"), "5 devices cannot share the batch of 8 pictures of fcos evenly"),
    ],
)
def test_wrong_input_is_one_line(options: tuple[str, ...], said: str, tmp_path: Path) -> None:
    start = synthetic_runs.command(ATTRIBUTION, tmp_path / "work", *options)
    done = subprocess.run(start, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.glob("work/runs/*"))

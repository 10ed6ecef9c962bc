"""``python -m workspace``: its commands as a user calls them."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from workspace.__main__ import commands
from workspace.datasets import open_dataset
from workspace.matches import MATCHES, Matches
from workspace.training.task import Task

HEAVY = ("torch", "mmdet", "mmengine", "mlflow", "optuna", "pandas", "matplotlib")


def called(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Runs ``python -m workspace`` and expects that exit code."""
    command = [sys.executable, "-m", "workspace", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done


def refused(*arguments: object) -> str:
    """The one line that a wrong call ends with."""
    done = called(*arguments, code=2)
    errors = [line for line in done.stderr.splitlines() if not line.startswith("WARNING")]
    assert len(errors) == 1, done.stderr
    return errors[0]


@pytest.mark.parametrize(
    "command",
    [(), ("data",), ("data", "describe"), ("diagnose",), ("doctor",), ("export",), ("serve",), ("sync",), ("test",)],
    ids=" ".join,
)
def test_help_loads_nothing_heavy(command: tuple[str, ...]) -> None:
    code = f"""
import atexit, runpy, sys
atexit.register(lambda: print("loaded:", [name for name in {HEAVY} if name in sys.modules]))
sys.argv = ["workspace", *{command}, "--help"]
runpy.run_module("workspace", run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "loaded: []" in done.stdout
    assert "Usage: python -m workspace" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("tset",), "No such command 'tset'"),
        (("data", "check"), "Missing argument 'DIR'"),
        (("data", "check", "nowhere"), "nowhere: no such folder"),
        (("test", "nowhere.pth"), "File 'nowhere.pth' does not exist"),
        (("test", __file__, "--split", "train"), "'train' is not one of"),
        (("test", __file__, "--out", "nowhere/x.json"), "there is no folder nowhere"),
        (("test", __file__, "--matches", "nowhere/x.npz"), "--matches nowhere/x.npz: there is no folder nowhere"),
    ],
)
def test_wrong_calls_are_one_line(arguments: tuple[str, ...], said: str) -> None:
    assert said in refused(*arguments)


def test_check_tells_of_a_good_folder(crowded: Path, tmp_path: Path) -> None:
    done = called("data", "check", crowded, "--work-dir", tmp_path)
    assert done.stdout == "ok: pictures: train 38, search 10, eval 21; 96 objects of 3 classes, masks\n"
    assert "picture under 32 pixels, which is not trained on: 1 (train000.png)" in done.stderr


def test_check_tells_all_that_is_wrong(crowded: Path, tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "images").symlink_to(crowded / "images")
    (folder / "annotations").mkdir()
    for split in ("train", "val"):
        content = json.loads((crowded / "annotations" / f"{split}.json").read_text())
        content["annotations"][0]["bbox"] = [0, 0, 0, 9]
        content["annotations"][1]["category_id"] = 99
        content["images"][0]["file_name"] = "gone.png"
        (folder / "annotations" / f"{split}.json").write_text(json.dumps(content))
    done = called("data", "check", folder, "--work-dir", tmp_path / "work", code=2)
    *warnings, error = done.stderr.splitlines()
    assert any("box without any area inside its picture" in line for line in warnings)
    for split in ("train", "val"):
        for found in ("annotation of an unknown category: 1", "picture file missing: 1 (gone.png)"):
            assert f"{split}.json: {found}" in error


def test_describe_counts(crowded: Path, tmp_path: Path) -> None:
    found = json.loads(called("data", "describe", crowded, "--json", "--work-dir", tmp_path).stdout)
    dataset = open_dataset(crowded, tmp_path)
    assert (found["digest"], found["name"]) == (dataset.digest, "circle-and-2-more")
    assert found["splits"].keys() == dataset.splits.keys()
    listed = json.loads((crowded / "annotations" / "val.json").read_text())["annotations"]
    objects = [item for item in listed if not item["iscrowd"]]
    counts = found["splits"]["eval"]
    assert counts["pictures"] == 21
    assert counts["empty"] == 21 - len({item["image_id"] for item in objects}) == 6
    assert (counts["objects"], counts["crowd"]) == (len(objects), len(listed) - len(objects))
    assert counts["box_sizes"]["64 to 128"] == sum(
        64 <= (item["bbox"][2] * item["bbox"][3]) ** 0.5 < 128 for item in objects
    )
    assert sum(row["large"] for row in counts["classes"]) > 0
    for row, key in zip(counts["classes"], (10, 20, 30), strict=True):
        areas = [item["area"] for item in objects if item["category_id"] == key]
        assert row["objects"] == len(areas)
        assert row["small"] == sum(area < 32**2 for area in areas)
        assert row["large"] == sum(area >= 96**2 for area in areas)
    for category in found["splits"]["train"]["classes"]:
        assert category["objects"] == category["small"] + category["medium"] + category["large"]


def test_describe_draws_tables(crowded: Path, tmp_path: Path) -> None:
    told = called("data", "describe", crowded, "--work-dir", tmp_path).stdout
    for line in ("train         38          32", "eval    circle", "32 to 64", "digest "):
        assert line in told


def test_split_writes_what_runs_see(crowded: Path, tmp_path: Path) -> None:
    arguments = ("data", "split", crowded, "--out", tmp_path / "out", "--work-dir", tmp_path / "work")
    called(*arguments)
    dataset = open_dataset(crowded, tmp_path / "work")
    for name, part in dataset.splits.items():
        assert (tmp_path / "out" / f"{name}.json").read_bytes() == part.annotations.read_bytes()
    assert "already there" in refused(*arguments)
    called("data", "split", crowded, "--out", tmp_path / "half", "--fraction", 0.5, "--work-dir", tmp_path / "work")
    half = json.loads((tmp_path / "half" / "train.json").read_text())
    assert len(half["images"]) == 19
    assert (tmp_path / "half" / "search.json").read_bytes() == (tmp_path / "out" / "search.json").read_bytes()
    assert "above 0 and at most 1" in refused("data", "split", crowded, "--out", tmp_path / "x", "--fraction", 2)


@pytest.fixture
def tested(crowded: Path, tmp_path: Path) -> Iterator[Callable[..., Result]]:
    """Calls ``test`` on the crowded set within this process, which has MMDetection loaded."""

    def test(*arguments: object) -> Result:
        places = ("--data", crowded, "--work-dir", tmp_path / "work")
        return CliRunner().invoke(commands, list(map(str, ("test", *arguments, *places))), prog_name="workspace")

    handler = signal.getsignal(signal.SIGTERM)
    yield test
    signal.signal(signal.SIGTERM, handler)


@pytest.mark.parametrize("name", ["fcos", "solov2"])
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")  # pycocotools
def test_detections_are_coco_results(
    name: str, crowded: Path, crowded_run: Callable[[str], Task], tested: Callable[..., Result], tmp_path: Path
) -> None:
    task = crowded_run(name)
    out = tmp_path / "found.json"
    done = tested(task.folder / "model.pth", "--out", out, "--matches", tmp_path / MATCHES)
    assert done.exit_code == 0, done.output
    again = Matches.load(tmp_path / MATCHES)
    assert again.mean_average_precision() == Matches.load(task.folder / MATCHES).mean_average_precision()
    truth = COCO(str(crowded / "annotations" / "val.json"))
    evaluation = COCOeval(truth, truth.loadRes(str(out)), "segm" if name == "solov2" else "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    table = {words[0]: words[1:] for line in done.stdout.splitlines() if (words := line.split())}
    assert table["all"] == [f"{100 * value:.2f}" for value in evaluation.stats[:6]]
    assert table.keys() >= set(task.classes)
    ap = json.loads((task.folder / "result.json").read_text())["ap"]
    assert table["all"][0] == f"{ap:.2f}"


def test_mmdetections_need_the_models_name(
    crowded_run: Callable[[str], Task], tested: Callable[..., Result], tmp_path: Path
) -> None:
    def wrong(*arguments: object) -> str:
        done = tested(*arguments)
        assert done.exit_code == 2, done.output
        assert len(done.stderr.splitlines()) == 1
        return done.stderr

    stored = torch.load(crowded_run("fcos").folder / "model.pth", weights_only=True)
    del stored["meta"]["spec"]
    path = tmp_path / "epoch_12.pth"
    torch.save(stored, path)
    assert "say with --model" in wrong(path)
    assert "not the weights of this RetinaNet" in wrong(path, "--model", "retinanet", "--scale", "demo")
    assert "no detector named 'yolo'" in wrong(path, "--model", "yolo")
    told = tested(path, "--model", "fcos", "--scale", "demo", "--split", "search").stdout
    assert told.startswith("fcos, demo, on 10 pictures of circle-and-2-more (search)")
    stored["meta"]["dataset_meta"]["classes"] = tuple(f"class {i}" for i in range(80))
    torch.save(stored, path)
    said = wrong(path, "--model", "fcos", "--scale", "demo")
    assert "trained for 80 classes (class 0, class 1, class 2, ...); the data set has 3 classes" in said

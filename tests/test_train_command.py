"""``python -m workspace train``: what its options mean, and one small run through the real worker."""

import json
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from workspace.commands.overrides import apply_overrides
from workspace.commands.train import train
from workspace.detectors import detector
from workspace.errors import UserError
from workspace.precision import FP32, LossScale, Precision
from workspace.tracking import default_uri
from workspace.tracking.tables import runs_table

FP16 = Precision(name="fp16", loss_scale=LossScale())
RECIPE = detector("fcos").demo.recipe
ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("pair", "field", "value"),
    [
        ("lr=0.02", "lr", 0.02),
        ("batch_size=16", "batch_size", 16),
        ("clip_norm=none", "clip_norm", None),
        ("decay=step", "decay", "step"),
        ("milestones=0.5, 0.9", "milestones", (0.5, 0.9)),
        ("optimizer=SGD", "optimizer", "SGD"),
    ],
)
def test_a_recipe_takes_values_of_its_fields_types(pair: str, field: str, value: object) -> None:
    recipe, precision = apply_overrides([pair], RECIPE, FP32)
    assert getattr(recipe, field) == value
    assert precision == FP32


def test_one_length_takes_the_place_of_the_other() -> None:
    recipe, _ = apply_overrides(["epochs=3"], RECIPE, FP32)
    assert (recipe.epochs, recipe.steps) == (3, None)
    recipe, _ = apply_overrides(["epochs=3", "steps=50"], RECIPE, FP32)
    assert (recipe.epochs, recipe.steps) == (None, 50)


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        ("loss_scale=512", Precision(name="fp16", loss_scale=LossScale(policy="static", init=512.0))),
        ("loss_scale=dynamic", FP16),
        ("loss_scale=dynamic:1024", Precision(name="fp16", loss_scale=LossScale(init=1024.0))),
        ("fp32_islands=loss,head", Precision(name="fp16", loss_scale=LossScale(), fp32_islands=("head", "loss"))),
        (
            "fp32_islands=bbox_head:loss_by_feat,backbone.layer1",
            Precision(name="fp16", loss_scale=LossScale(), fp32_islands=("backbone.layer1", "bbox_head:loss_by_feat")),
        ),
        ("fp32_islands=none", FP16),
        ("overflow=saturate", Precision(name="fp16", loss_scale=LossScale(), overflow="saturate")),
    ],
)
def test_a_precision_takes_its_fields(pair: str, expected: Precision) -> None:
    assert apply_overrides([pair], RECIPE, FP16) == (RECIPE, expected)


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        ("lr", "key=value"),
        ("speed=3", "no 'speed'"),
        ("lr=fast", "lr=fast"),
        ("batch_size=2.5", "batch_size=2.5"),
        ("decay=linear", "'cosine' or 'step'"),
        ("loss_scale=big", "static scale"),
        ("overflow=wrap", "overflow mode 'wrap'"),
        ("batch_size=0", "batch_size is 0"),
        ("lr=nan", "lr is nan"),
        ("lr=-1", "lr is -1"),
        ("epochs=0", "epochs is 0"),
        ("clip_norm=0", "clip_norm is 0"),
        ("milestones=8,11", "between 0 and 1"),
    ],
)
def test_what_cannot_be_set_is_named(pair: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        apply_overrides([pair], RECIPE, FP16)


def call(work_dir: Path, *options: str) -> Result:
    return CliRunner().invoke(train, ["fcos", "--work-dir", str(work_dir), *options])


def test_one_error_line_and_exit_code_2(tmp_path: Path) -> None:
    for options, said in (
        (("--precision", "fp16", "--resume"), "--resume"),
        (("--precision", "fp32", "--devices", "3"), "cannot share"),
        (("--precision", "fp32", "--recipe", "9x9"), "8x2, 8x8"),
        (("--precision", "fp32", "--epochs", "2", "--set", "steps=5"), "give one"),
        (("--precision", "fp16", "--set", "fp32_islands=nose"), "no FP32 island nose"),
    ):
        result = call(tmp_path, *options)
        assert result.exit_code == 2
        (line,) = [line for line in result.output.splitlines() if line.startswith("error: ")]
        assert said in line
    assert not (tmp_path / "runs").exists()


def test_a_run_is_trained_once_and_tracked(tmp_path: Path) -> None:
    options = ("--precision", "fp16", "--fraction", "0.02", "--epochs", "1", "--set", "loss_scale=256")
    command = [sys.executable, "-m", "workspace", "train", "fcos", "--work-dir", str(tmp_path), *options]
    first = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    (folder,) = (tmp_path / "runs").iterdir()
    result = json.loads((folder / "result.json").read_text())
    assert f"{result['ap']:.2f} AP (coco/bbox_mAP)" in first
    assert "audit: agrees with fp16" in first
    assert result["steps"] == 3  # 24 pictures, 8 a step

    journal = (folder / "events.jsonl").read_bytes()
    again = subprocess.run([*command, "--resume"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert again == first
    assert (folder / "events.jsonl").read_bytes() == journal

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries that MLflow is made of
        table = runs_table(default_uri(tmp_path), "train")
    assert table[["detector", "precision", "state", "loss_scale"]].to_numpy().tolist() == [
        ["fcos", "fp16", "finished", "static 256"]
    ]

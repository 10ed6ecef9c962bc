"""The six detectors say what MMDetection's own files say, and a run is named by what its configuration states."""

import dataclasses
import re
import shutil
from pathlib import Path

import pytest
from mmengine.config import Config

from workspace.detectors import DETECTORS, definition, detector
from workspace.errors import UserError
from workspace.precision import LossScale
from workspace.spec import Scale

DYNAMIC, STATIC = LossScale(), LossScale(policy="static", init=512.0)

# AP on COCO val2017: mixed precision on the NPU, FP32 in the zoo; MMDetection's docs/en/device/npu.md and model zoo.
PUBLISHED = {
    "ssd300": (25.6, 25.5, DYNAMIC),
    "ssd512": (29.4, 29.5, DYNAMIC),
    "ssdlite": (20.2, 21.3, DYNAMIC),
    "retinanet": (36.6, 36.5, STATIC),
    "fcos": (36.1, 36.6, DYNAMIC),
    "solov2": (34.7, 34.8, DYNAMIC),
}


def test_the_published_table() -> None:
    assert {name: (d.npu.ap, d.zoo.ap, d.npu.loss_scale) for name, d in DETECTORS.items()} == PUBLISHED


@pytest.mark.parametrize("name", DETECTORS)
def test_the_zoos_recipe_is_that_of_its_file(name: str) -> None:
    described = detector(name)
    recipe = described.full.recipe_named(described.zoo.recipe)
    cfg = Config.fromfile(described.config_path("full"))
    optimizer = cfg.optim_wrapper.optimizer
    assert (recipe.optimizer, recipe.lr, recipe.momentum, recipe.weight_decay) == (
        optimizer.type,
        optimizer.lr,
        optimizer.momentum,
        optimizer.weight_decay,
    )
    assert recipe.epochs == cfg.train_cfg.max_epochs
    assert recipe.batch_size == cfg.auto_scale_lr.base_batch_size
    clip = cfg.optim_wrapper.get("clip_grad")
    assert recipe.clip_norm == (clip.max_norm if clip else None)
    repeated = cfg.train_dataloader.dataset.get("times", 1)
    assert described.full.repeat == repeated

    warmup, decay = cfg.param_scheduler
    assert recipe.warmup == {"LinearLR": "linear", "ConstantLR": "constant"}[warmup.type]
    assert recipe.warmup_steps == warmup.end
    assert recipe.warmup_factor == warmup.get("start_factor", warmup.get("factor"))
    if decay.type == "MultiStepLR":
        assert recipe.decay == "step"
        assert [round(m * recipe.epochs) for m in recipe.milestones] == decay.milestones
    else:
        assert (recipe.decay, decay.type) == ("cosine", "CosineAnnealingLR")


# How the NPU's recipe differs from the zoo's: MMDetection 2's configs/{ssd,retinanet,fcos}/*_fp16_*.py.
NPU_CHANGES = {
    "ssd300": {"warmup_steps": 1000, "warmup_factor": 0.1},
    "ssd512": {"warmup_steps": 1000, "warmup_factor": 0.1},
    "ssdlite": {},
    "retinanet": {"clip_norm": 35.0},
    "fcos": {"batch_size": 64, "lr": 0.04, "warmup": "linear", "warmup_steps": 1000, "warmup_factor": 0.1},
    "solov2": {},
}


@pytest.mark.parametrize("name", DETECTORS)
def test_the_npus_recipe_differs_from_the_zoos_as_published(name: str) -> None:
    described = detector(name)
    zoo = described.full.recipe_named(described.zoo.recipe)
    assert described.full.recipe == zoo
    assert described.full.recipe_named(described.npu.recipe) == dataclasses.replace(zoo, **NPU_CHANGES[name])


@pytest.mark.parametrize("scale", ["demo", "full"])
@pytest.mark.parametrize("name", DETECTORS)
def test_every_file_that_a_configuration_builds_on_is_in_its_digest(name: str, scale: Scale) -> None:
    variant = detector(name).variant(scale)
    found = [variant.config]
    for file in found:
        bases = re.findall(r'^_base_ = "\./(.*)"$', (definition.CONFIGS / file).read_text(), re.MULTILINE)
        found.extend(bases)
    assert found == [variant.config, *variant.bases]


def test_a_recipe_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(UserError, match="8x2, 8x8"):
        detector("fcos").demo.recipe_named("16x4")


def test_comments_do_not_change_a_runs_name_and_statements_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = detector("fcos").config_digest("demo")
    copied = shutil.copytree(definition.CONFIGS, tmp_path / "configs")
    monkeypatch.setattr(definition, "CONFIGS", copied)
    file = copied / "fcos_demo.py"
    source = file.read_text()
    file.write_text(f"# Another comment.\n\n{source}")
    assert detector("fcos").config_digest("demo") == before
    file.write_text(source.replace("depth=18", "depth=34"))
    assert detector("fcos").config_digest("demo") != before

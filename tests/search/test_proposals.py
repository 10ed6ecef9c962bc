"""From a diagnosis file to a search space that holds its proposals."""

import json
from pathlib import Path
from typing import Any

import pytest

from workspace.errors import UserError
from workspace.precision import LossScale
from workspace.search import choice, log_uniform, resolve, times
from workspace.search.proposals import Diagnosis, Proposal, read_diagnosis, widened

PRECISION = {"name": "fp16", "loss_scale": {"policy": "dynamic", "init": 65536.0, "growth_interval": 2000}}
DEFAULTS = {"lr": 0.004, "fp32_islands": (), "loss_scale": LossScale(), "optimizer": "Odd", "clip_norm": None}
WORDS = {"lr": times(0.5, 2), "fp32_islands": choice({"none": (), "head": ("head",)})}


def written(folder: Path, *proposals: dict[str, Any], **changes: Any) -> Path:
    file = folder / "diagnosis.json"
    content = {"detector": "fcos", "scale": "demo", "precision": PRECISION, "causes": [], "proposals": proposals}
    file.write_text(json.dumps({**content, **changes}))
    return file


def test_a_file_is_read_into_values(tmp_path: Path) -> None:
    changes = {
        "fp32_islands": ["neck", "head", "neck"],
        "loss_scale": {"policy": "static", "init": 512, "growth_interval": 2000},
        "overflow": "inf_nan",
    }
    file = written(tmp_path, {"changes": changes, "why": "gradients underflow", "flops_in_half": 0.9})
    assert read_diagnosis(file) == Diagnosis(
        "fcos",
        "fp16",
        [
            Proposal(
                {
                    "fp32_islands": ("head", "neck"),
                    "loss_scale": LossScale(policy="static", init=512.0),
                    "overflow": "inf_nan",
                },
                "gradients underflow",
            )
        ],
    )


def test_what_is_no_diagnosis_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no\.json: No such file or directory; `python -m workspace diagnose` writes"):
        read_diagnosis(tmp_path / "no.json")
    broken = tmp_path / "broken.json"
    for text in ("", "[]", "{}", '{"detector": "fcos", "precision": "fp16", "proposals": []}'):
        broken.write_text(text)
        with pytest.raises(UserError, match=r"broken\.json: it is not what"):
            read_diagnosis(broken)
    with pytest.raises(UserError, match="it is not what"):
        read_diagnosis(written(tmp_path, {"changes": {"loss_scale": {"start": 1}}, "why": ""}))


def test_every_proposal_is_a_point_of_the_widened_space() -> None:
    proposals = [
        Proposal({"fp32_islands": ("bbox_head.conv_cls",)}, ""),
        Proposal({"fp32_islands": ("head",), "loss_scale": LossScale(init=1024.0)}, ""),
        Proposal({"optimizer": "AdamW", "lr": 0.02}, ""),
        Proposal({"optimizer": "Odd", "loss_scale": LossScale(policy="static", init=512.0)}, ""),
    ]
    words = widened(WORDS, proposals, DEFAULTS)
    space = resolve(words, DEFAULTS)
    for proposal in proposals:
        point = {name: proposal.changes.get(name, DEFAULTS[name]) for name in words}
        assert space.decode(space.encode(point)) == point
    assert list(words) == ["lr", "fp32_islands", "loss_scale", "optimizer"]
    assert space.describe()["fp32_islands"].startswith("one of none (()), head (('head',)), bbox_head.conv_cls (")
    assert words["loss_scale"] == choice(
        {
            "dynamic 2^16": LossScale(),
            "dynamic 2^10": LossScale(init=1024.0),
            "static 512": LossScale(policy="static", init=512.0),
        }
    )
    assert words["lr"] == log_uniform(0.002, 0.02)


def test_nothing_proposed_leaves_the_space_as_it_is() -> None:
    assert widened(WORDS, [], DEFAULTS) == WORDS
    assert widened(WORDS, [Proposal({"clip_norm": None, "fp32_islands": ("head",)}, "")], DEFAULTS) == WORDS


def test_a_value_of_another_kind_is_refused() -> None:
    with pytest.raises(UserError, match="proposes 'high' for lr, which is searched as a number from"):
        widened(WORDS, [Proposal({"lr": "high"}, "")], DEFAULTS)

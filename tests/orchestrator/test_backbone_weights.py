"""Backbone weights are on this machine before a worker is started, and not asked for when none is."""

import dataclasses
import hashlib
from pathlib import Path

import pytest

from workspace.detectors import BackboneWeights, detector
from workspace.errors import UserError
from workspace.orchestrator import Settings, playing
from workspace.orchestrator.playing import backbone_weights

CONTENT = b"weights"
FILE = f"small-{hashlib.sha256(CONTENT).hexdigest()[:8]}.pth"
FULL = Settings(scale="full", data=Path("data"))


def test_each_detector_s_file_is_looked_up_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcos = detector("fcos")
    weights = BackboneWeights(urls=(f"http://127.0.0.1:9/{FILE}",))
    small = dataclasses.replace(fcos, full=dataclasses.replace(fcos.full, weights=weights))
    monkeypatch.setattr(playing, "detector", {"fcos": small, "ssdlite": detector("ssdlite")}.__getitem__)
    settings = dataclasses.replace(FULL, weights=tmp_path)
    names = ["fcos", "ssdlite", "fcos"]
    with pytest.raises(UserError, match=f"there is no {FILE} in it"):
        backbone_weights(names, settings)
    (tmp_path / FILE).write_bytes(CONTENT)
    assert backbone_weights(names, settings) == {"fcos": tmp_path / FILE}


def test_nothing_is_asked_for_when_nothing_is_to_be_trained() -> None:
    assert backbone_weights([], dataclasses.replace(FULL, weights=Path("nowhere"))) == {}


def test_demos_start_from_nothing() -> None:
    assert backbone_weights(["fcos", "ssd300"], Settings(weights=Path("nowhere"))) == {}

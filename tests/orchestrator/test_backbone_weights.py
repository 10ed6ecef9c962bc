"""Backbone weights are on this machine before a worker is started, and not asked for when none is."""

import dataclasses
import hashlib
from pathlib import Path

import pytest
from small_plan import finish, plan

from workspace.detectors import BackboneWeights, detector
from workspace.errors import UserError
from workspace.orchestrator import Settings, playing
from workspace.orchestrator.listing import list_experiment
from workspace.orchestrator.playing import backbone_weights

CONTENT = b"weights"
FILE = f"small-{hashlib.sha256(CONTENT).hexdigest()[:8]}.pth"
FULL = Settings(scale="full", data=Path("data"))


@pytest.fixture
def small_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """FCOS as if its backbone's file were seven bytes long."""
    fcos = detector("fcos")
    weights = BackboneWeights(urls=(f"http://127.0.0.1:9/{FILE}",))
    changed = dataclasses.replace(fcos, full=dataclasses.replace(fcos.full, weights=weights))
    monkeypatch.setattr(playing, "detector", {"fcos": changed}.__getitem__)


@pytest.mark.usefixtures("small_weights")
def test_they_are_looked_up_when_a_run_is_due(tmp_path: Path) -> None:
    listed = list_experiment(plan(scale="full", embedded=False), tmp_path, None)
    settings = dataclasses.replace(FULL, weights=tmp_path)
    with pytest.raises(UserError, match=f"there is no {FILE} in it"):
        backbone_weights(listed, settings)
    (tmp_path / FILE).write_bytes(CONTENT)
    assert backbone_weights(listed, settings) == {"fcos": tmp_path / FILE}


@pytest.mark.usefixtures("small_weights")
def test_finished_runs_need_none(tmp_path: Path) -> None:
    full = plan(scale="full", embedded=False, trials=0)
    for job in (*full.baseline(), *full.default()):
        finish(tmp_path, job.spec)
    assert backbone_weights(list_experiment(full, tmp_path, None), FULL) == {}


def test_demos_start_from_nothing(tmp_path: Path) -> None:
    assert backbone_weights(list_experiment(plan(), tmp_path, None), Settings()) == {}

"""A detector of the user's own: registered by name, described by a file anywhere, trained by any worker."""

import dataclasses
from pathlib import Path

import pytest
from short_runs import result_of, short_task

from workspace.datasets import DataSet
from workspace.detectors import DETECTORS, Detector, detector, register
from workspace.errors import UserError
from workspace.execution import LocalExecutor
from workspace.precision import FP32
from workspace.training.config import build_config
from workspace.training.task import train

SOURCE = """
_base_ = {base!r}
model = dict(bbox_head=dict(feat_channels=16))
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Detector:
    """FCOS's demo with a thinner head, in a file outside of the project; forgotten after the test."""
    monkeypatch.setattr("workspace.detectors._detectors", known := dict(DETECTORS))
    monkeypatch.setattr("workspace.detectors.DETECTORS", known)
    fcos = detector("fcos")
    config = tmp_path / "thin.py"
    config.write_text(SOURCE.format(base=str(fcos.config_path("demo"))))
    demo = dataclasses.replace(fcos.demo, config=str(config), bases=(fcos.demo.config, *fcos.demo.bases))
    described = dataclasses.replace(fcos, name="thin fcos", demo=demo)
    register(described)
    return described


def test_a_registered_detector_is_found_by_its_name(own: Detector) -> None:
    assert detector("thin fcos") is own


def test_a_name_is_given_once(own: Detector) -> None:
    with pytest.raises(UserError, match="'thin fcos' already"):
        register(own)
    with pytest.raises(UserError, match="'fcos' already"):
        register(dataclasses.replace(own, name="fcos"))


def test_its_configuration_may_lie_anywhere(own: Detector, few_shapes: DataSet, tmp_path: Path) -> None:
    assert own.config_path("demo") == tmp_path / "thin.py"
    task = short_task(few_shapes, own.name, FP32, tmp_path)
    assert build_config(task).model.bbox_head.feat_channels == 16
    digest = own.config_digest("demo")
    assert digest != detector("fcos").config_digest("demo")
    own.config_path("demo").write_text(SOURCE.format(base="elsewhere.py"))
    assert own.config_digest("demo") != digest


def test_a_worker_trains_it(own: Detector, few_shapes: DataSet, tmp_path: Path) -> None:
    task = short_task(few_shapes, own.name, FP32, tmp_path / "work", epochs=1)
    log = tmp_path / "log.txt"
    with LocalExecutor(workers=1, threads=1) as executor:
        executor.start("thin", train, (task,), log)
        (ended,) = executor.wait()
    assert ended.exitcode == 0, log.read_text()
    assert result_of(task)["steps"] == 3

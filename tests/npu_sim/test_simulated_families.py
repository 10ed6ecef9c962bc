"""What each family of processors does to a run: refuses it, saturates, or computes FP32 in HF32."""

import json
from collections.abc import Callable
from subprocess import CompletedProcess
from typing import Any

import pytest
from short_runs import losses, result_of, steps

from workspace import devices
from workspace.devices.npu import Npu
from workspace.errors import UserError
from workspace.journal import JournalReader
from workspace.precision import FP32, LossScale, Precision
from workspace.training.task import Task, train

MakeTask = Callable[..., Task]
TrainOn = Callable[..., CompletedProcess[str]]

SATURATING = Precision(name="fp16", loss_scale=LossScale(init=256.0), overflow="saturate")
FOLLOWING_IEEE = Precision(name="fp16", loss_scale=LossScale(init=256.0))


def audit_of(task: Task) -> dict[str, Any]:
    audit: dict[str, Any] = json.loads((task.folder / "audit.json").read_text())
    return audit


@pytest.mark.parametrize(("chip", "soc"), [("Ascend910A", 102), ("Ascend910B", 104)])
def test_the_first_series_trains_in_saturating_fp16_and_nothing_else(
    chip: str, soc: int, make_task: MakeTask, train_on: TrainOn
) -> None:
    """What people call a 910B is an Ascend910B1 to B4; without a digit it is of the 910A's series."""
    saturating = make_task("fcos", SATURATING, epochs=1)
    huge = make_task("fcos", Precision(name="fp16", loss_scale=LossScale(init=2.0**40), overflow="saturate"), epochs=1)
    refused = {
        "has no FP32 matrix unit": make_task("fcos", FP32, epochs=1),
        "has no BF16": make_task("fcos", Precision(name="bf16"), epochs=1),
        "has no HF32": make_task("fcos", Precision(name="hf32"), epochs=1),
        "knows overflow saturate only": make_task("fcos", FOLLOWING_IEEE, epochs=1),
    }
    said = train_on(chip, saturating, huge, *refused.values()).stdout
    lines = [line for line in said.splitlines() if line.startswith("refused: ")]
    for line, reason in zip(lines, refused, strict=True):
        assert f"device npu: {chip} (SoC {soc}, " in line
        assert reason in line

    audit = audit_of(saturating)
    assert audit["contradictions"] == []
    assert {name: audit["device"][name] for name in ("soc", "fp32", "overflow")} == {
        "soc": soc,
        "fp32": "fp16",
        "overflow": "saturate",
    }
    assert result_of(saturating)["skipped_steps"] == 0
    assert result_of(huge)["skipped_steps"] == 3, "the status flag did not reach torch_npu's scaler"


def test_an_a2_saturates_when_it_is_told_to(make_task: MakeTask, train_on: TrainOn) -> None:
    """Forward overflow clamps in silence there, so that no inf reaches the loss; the flag alone tells."""
    gentle, huge = (
        make_task("fcos", Precision(name="fp16", loss_scale=LossScale(init=scale), overflow="saturate"), epochs=1)
        for scale in (256.0, 2.0**40)
    )
    train_on("Ascend910B3", gentle, huge)
    assert audit_of(gentle)["device"]["overflow"] == "saturate"
    assert result_of(gentle)["skipped_steps"] == 0
    assert result_of(huge)["skipped_steps"] == 3


@pytest.mark.parametrize(("chip", "family"), [("Ascend910_9391", "Atlas A3"), ("Ascend950PR_9599", "Ascend 950")])
def test_newer_series_train_every_precision(chip: str, family: str, make_task: MakeTask, train_on: TrainOn) -> None:
    tasks = [make_task("ssdlite", p, epochs=1) for p in (FP32, FOLLOWING_IEEE, Precision(name="bf16"))]
    train_on(chip, *tasks)
    for task in tasks:
        audit = audit_of(task)
        assert audit["contradictions"] == []
        assert (audit["device"]["family"], audit["device"]["fp32"]) == (family, "fp32")


def test_hf32_is_another_arm(make_task: MakeTask) -> None:
    strict, reduced = make_task("fcos", FP32, epochs=1), make_task("fcos", Precision(name="hf32"), epochs=1)
    train(strict)
    train(reduced)
    assert audit_of(strict)["contradictions"] == audit_of(reduced)["contradictions"] == []
    assert losses(strict.folder) != losses(reduced.folder)
    assert losses(strict.folder) == pytest.approx(losses(reduced.folder), rel=0.05)


def test_an_audit_that_contradicts_strict_fp32_stops_the_run(
    make_task: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on an A2 whose HF32 nobody has switched off: it is on by default."""
    monkeypatch.setattr(Npu, "use_strict_fp32", lambda self: None)
    task = make_task("fcos", FP32, epochs=1)
    with devices.resolve("npu").hf32(), pytest.raises(UserError, match=r"layers of FP32 were computed in hf32"):
        train(task)
    assert not (task.folder / "result.json").exists()


def test_a_device_that_is_too_small_is_one_line(make_task: MakeTask, train_on: TrainOn) -> None:
    task = make_task("fcos", FP32, epochs=1)
    train_on("Ascend910B3", task, check=False, NPU_SIM_MEMORY_MIB="24")
    end = list(JournalReader(task.folder).read())[-1]
    assert end["status"] == "failed"
    assert end["reason"].startswith("NPU out of memory. Tried to allocate ")
    assert "\n" not in end["reason"]
    assert not steps(task.folder)

"""The six detectors on the simulated NPU, through the entry that a user's workers call."""

import json
from collections.abc import Callable

import pytest
import torch
from short_runs import losses, result_of, steps, stop_in_epoch, weights

from workspace.detectors import DETECTORS
from workspace.precision import FP32, LossScale, Precision
from workspace.spec import CHECKPOINT
from workspace.training.task import Task, train

MakeTask = Callable[..., Task]

FP16 = Precision(name="fp16", loss_scale=LossScale(init=256.0))  # low enough that steps happen on random weights
COMPUTED_IN = {"fp32": "float32", "fp16": "float16"}


@pytest.mark.parametrize("precision", [FP32, FP16], ids=lambda precision: precision.name)
@pytest.mark.parametrize("detector", DETECTORS)
def test_a_model_trains_and_goes_on_after_an_interruption_to_the_same_bits(
    detector: str, precision: Precision, make_task: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, interrupted = (make_task(detector, precision, epochs=2, work=name) for name in ("whole", "interrupted"))
    train(whole)
    result = result_of(whole)
    assert result["skipped_steps"] < result["steps"] == len(losses(whole.folder))
    assert 0 <= result["ap"] <= 100

    audit = json.loads((whole.folder / "audit.json").read_text())
    assert audit["contradictions"] == []
    assert set(audit["layer_outputs"]) == {COMPUTED_IN[precision.name]}
    # torch_npu's, which calls its module torch.npu.
    assert audit["scaler"] == (None if precision is FP32 else "torch.npu.amp.grad_scaler.GradScaler")
    facts = {name: audit["device"][name] for name in ("kind", "name", "soc", "fp32", "overflow")}
    assert facts == {"kind": "npu", "name": "Ascend910B3", "soc": 223, "fp32": "fp32", "overflow": "inf_nan"}

    with monkeypatch.context() as patch:
        stop_in_epoch(1, patch)
        with pytest.raises(KeyboardInterrupt):
            train(interrupted)
    assert (interrupted.folder / CHECKPOINT).exists()
    train(interrupted)
    expected, found = weights(whole.folder), weights(interrupted.folder)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert losses(interrupted.folder) == losses(whole.folder)
    assert result_of(interrupted)["metrics"] == result["metrics"]


def test_overflow_is_seen_by_the_scaler_of_torch_npu(make_task: MakeTask) -> None:
    huge = Precision(name="fp16", loss_scale=LossScale(init=2.0**40))
    task = make_task("fcos", huge, epochs=1)
    train(task)
    assert result_of(task)["skipped_steps"] == 3
    assert [metrics["precision/loss_scale"] for metrics in steps(task.folder)] == [2.0**40, 2.0**39, 2.0**38]


def test_bf16_trains(make_task: MakeTask) -> None:
    task = make_task("fcos", Precision(name="bf16"), epochs=1)
    train(task)
    audit = json.loads((task.folder / "audit.json").read_text())
    assert set(audit["layer_outputs"]) == {"bfloat16"}
    assert audit["scaler"] is None


def test_any_device_will_do(make_task: MakeTask) -> None:
    """Two devices, two runs, equal results: nothing of the first leaks into the second, nor runs on it."""
    first, second = (make_task("ssdlite", FP16, epochs=1, work=name, device=name) for name in ("npu:0", "npu:1"))
    train(first)
    allocated = torch.npu.memory_allocated("npu:0")
    torch.npu.reset_peak_memory_stats("npu:0")
    train(second)
    assert losses(first.folder) == losses(second.folder)
    assert torch.npu.max_memory_allocated("npu:0") == allocated
    assert torch.npu.max_memory_allocated("npu:1") > 0

"""Going along with a training changes nothing in it."""

import copy
import json
from pathlib import Path

import torch
from short_runs import short_task

from workspace.datasets import DataSet
from workspace.diagnosis import along_a_run
from workspace.diagnosis.bench import Bench, Way
from workspace.diagnosis.members import trace
from workspace.diagnosis.start import begin
from workspace.diagnosis.watch import watch
from workspace.precision import FP32, LossScale, Precision

FP16 = Precision(name="fp16", loss_scale=LossScale(init=256.0))


def begun(few_shapes: DataSet, tmp_path: Path) -> Bench:
    bench = Bench(short_task(few_shapes, "fcos", FP16, tmp_path), batches=3)
    begin(bench, None)
    wrapper = bench.optim_wrapper(FP16)
    bench.members = trace(bench.model, lambda: bench.forward(0, wrapper))
    bench.restore()
    return bench


def test_a_training_that_is_watched_is_the_same_to_the_bit(few_shapes: DataSet, tmp_path: Path) -> None:
    bench = begun(few_shapes, tmp_path)
    wrapper = bench.optim_wrapper(FP16)
    for step in range(4):
        bench.advance(step % bench.batches, wrapper)
    alone = {name: value.clone() for name, value in bench.model.state_dict().items()}
    bench.restore()

    trained: dict[str, torch.Tensor] = {}
    moments = watch(bench, 4, ended=lambda: trained.update(copy.deepcopy(bench.model.state_dict())))
    assert [moment.step for moment in moments] == [0, 1, 2, 3]
    assert all(torch.equal(alone[name], trained[name]) for name in alone)
    assert moments[0].metrics == {}
    assert moments[1].metrics["precision/loss_scale"] == 256
    assert moments[0].error["bbox_head.conv_cls"] > 0


def test_a_step_leaves_weights_and_buffers_as_they_were(few_shapes: DataSet, tmp_path: Path) -> None:
    bench = begun(few_shapes, tmp_path)
    step = bench.step(0, Way(precision=FP32))
    assert any(bool(change.any()) for change in step.update.values())
    assert "backbone.bn1.running_mean" in step.update
    state = bench.model.state_dict()
    assert all(torch.equal(state[name], value) for name, value in bench.weights.items())
    assert all(p.grad is None or not p.grad.any() for p in bench.parameters.values())
    again = bench.step(0, Way(precision=FP32))
    assert all(torch.equal(step.update[name], again.update[name]) for name in step.update)


def test_a_whole_model_in_fp32_is_fp32(few_shapes: DataSet, tmp_path: Path) -> None:
    bench = begun(few_shapes, tmp_path)
    exact = bench.step(0, Way(precision=FP32))
    island = bench.step(0, Way(precision=FP16, islands=("",)))
    assert all(torch.equal(exact.update[name], island.update[name]) for name in exact.update)
    alone = bench.step(0, Way(precision=FP16, alone=("bbox_head.conv_cls",)))
    assert not torch.equal(exact.gradients["bbox_head.conv_cls.weight"], alone.gradients["bbox_head.conv_cls.weight"])


def test_a_journal_is_read_along(tmp_path: Path) -> None:
    events = [
        {"kind": "start", "time": 0, "step": 0, "epoch": 0},
        {"kind": "step", "time": 1, "step": 1, "epoch": 0, "metrics": {"precision/loss_scale": 64.0, "train/lr": 0.1}},
        {"kind": "step", "time": 2, "step": 2, "epoch": 0, "metrics": {"precision/loss_scale": 32.0}},
    ]
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    assert along_a_run(tmp_path) == {"precision/loss_scale": [(1, 64.0), (2, 32.0)]}

"""torch_npu's scaler: its state beside torch's, and overflows counted in both of an A2's modes and on a 910A."""

from collections.abc import Callable
from subprocess import CompletedProcess

import pytest
import torch
from short_runs import steps

from workspace import devices
from workspace.precision import LossScale, Precision
from workspace.training.optim_wrapper import PrecisionOptimWrapper
from workspace.training.task import Task

MakeTask = Callable[..., Task]
TrainOn = Callable[..., CompletedProcess[str]]


def wrapper(place: str) -> tuple[torch.nn.Linear, PrecisionOptimWrapper]:
    layer = torch.nn.Linear(4, 1).to(place)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    scale = {"policy": "dynamic", "init": 2.0**40, "growth_interval": 3}
    precision = {"name": "fp16", "loss_scale": scale}
    return layer, PrecisionOptimWrapper(optimizer, precision=precision, device=place)


def step(layer: torch.nn.Linear, wrapped: PrecisionOptimWrapper, place: str) -> None:
    with wrapped.optim_context(layer):
        loss = layer(torch.ones(2, 4, device=place)).float().sum()
    wrapped.update_params(loss)


@pytest.mark.parametrize(("source", "target"), [("cpu", "npu:0"), ("npu:0", "cpu")])
def test_a_state_moves_between_the_cpu_and_the_npu(source: str, target: str) -> None:
    """torch_npu's has a key of its own, ``dynamic``, and refuses a state without it."""
    devices.resolve("npu").select("npu:0")
    layer, wrapped = wrapper(source)
    while wrapped.skipped_steps == wrapped._steps_seen:  # until a step was made at the scale that fits
        step(layer, wrapped, source)
    stored = wrapped.state_dict()
    assert stored["loss_scaler"]["scale"] < 2.0**40
    assert stored["loss_scaler"]["_growth_tracker"] == 1

    moved_layer, moved = wrapper(target)
    moved.load_state_dict(stored)
    assert moved.state_dict()["loss_scaler"]["scale"] == stored["loss_scaler"]["scale"]
    assert moved.state_dict()["loss_scaler"]["_growth_tracker"] == 1
    assert moved.skipped_steps == wrapped.skipped_steps > 0
    step(moved_layer, moved, target)
    step(moved_layer, moved, target)
    assert moved.state_dict()["loss_scaler"]["scale"] == 2 * stored["loss_scaler"]["scale"]  # after three clean steps


@pytest.mark.parametrize("chip", ["Ascend910A", "Ascend910B3"])
def test_a_clean_forward_pass_is_counted_as_clean(chip: str, make_task: MakeTask, train_on: TrainOn) -> None:
    """Whatever else has raised the flag: here the backward pass of a first step that is skipped."""
    scale = LossScale(init=2.0**40)
    task = make_task("fcos", Precision(name="fp16", loss_scale=scale, overflow="saturate"), epochs=1)
    train_on(chip, task)
    last = steps(task.folder)[-1]
    assert last["precision/skipped_steps"] == 3
    assert last["precision/forward_overflows"] == 0


@pytest.mark.parametrize("mode", ["inf_nan", "saturate"])
def test_an_overflow_of_the_forward_pass_is_counted(mode: str, run_on: TrainOn) -> None:
    source = f"""
import torch
from workspace import devices
from workspace.precision import LossScale, Precision
from workspace.training.optim_wrapper import PrecisionOptimWrapper
npu = devices.device("npu")
precision = Precision(name="fp16", loss_scale=LossScale(init=1.0), overflow={mode!r})
npu.prepare(precision)
npu.check()
npu.select("npu:0")
layer = torch.nn.Linear(4, 1).to("npu:0")
wrapper = PrecisionOptimWrapper(
    torch.optim.SGD(layer.parameters(), lr=0.0),
    precision=dict(name="fp16", loss_scale=dict(init=1.0), overflow={mode!r}),
    device="npu:0",
)
for size in (1.0, 6e4, 1.0):
    with wrapper.optim_context(layer):
        loss = (layer(torch.full((2, 4), size, device="npu:0")) * 1e4).float().sum() + 0 * layer.weight.sum()
    wrapper.update_params(loss)
    print("forward overflows:", wrapper.forward_overflows)
"""
    said = run_on("Ascend910B3", source).stdout
    assert [line[-1] for line in said.splitlines() if line.startswith("forward overflows")] == ["0", "1", "1"]

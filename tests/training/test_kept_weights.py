"""Which weights a run leaves in its folder, also after an interruption."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook
from short_runs import stop_in_epoch

from workspace.training import run
from workspace.training.checkpoints import read_checkpoint
from workspace.training.runner import RunRunner
from workspace.training.task import Keep, Task

MakeTask = Callable[..., Task]
RISE_AND_FALL = {1: 10.0, 2: 30.0, 3: 20.0}
RISE = {1: 10.0, 2: 20.0, 3: 30.0}
EPOCHS = {f"epoch_{epoch}.pth" for epoch in RISE}


@pytest.fixture
def evaluate_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[Mapping[int, float]], None]:
    """Gives the next runs their AP by epoch: after a few steps every true one is 0."""
    build = run.build_runner

    def given(points: Mapping[int, float]) -> None:
        class Given(Hook):  # type: ignore[misc]
            priority = "BELOW_NORMAL"

            def after_val_epoch(self, runner: RunRunner, metrics: dict[str, float]) -> None:
                metrics["coco/bbox_mAP"] = points[runner.epoch] / 100

        def building(task: Task) -> RunRunner:
            runner = build(task)
            runner.register_hook(Given())
            return runner

        monkeypatch.setattr(run, "build_runner", building)

    return given


def three_epochs(make_task: MakeTask, keep: Keep, **where: Any) -> Task:
    task = make_task(epochs=3, **where)
    return dataclasses.replace(task, spec=dataclasses.replace(task.spec, evaluations=3), keep=keep)


def stored(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*.pth")}


def epoch_and_ap(path: Path) -> tuple[int, float]:
    meta = torch.load(path, weights_only=True)["meta"]
    return meta["epoch"], pytest.approx(meta["ap"])


def test_the_best_weights_are_those_of_their_epoch(make_task: MakeTask, evaluate_at: Any) -> None:
    evaluate_at(RISE_AND_FALL)
    task = three_epochs(make_task, "all")
    run.train(task)
    assert stored(task.folder) == {"model.pth", "best.pth", *EPOCHS}
    assert epoch_and_ap(task.folder / "best.pth") == (2, 30.0)
    assert epoch_and_ap(task.folder / "model.pth") == (3, 20.0)
    assert [epoch_and_ap(task.folder / name) for name in sorted(EPOCHS)] == list(RISE_AND_FALL.items())
    best, second, last = (
        read_checkpoint(task.folder / name).weights for name in ("best.pth", "epoch_2.pth", "model.pth")
    )
    assert all(torch.equal(best[name], second[name]) for name in best)
    assert not all(torch.equal(best[name], last[name]) for name in best)
    assert read_checkpoint(task.folder / "best.pth").spec == task.spec


def test_the_last_weights_take_no_room_twice_where_they_are_the_best(make_task: MakeTask, evaluate_at: Any) -> None:
    evaluate_at(RISE)
    task = three_epochs(make_task, "best")
    run.train(task)
    assert stored(task.folder) == {"model.pth", "best.pth"}
    assert (task.folder / "best.pth").samefile(task.folder / "model.pth")
    assert epoch_and_ap(task.folder / "best.pth") == (3, 30.0)


@pytest.mark.parametrize(("keep", "left"), [("best", {"model.pth", "best.pth"}), ("last", {"model.pth"})])
def test_the_best_weights_outlive_an_interruption(
    keep: Keep, left: set[str], make_task: MakeTask, evaluate_at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate_at(RISE_AND_FALL)
    with monkeypatch.context() as patch:
        stop_in_epoch(2, patch)
        with pytest.raises(KeyboardInterrupt):
            run.train(three_epochs(make_task, "all"))
    task = three_epochs(make_task, keep)
    assert stored(task.folder) == {"checkpoint.pth", "best.pth", "epoch_1.pth", "epoch_2.pth"}
    kept = (task.folder / "best.pth").read_bytes()
    run.train(task)
    assert stored(task.folder) == left
    if keep == "best":
        assert (task.folder / "best.pth").read_bytes() == kept

"""A run, trained for a few steps through the worker's own entry."""

import dataclasses
import fcntl
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from short_runs import losses, result_of, stop_in_epoch, weights

from workspace.detectors import DETECTORS
from workspace.errors import UserError
from workspace.journal import JournalReader
from workspace.precision import FP32, LossScale, Precision
from workspace.spec import CHECKPOINT, LOCK
from workspace.training import run
from workspace.training.config import build_config
from workspace.training.task import Task

FP16 = Precision(name="fp16", loss_scale=LossScale(init=256.0))  # low enough that steps happen on random weights
MakeTask = Callable[..., Task]


@pytest.mark.parametrize("detector", DETECTORS)
def test_fp32_losses_are_those_of_a_plain_runner(detector: str, make_task: MakeTask, tmp_path: Path) -> None:
    task = make_task(detector, epochs=5)
    run.train(task)

    seen: list[float] = []

    class Collect(Hook):  # type: ignore[misc]
        def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
            seen.append(float(outputs["loss"]))

    cfg = build_config(task)
    cfg.optim_wrapper = dict(
        type="OptimWrapper",
        constructor=cfg.optim_wrapper.constructor,
        optimizer=cfg.optim_wrapper.optimizer,
        clip_grad=cfg.optim_wrapper.clip_grad,
        paramwise_cfg=cfg.optim_wrapper.paramwise_cfg,
    )
    cfg.work_dir = str(tmp_path / "plain")
    torch.set_num_threads(1)
    plain = Runner.from_cfg(cfg)
    plain.register_hook(Collect())
    plain.train()
    assert len(seen) >= 10
    assert losses(task.folder) == seen


@pytest.mark.parametrize("precision", [FP32, FP16, Precision(name="fp16", loss_scale=LossScale(), overflow="saturate")])
def test_an_interrupted_run_goes_on_to_the_same_bits(
    precision: Precision, make_task: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, interrupted = (make_task(precision=precision, epochs=3, work=name) for name in ("whole", "interrupted"))
    run.train(whole)
    with monkeypatch.context() as patch:
        stop_in_epoch(2, patch)
        with pytest.raises(KeyboardInterrupt):
            run.train(interrupted)
    assert (interrupted.folder / CHECKPOINT).exists()
    run.train(interrupted)

    expected, found = weights(whole.folder), weights(interrupted.folder)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert losses(interrupted.folder) == losses(whole.folder)
    assert result_of(interrupted)["metrics"] == result_of(whole)["metrics"]
    assert not (interrupted.folder / CHECKPOINT).exists()


def test_a_finished_run_is_not_trained_again(make_task: MakeTask) -> None:
    task = make_task(epochs=1)
    run.train(task)
    journal = (task.folder / "events.jsonl").read_bytes()
    run.train(task)
    assert (task.folder / "events.jsonl").read_bytes() == journal


def test_another_seed_is_another_run(make_task: MakeTask) -> None:
    first, second = make_task(epochs=1, seed=0), make_task(epochs=1, seed=1)
    assert first.spec.signature != second.spec.signature
    run.train(first)
    run.train(second)
    assert losses(first.folder) != losses(second.folder)


@pytest.mark.parametrize("detector", ["fcos", "ssdlite"])
def test_fp16_trains_in_fp16_and_its_audit_says_so(detector: str, make_task: MakeTask) -> None:
    task = make_task(detector, FP16, epochs=2)
    run.train(task)
    audit = json.loads((task.folder / "audit.json").read_text())
    assert audit["contradictions"] == []
    assert set(audit["layer_outputs"]) == {"float16"}
    assert audit["parameters"].keys() == {"float32"}
    steps = [event for event in JournalReader(task.folder).read() if event["kind"] == "step"]
    assert result_of(task)["skipped_steps"] < len(steps), "no step was taken"
    first = steps[0]["metrics"]
    assert first["precision/loss_scale"] == 256
    assert 0 <= first["precision/underflow_share"] <= 1
    assert {"train/loss", "train/lr", "train/grad_norm", "precision/skipped_steps"} <= first.keys()


def test_fp32_islands_produce_fp32(make_task: MakeTask) -> None:
    islands = Precision(name="fp16", loss_scale=LossScale(), fp32_islands=("head", "loss"))
    task = make_task(precision=islands, epochs=1)
    run.train(task)
    audit = json.loads((task.folder / "audit.json").read_text())
    assert audit["contradictions"] == []
    assert set(audit["island_outputs"]) == {"float32"}
    assert set(audit["layer_outputs"]) == {"float16"}


def test_one_module_or_method_is_an_island_too(make_task: MakeTask) -> None:
    members = ("bbox_head.conv_cls", "bbox_head:loss_by_feat")
    task = make_task(precision=Precision(name="fp16", loss_scale=LossScale(), fp32_islands=members), epochs=1)
    run.train(task)
    audit = json.loads((task.folder / "audit.json").read_text())
    assert audit["contradictions"] == []
    assert audit["island_outputs"] == {"float32": 5}, "one convolution for each of five levels"


def test_an_island_that_the_model_lacks_is_named(make_task: MakeTask) -> None:
    task = make_task(precision=Precision(name="fp16", loss_scale=LossScale(), fp32_islands=("bbox_head.nose",)))
    with pytest.raises(UserError, match=r"FP32 island 'bbox_head\.nose': FCOS has no such module or method"):
        run.train(task)


def test_a_loss_scale_beyond_fp16_skips_every_step(make_task: MakeTask) -> None:
    huge = Precision(name="fp16", loss_scale=LossScale(policy="static", init=2.0**60))
    task = make_task(precision=huge, epochs=1)
    run.train(task)
    result = result_of(task)
    assert result["skipped_steps"] == result["steps"] == 3


def test_saturation_hides_no_overflow_from_the_scaler(make_task: MakeTask) -> None:
    huge = Precision(name="fp16", loss_scale=LossScale(policy="static", init=2.0**40), overflow="saturate")
    task = make_task(precision=huge, epochs=1)
    run.train(task)
    assert result_of(task)["skipped_steps"] == 3
    steps = [event for event in JournalReader(task.folder).read() if event["kind"] == "step"]
    assert all(event["metrics"]["precision/backward_clamped"] > 0 for event in steps)


def test_an_audit_that_contradicts_the_precision_stops_the_run(
    make_task: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = run.build_config

    def lying(task: Task) -> Any:
        cfg = build(task)
        cfg.optim_wrapper.precision = dict(cfg.optim_wrapper.precision, name="fp32", loss_scale=None)
        return cfg

    monkeypatch.setattr(run, "build_config", lying)
    task = make_task(precision=FP16, epochs=1)
    with pytest.raises(UserError, match="audit contradicts precision fp16"):
        run.train(task)
    assert not (task.folder / "result.json").exists()
    last = list(JournalReader(task.folder).read())[-1]
    assert (last["kind"], last["status"]) == ("end", "failed")
    assert "float32" in last["reason"]


def test_an_optimizer_that_torch_lacks_is_named(make_task: MakeTask) -> None:
    task = make_task(epochs=1)
    spec = dataclasses.replace(task.spec, recipe=dataclasses.replace(task.spec.recipe, optimizer="Adamant"))
    with pytest.raises(UserError, match="no optimizer 'Adamant'"):
        run.train(dataclasses.replace(task, spec=spec))


def test_a_second_worker_of_one_run_waits_and_trains_nothing(make_task: MakeTask) -> None:
    task = make_task(epochs=1)
    task.folder.mkdir(parents=True)
    with (task.folder / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = threading.Thread(target=run.train, args=(task,))
        second.start()
        second.join(0.5)
        assert second.is_alive(), "it did not wait"
        (task.folder / "result.json").write_text("{}")
    second.join(30)
    assert not second.is_alive()
    assert not (task.folder / "events.jsonl").exists()


def test_a_checkpoint_reaches_the_disk_after_what_it_covers(
    make_task: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash of the machine that keeps a checkpoint must not lose the evaluation before it, or the result after it."""
    synced: list[str] = []
    sync = os.fsync

    def note(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    task = make_task(epochs=2)
    run.train(task)
    order = [name for name in synced if name.startswith((".checkpoint.pth", ".result.json", "events.jsonl"))]
    assert [name.removesuffix(f".{os.getpid()}") for name in order] == [
        "events.jsonl",
        ".checkpoint.pth",
        ".result.json",
    ]
    result = next(index for index, name in enumerate(synced) if name.startswith(".result.json"))
    assert synced[result + 1] == task.folder.name


def test_what_a_kill_left_half_written_is_removed(make_task: MakeTask) -> None:
    task = make_task(epochs=1)
    task.folder.mkdir(parents=True)
    (task.folder / ".checkpoint.pth.4711").write_bytes(b"half")
    run.train(task)
    assert not list(task.folder.glob(".*"))


def test_loader_processes_do_not_change_the_pictures(make_task: MakeTask) -> None:
    alone = make_task(epochs=1, work="alone")
    helped = dataclasses.replace(make_task(epochs=1, work="helped"), loader_workers=2)
    run.train(alone)
    run.train(helped)
    assert losses(alone.folder) == losses(helped.folder)

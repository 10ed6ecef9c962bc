"""A run that two processes share, against the same run in one."""

import dataclasses
import json
import math
import multiprocessing
import multiprocessing.forkserver
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import distributed_targets as targets
import pytest
import torch

from workspace.errors import UserError
from workspace.journal import Event, JournalReader, latest
from workspace.precision import LossScale, Precision
from workspace.spec import CHECKPOINT
from workspace.training import data, run
from workspace.training.data import DealtBatches
from workspace.training.processes import ProcessKilledError, on_all_devices
from workspace.training.task import Task

MakeTask = Callable[..., Task]
FP16 = Precision(name="fp16", loss_scale=LossScale(init=256.0))
SATURATING = Precision(name="fp16", loss_scale=LossScale(init=256.0), overflow="saturate")


@pytest.fixture(scope="module", autouse=True)
def _own_fork_server() -> Iterator[None]:
    """A server that has imported what the processes need, gone afterwards so that other tests get their own."""
    server = multiprocessing.forkserver._forkserver  # type: ignore[attr-defined]
    server._stop()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
        yield
        server._stop()


def share(task: Task, devices: int = 2, **recipe: Any) -> Task:
    spec = dataclasses.replace(task.spec, devices=devices, recipe=dataclasses.replace(task.spec.recipe, **recipe))
    folder = task.folder.parent / f"{spec.signature}-{devices}"
    return dataclasses.replace(task, spec=spec, folder=folder, devices=("cpu",) * devices)


def fewer_pictures(task: Task, count: int, target: Path) -> Task:
    content = json.loads(task.train.annotations.read_text())
    content["images"] = content["images"][:count]
    kept = {image["id"] for image in content["images"]}
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] in kept]
    target.write_text(json.dumps(content))
    return dataclasses.replace(task, train=dataclasses.replace(task.train, annotations=target))


def events(task: Task, kind: str) -> list[Event]:
    return [event for event in latest(JournalReader(task.folder).read()) if event["kind"] == kind]


def losses(task: Task) -> list[float]:
    return [event["metrics"]["train/loss"] for event in events(task, "step")]


def weights(task: Task) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(task.folder / "model.pth", weights_only=True)["state_dict"]
    return state


def result(task: Task) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((task.folder / "result.json").read_text())
    return content


def test_two_processes_train_as_one(make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In FP64: in FP32 training magnifies rounding, and one process with two threads soon differs from one with one."""
    task = fewer_pictures(make_task(epochs=4), 21, tmp_path / "odd.json")  # the last batch has three pictures and two
    one, two = share(task, 1), share(task, 2)
    with targets.double_precision():
        run.train(one)
    monkeypatch.setattr(run, "_train_together", targets.train_in_double_precision)
    run.train(two)
    assert len(losses(one)) == 12
    for name in ("train/loss", "train/loss_bbox", "train/grad_norm", "train/lr"):
        expected, found = ([event["metrics"][name] for event in events(task, "step")] for task in (one, two))
        assert found == pytest.approx(expected, rel=1e-6)
    of_one, of_two = weights(one), weights(two)
    assert of_one.keys() == of_two.keys()
    for name, weight in of_one.items():
        torch.testing.assert_close(of_two[name], weight, msg=name)
    by_one, by_two = (json.loads((task.folder / "found.bbox.json").read_text()) for task in (one, two))
    assert len(by_one) > 8
    assert [found["image_id"] for found in by_two] == [found["image_id"] for found in by_one]
    for key in ("score", "bbox"):
        torch.testing.assert_close(*(torch.tensor([found[key] for found in by]) for by in (by_two, by_one)))
    assert [len(events(two, kind)) for kind in ("start", "eval", "end")] == [1, 1, 1]


def test_a_run_whose_process_was_killed_goes_on_to_the_same_bits(
    make_task: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, killed = (share(make_task(epochs=2, work=name)) for name in ("whole", "killed"))
    run.train(whole)
    with monkeypatch.context() as patch:
        patch.setattr(run, "_train_together", targets.second_killed_in_second_epoch)
        with pytest.raises(ProcessKilledError, match="process 2 of 2 was killed by SIGKILL"):
            run.train(killed)
    assert not events(killed, "end"), "a run that is to be started again has failed"
    assert (killed.folder / CHECKPOINT).exists()
    run.train(killed)
    assert [event["step"] for event in JournalReader(killed.folder).read() if event["kind"] == "start"] == [0, 3]
    expected, found = weights(whole), weights(killed)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert losses(killed) == losses(whole)
    assert result(killed)["metrics"] == result(whole)["metrics"]


def test_overflow_in_one_process_skips_the_step_in_all(make_task: MakeTask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_train_together", targets.second_overflows_in_second_step)
    task = share(make_task(precision=SATURATING, epochs=1))
    run.train(task)
    first, second = ((task.folder / f"witness.{rank}").read_text().splitlines() for rank in range(2))
    assert first == second
    assert [line.split()[0] for line in first] == ["0", "1", "1"]
    assert events(task, "step")[1]["metrics"]["precision/backward_clamped"] > 0
    audit = json.loads((task.folder / "audit.json").read_text())
    assert audit["contradictions"] == []
    assert set(audit["layer_outputs"]) == {"float16"}
    assert result(task)["skipped_steps"] == 1


def test_processes_with_a_batch_norm_each_evaluate_what_is_stored(
    make_task: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "_train_together", targets.batch_norm_of_each_process)
    task = share(make_task(precision=FP16, epochs=1))
    run.train(task)
    first, second = ((task.folder / f"witness.{rank}").read_text().splitlines() for rank in range(2))
    assert first[0] != second[0]
    assert first[1] == second[1] == first[0]


def test_global_batch_norm_is_that_of_the_whole_batch(make_task: MakeTask) -> None:
    on_all_devices(targets.batch_norm_is_that_of_the_whole_batch, share(make_task()))


@pytest.mark.parametrize(
    ("target", "error", "reason"),
    [(targets.second_fails, UserError, "picture 7 is broken"), (targets.second_is_wrong, RuntimeError, "'size'")],
)
def test_what_fails_in_a_process_is_one_line(
    target: Callable[[Task], None],
    error: type[Exception],
    reason: str,
    make_task: MakeTask,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run, "_train_together", target)
    task = share(make_task())
    with pytest.raises(error) as caught:
        run.train(task)
    assert str(caught.value) == reason
    (end,) = events(task, "end")
    assert (end["status"], end["reason"]) == ("failed", reason)


def test_a_batch_that_does_not_divide_is_refused(make_task: MakeTask) -> None:
    task = share(make_task(), 3)
    with pytest.raises(UserError, match="3 devices cannot share a batch of 8"):
        run.train(task)
    assert "cannot share" in events(task, "end")[0]["reason"]


def test_processes_end_with_the_worker_that_was_killed(make_task: MakeTask) -> None:
    task = share(make_task())
    task.folder.mkdir(parents=True)
    worker = multiprocessing.get_context("forkserver").Process(
        target=on_all_devices, args=(targets.announce_and_sleep, task)
    )
    worker.start()
    try:
        pids = [_read_pid(task.folder / f"pid.{rank}") for rank in range(2)]
    finally:
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
        worker.join()
    _until(lambda: not any(_running(pid) for pid in pids))


@pytest.mark.parametrize("world", [2, 4])
@pytest.mark.parametrize("grouped", [None, dict(type="AspectRatioBatchSampler")])
def test_a_step_sees_the_same_pictures_however_many_share_it(
    world: int, grouped: dict[str, str] | None, make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = fewer_pictures(make_task(), 19, tmp_path / "nineteen.json")
    content = json.loads(task.train.annotations.read_text())
    for image in content["images"][::3]:
        image["height"] += 1  # taller than wide
    task.train.annotations.write_text(json.dumps(content))
    run.register_all_modules()
    dataset = data.DATASETS.build(run.build_config(task).train_dataloader.dataset)
    dataset.full_init()

    def batches(rank: int, of: int) -> list[list[int]]:
        monkeypatch.setattr(data, "get_dist_info", lambda: (rank, of))
        sampler = data.EpochSampler(dataset, seed=3)
        sampler.set_epoch(1)
        dealt = DealtBatches(sampler, batch_size=8, grouped=grouped)
        found = list(dealt)
        assert len(found) == len(dealt)
        return found

    whole = batches(0, 1)
    assert [len(batch) for batch in whole] == [8, 8, 3]
    parts = [batches(rank, world) for rank in range(world)]
    for step, batch in enumerate(whole):
        shares = [part[step] for part in parts]
        assert {picture for share in shares for picture in share} == set(batch)
        assert max(map(len, shares)) == math.ceil(len(batch) / world)
        assert min(map(len, shares)) >= 1


def _read_pid(path: Path) -> int:
    _until(lambda: path.exists() and path.read_text() != "")
    return int(path.read_text())


def _running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)

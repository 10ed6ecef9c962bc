"""What becomes of runs that fail: tried again where that can help, recorded, and devices set aside."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import failing_training
import pytest
from failing_training import KILLED
from small_loop import small_loop
from small_plan import NULL, plan

from workspace.errors import UserError
from workspace.execution import Ended, LocalExecutor
from workspace.journal import JournalReader
from workspace.orchestrator.failures import Failure
from workspace.orchestrator.loop import Loop
from workspace.spec import RunSpec, run_folder

OUT_OF_MEMORY = "CUDA out of memory. Tried to allocate 2.00 GiB"
BAD_DEVICE = "NPU function error: aclrtSynchronizeStream, error code is 507014"
FULL_DISK = "[Errno 28] No space left on device"
OWN_FAULT = "The size of tensor a (4) must match the size of tensor b (5)"

Play = Callable[..., Loop]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Plays runs of which some fail, by their number, or because of the slot that they are on."""

    def played(
        runs: int,
        reasons: Mapping[int, Sequence[str]] | None = None,
        bad_slots: Sequence[int] = (),
        *,
        workers: int = 1,
    ) -> Loop:
        small = plan(NULL, seeds=runs)
        jobs = small.baseline()
        wanted = {jobs[number].spec.signature: said for number, said in (reasons or {}).items()}
        with LocalExecutor(workers=workers, threads=1) as executor:

            def launch(job_id: str, spec: RunSpec, folder: Path, slot: int) -> None:
                said = [BAD_DEVICE] * 9 if slot in bad_slots else wanted.get(spec.signature, [])
                executor.start(job_id, failing_training.train, (folder, said), folder / "log.txt")

            place = "npu:{}".format
            loop = small_loop(tmp_path, executor, launch, slots=workers, place=place, keeps_going=True)
            loop.play(iter(jobs))
        return loop

    return played


def folder_of(work_dir: Path, number: int) -> Path:
    return run_folder(work_dir, plan(NULL, seeds=9).baseline()[number].spec)


def attempts(work_dir: Path, number: int) -> int:
    return sum(event["kind"] == "start" for event in JournalReader(folder_of(work_dir, number)).read())


@pytest.mark.parametrize(
    ("reasons", "tried"),
    [([OUT_OF_MEMORY], 2), ([BAD_DEVICE], 2), (["Connection closed by peer [127.0.0.1]:4242"], 2), ([KILLED] * 2, 3)],
)
def test_a_failure_that_may_pass_is_tried_again(
    reasons: list[str], tried: int, play: Play, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loop = play(1, {0: reasons})
    assert (len(loop.records), loop.failures, loop.trained) == (1, {}, 1)
    assert attempts(tmp_path, 0) == tried
    assert not (folder_of(tmp_path, 0) / "failure.json").exists()
    assert "baseline seed 0 failed on npu:0 and is tried again: " in caplog.text


@pytest.mark.parametrize(
    ("reasons", "cause", "tried"),
    [([OUT_OF_MEMORY] * 5, "memory", 2), ([OWN_FAULT] * 5, "run", 1), ([KILLED] * 5, "killed", 3)],
)
def test_one_that_does_not_pass_is_recorded(
    reasons: list[str], cause: str, tried: int, play: Play, tmp_path: Path
) -> None:
    loop = play(2, {0: reasons})
    assert attempts(tmp_path, 0) == tried
    assert len(loop.records) == 1
    assert loop.failures.keys() == {"baseline seed 0"}
    failure = json.loads((folder_of(tmp_path, 0) / "failure.json").read_text())
    assert (failure["cause"], failure["attempts"], failure["device"]) == (cause, tried, "npu:0")
    assert failure["log"] == [f"attempt {number}" for number in range(tried)]
    assert loop.failures["baseline seed 0"].startswith(failure["reason"])
    assert not list(folder_of(tmp_path, 0).glob(".*"))


def test_a_device_that_fails_two_runs_in_a_row_is_set_aside(
    play: Play, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    loop = play(6, bad_slots=[1], workers=2)
    assert (len(loop.records), loop.failures) == (6, {})
    assert sum(attempts(tmp_path, number) for number in range(6)) == 8
    (said,) = [record.getMessage() for record in caplog.records if "set aside" in record.getMessage()]
    assert said == f"npu:1 is set aside, two runs in a row failed there; the last one: {BAD_DEVICE}"


def test_when_all_devices_are_set_aside_the_sweep_stops(play: Play, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no device is left to train on; the last one, npu:0: NPU function error"):
        play(6, bad_slots=[0])
    assert [attempts(tmp_path, number) for number in range(6)] == [2, 1, 0, 0, 0, 0]


def test_a_full_disk_stops_the_sweep_and_fails_no_run(play: Play, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"baseline seed 1 stopped: \[Errno 28\] .*; make room on the disk"):
        play(3, {1: [FULL_DISK]})
    assert not (folder_of(tmp_path, 1) / "failure.json").exists()
    assert len(play(3).records) == 3


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ("NPU out of memory. Tried to allocate 1.2 GiB (NPU 0; 29.50 GiB total capacity", "memory"),
        ("[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory", "memory"),
        ("MemoryError", "memory"),
        ("CUDA error: an illegal memory access was encountered", "device"),
        ("CUDA error: device-side assert triggered", "run"),
        ("device npu: the driver does not come up (drvErr=87)", "device"),
        ("EI0002: The wait execution of the Notify register times out", "connection"),
        ("[Errno 122] Disk quota exceeded: 'model.pth'", "disk"),
        ("the audit contradicts precision fp16: autocast was on", "run"),
    ],
)
def test_the_cause_is_read_from_what_was_said(said: str, cause: str, tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_text(json.dumps({"kind": "end", "time": 0, "reason": said}) + "\n")
    assert Failure.of(tmp_path, Ended("a", 1, None)) == Failure(cause=cause, reason=said)


def test_without_a_word_it_was_killed_unless_its_log_tells_of_the_disk(tmp_path: Path) -> None:
    assert Failure.of(tmp_path, Ended("a", -9, "SIGKILL")).reason == "killed by SIGKILL, out of memory perhaps"
    assert Failure.of(tmp_path, Ended("a", 1, None)) == Failure(cause="killed", reason="it left no word")
    (tmp_path / "log.txt").write_text(
        "ProcessKilledError: process 2 of 2 was killed by SIGKILL, out of memory perhaps\n"
    )
    assert Failure.of(tmp_path, Ended("a", 1, None)).cause == "killed"
    (tmp_path / "log.txt").write_text(f"OSError: {FULL_DISK}\n\n")
    assert Failure.of(tmp_path, Ended("a", 1, None)).cause == "disk"

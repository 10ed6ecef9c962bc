"""The bill: device-hours by phase and arm, the wall time on so many devices, and what is not known."""

import dataclasses
import io
from pathlib import Path

import pytest
from rich.console import Console
from small_plan import NULL, SWEEP, finish, plan

from workspace.orchestrator.bill import Bill, bills
from workspace.orchestrator.cost import Costs
from workspace.orchestrator.display import print_plan
from workspace.orchestrator.listing import list_experiment
from workspace.orchestrator.plan import Plan


def billed(asked: Plan, work_dir: Path, slots: int = 1) -> list[Bill]:
    return bills(list_experiment(asked, work_dir, None), Costs(asked.conditions, work_dir), slots)


def printed(asked: Plan, work_dir: Path, slots: int = 1) -> str:
    shown = io.StringIO()
    console = Console(width=200, file=shown)
    print_plan(console, "small", list_experiment(asked, work_dir, None), billed(asked, work_dir, slots))
    return shown.getvalue()


def finish_some(small: Plan, work_dir: Path) -> None:
    """One run of each precision, 10 s in FP32 and 20 s in FP16."""
    finish(work_dir, small.baseline()[0].spec, seconds=10.0)
    finish(work_dir, small.default()[0].spec, seconds=20.0)


def test_a_line_sums_the_runs_that_are_not_finished(tmp_path: Path) -> None:
    small = plan()
    finish_some(small, tmp_path)
    (bill,) = billed(small, tmp_path)
    assert bill.device == "a CPU"
    found = [(line.phase, line.arm, line.precision, line.runs, line.steps, line.device_seconds) for line in bill.lines]
    assert found == [
        ("baseline", "baseline", "fp32", 2, 2400, 20.0),
        ("default", "default", "fp16", 2, 2400, 40.0),
        ("search", "trial", "fp16", 4, 4800, 80.0),
        ("confirm", "tuned", "fp16", 3, 3600, 60.0),
    ]
    assert (bill.total.runs, bill.total.steps, bill.total.device_seconds) == (11, 13200, 200.0)
    assert bill.total.wall_seconds == 200.0
    assert {line.source for line in bill.lines} == {"1 finished run"}


def test_the_wall_time_follows_the_slots_and_the_confirmation_waits(tmp_path: Path) -> None:
    small = plan()
    finish_some(small, tmp_path)
    (bill,) = billed(small, tmp_path, slots=4)
    assert [line.wall_seconds for line in bill.lines] == [10.0, 20.0, 20.0, 20.0]
    # 10 10 20 20, then the trials as slots come free: 40 s for the first three phases, 20 s for the last.
    assert (bill.total.device_seconds, bill.total.wall_seconds) == (200.0, 60.0)


def test_each_device_of_a_run_is_paid_for(tmp_path: Path) -> None:
    alone, shared = (billed(plan(scale="full", embedded=False, device="npu", devices=n), tmp_path) for n in (1, 8))
    assert [bill.device for bill in shared] == ["Ascend 910", "Atlas 800T A2"]
    for one, eight in zip(alone, shared, strict=True):
        assert eight.total.device_seconds == pytest.approx(one.total.device_seconds)
        assert eight.total.wall_seconds == pytest.approx((one.total.wall_seconds or 0) / 8)


def test_what_is_unknown_is_said_with_the_command_that_measures_it(tmp_path: Path) -> None:
    unknown = dataclasses.replace(SWEEP, detector="ssd512")
    asked = plan(unknown, scale="full", embedded=False, device="npu")
    (bill,) = billed(asked, tmp_path)
    assert (bill.device, bill.total.device_seconds, bill.total.wall_seconds) == ("npu", None, None)
    assert {line.source for line in bill.lines} == {"unknown"}
    command = "python -m workspace train ssd512 --precision fp16 --device npu --scale full --data DIR --epochs 1"
    assert command in bill.probes
    assert command in printed(asked, tmp_path)


def test_a_part_that_is_unknown_leaves_a_lower_bound(tmp_path: Path) -> None:
    asked = plan(device="cuda")
    finish(tmp_path, asked.baseline()[0].spec, seconds=100.0)
    (bill,) = billed(asked, tmp_path)
    assert [line.device_seconds for line in bill.lines] == [200.0, None, None, None]
    assert bill.total.device_seconds == 200.0
    text = printed(asked, tmp_path)
    assert "over 3 min" in text
    assert "python -m workspace train fcos --precision fp16 --device cuda --epochs 1" in text


def test_trials_may_be_pruned_and_are_billed_as_at_most(tmp_path: Path) -> None:
    rows = [line for line in printed(plan(), tmp_path).splitlines() if "at most" in line]
    assert [row.split("│")[1].strip() for row in rows] == ["search", "total"]
    assert "at most" not in printed(plan(NULL), tmp_path)


def test_nothing_is_billed_when_nothing_is_left(tmp_path: Path) -> None:
    small = plan(NULL)
    for job in (*small.baseline(), *small.default()):
        finish(tmp_path, job.spec)
    assert billed(small, tmp_path) == []
    assert "nothing is left to train" in printed(small, tmp_path)

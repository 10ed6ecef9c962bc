"""The journal of a run: kills in the middle of a line, following while it grows, and several attempts."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from workspace.journal import EVENTS, JournalReader, JournalWriter, device_seconds, latest


def steps(events: list[dict[str, Any]]) -> list[int]:
    return [event["step"] for event in events if event["kind"] == "step"]


def write_steps(folder: Path, *numbers: int) -> None:
    writer = JournalWriter(folder)
    for number in numbers:
        writer.write("step", step=number, epoch=0, metrics={"train/loss": 1 / number})
    writer.close()


def write_at_times(folder: Path, *events: tuple[str, float]) -> None:
    lines = (json.dumps({"kind": kind, "time": time, "step": 0}) + "\n" for kind, time in events)
    (folder / EVENTS).write_text("".join(lines))


def test_what_is_written_is_read_in_order(tmp_path: Path) -> None:
    write_steps(tmp_path, 1, 2, 3)
    events = list(JournalReader(tmp_path).read())
    assert steps(events) == [1, 2, 3]
    assert events[1]["metrics"] == {"train/loss": 0.5}
    assert events[0]["time"] <= events[1]["time"] <= events[2]["time"]


def test_no_journal_is_no_event(tmp_path: Path) -> None:
    assert list(JournalReader(tmp_path).read()) == []


@pytest.mark.parametrize("kept", [1, 10, -2, -1])
def test_a_line_cut_by_a_kill_costs_no_other(kept: int, tmp_path: Path) -> None:
    """Cut after the first byte, in the middle, before the closing brace, or (whole, and kept) before the newline."""
    write_steps(tmp_path, 1, 2)
    path = tmp_path / EVENTS
    first, last = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + last[:kept])
    assert steps(list(JournalReader(tmp_path).read())) == [1]
    write_steps(tmp_path, 3, 4)
    assert steps(list(JournalReader(tmp_path).read())) == ([1, 2, 3, 4] if kept == -1 else [1, 3, 4])


FILL = """
import resource, sys
from pathlib import Path
from workspace.journal import EVENTS, JournalWriter

folder = Path(sys.argv[1])
writer = JournalWriter(folder)
writer.write("step", step=1)
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, ((folder / EVENTS).stat().st_size + 10, hard))
for step in (2, 3):
    try:
        writer.write("step", step=step)
    except OSError as error:
        print(step, error.strerror)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
writer.write("step", step=4)
"""


def test_a_disk_that_becomes_full_is_said_and_costs_no_other_line(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FILL, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["2 No space left on device", "3 File too large"]
    assert steps(list(JournalReader(tmp_path).read())) == [1, 4]


def test_a_journal_is_followed_while_it_is_written(tmp_path: Path) -> None:
    reader = JournalReader(tmp_path)
    assert list(reader.read()) == []
    writer = JournalWriter(tmp_path)
    writer.write("start", step=0, epoch=0)
    writer.write("step", step=1)
    assert [event["kind"] for event in reader.read()] == ["start", "step"]
    assert list(reader.read()) == []
    with (tmp_path / EVENTS).open("ab", buffering=0) as file:
        file.write(b'{"kind": "st')
        assert list(reader.read()) == []
        file.write(b'ep", "step": 2}\n')
    assert steps(list(reader.read())) == [2]
    writer.write("step", step=3)
    writer.close()
    assert steps(list(reader.read())) == [3]


def test_a_reader_follows_over_a_kill_and_a_new_attempt(tmp_path: Path) -> None:
    reader = JournalReader(tmp_path)
    write_steps(tmp_path, 1)
    with (tmp_path / EVENTS).open("ab") as file:
        file.write(b'{"kind": "step", "st')
    assert steps(list(reader.read())) == [1]
    write_steps(tmp_path, 2)
    assert steps(list(reader.read())) == [2]


def test_reading_goes_on_from_a_stored_offset(tmp_path: Path) -> None:
    write_steps(tmp_path, 1, 2)
    first = JournalReader(tmp_path)
    next(first.read())
    assert steps(list(JournalReader(tmp_path, first.offset).read())) == [2]


def test_what_is_no_event_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / EVENTS).write_text('7\n[]\n{"step": 1}\n\n{"kind": "step", "step": 2}\n')
    assert steps(list(JournalReader(tmp_path).read())) == [2]


def test_values_that_are_no_numbers_survive(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path)
    writer.write("step", step=1, metrics={"a": math.nan, "b": math.inf, "c": -math.inf})
    writer.close()
    (event,) = JournalReader(tmp_path).read()
    assert math.isnan(event["metrics"]["a"])
    assert (event["metrics"]["b"], event["metrics"]["c"]) == (math.inf, -math.inf)


def test_of_what_stands_twice_the_last_attempt_counts() -> None:
    events = [
        {"kind": "start", "step": 0, "epoch": 0, "attempt": 1},
        *({"kind": "step", "step": step, "attempt": 1} for step in (1, 2)),
        {"kind": "checkpoint", "step": 2, "attempt": 1},
        *({"kind": "step", "step": step, "attempt": 1} for step in (3, 4)),
        {"kind": "eval", "step": 4, "attempt": 1},
        {"kind": "end", "status": "failed", "attempt": 1},
        {"kind": "start", "step": 2, "epoch": 1, "attempt": 2},
        *({"kind": "step", "step": step, "attempt": 2} for step in (3, 4)),
        {"kind": "end", "status": "finished", "attempt": 2},
    ]
    kept = latest(events)
    assert [(e["step"], e["attempt"]) for e in kept if e["kind"] == "step"] == [(1, 1), (2, 1), (3, 2), (4, 2)]
    assert [e["attempt"] for e in kept if e["kind"] in ("checkpoint", "eval")] == [1]
    assert [e["status"] for e in kept if e["kind"] == "end"] == ["finished"]
    assert latest(kept) == kept


def test_a_run_that_began_anew_keeps_nothing_of_before() -> None:
    again = [{"kind": "start", "step": 0}, {"kind": "step", "step": 1, "attempt": 2}]
    events = [{"kind": "start", "step": 0}, {"kind": "step", "step": 1}, {"kind": "step", "step": 2}, *again]
    assert [event for event in latest(events) if event["kind"] == "step"] == again[1:]


@pytest.mark.parametrize(
    ("events", "seconds"),
    [
        ([], 0),
        ([("start", 100)], 0),
        ([("start", 100), ("step", 103), ("end", 107)], 7),
        ([("start", 100), ("step", 103)], 3),
        ([("start", 100), ("step", 110), ("start", 200), ("step", 205), ("end", 206)], 16),
        ([("start", 100), ("end", 110), ("start", 200), ("start", 300), ("end", 301)], 11),
        # An attempt that fails before its training begins has an end and no start.
        ([("end", 1000)], 0),
        ([("end", 1000), ("start", 2000), ("step", 2005)], 5),
        ([("start", 100), ("end", 110), ("end", 1000), ("start", 2000), ("end", 2005)], 15),
    ],
)
def test_device_seconds_are_those_of_all_attempts(
    events: list[tuple[str, float]], seconds: float, tmp_path: Path
) -> None:
    write_at_times(tmp_path, *events)
    assert device_seconds(tmp_path) == seconds


def test_samples_of_the_hardware_do_not_count_as_time_on_it(tmp_path: Path) -> None:
    """They are taken from before an attempt's start on: between two attempts nothing was held."""
    events = [("system", 90), ("start", 100), ("step", 103), ("system", 104)]
    again = [("system", 990), ("start", 1000), ("step", 1002), ("end", 1003), ("system", 1005)]
    write_at_times(tmp_path, *events, *again)
    assert device_seconds(tmp_path) == 3 + 3


def test_samples_of_the_hardware_are_kept_over_an_interruption() -> None:
    samples = [{"kind": "system", "time": time} for time in (1, 5, 8)]
    events = [{"kind": "start", "step": 0}, samples[0], {"kind": "step", "step": 1}, samples[1]]
    again = [samples[2], {"kind": "start", "step": 0}, {"kind": "step", "step": 1}]
    kept = latest([*events, *again])
    assert [event for event in kept if event["kind"] == "system"] == samples
    assert len([event for event in kept if event["kind"] == "step"]) == 1


def test_a_run_that_never_began_took_no_time(tmp_path: Path) -> None:
    assert device_seconds(tmp_path) == 0

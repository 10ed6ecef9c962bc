"""The planted table: cause, gap, what the diagnosis says, what closes it, at what cost."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.planted.causes import Cause
from benchmarks.planted.diagnosed import Asked, asked, diagnosis_of, proposals
from benchmarks.planted.known import Known
from benchmarks.planted.plan import MARGIN, gap_jobs, proposal_jobs
from workspace.files import write_atomically
from workspace.gap import Gap, measure_gap
from workspace.precision import LossScale

_HEADINGS = (
    "cause",
    "FP32",
    "FP16",
    "gap",
    "mended",
    "its gap",
    "diagnosis' first three",
    "named",
    "closed by",
    "AP after",
    "gap after",
    "seconds",
)


@dataclass(frozen=True)
class Found:
    """All that is known of one cause.

    Attributes:
        ap: by arm (``fp32``, ``default``, ``mended``, ``proposal1``, ...) and seed.
        asked: the diagnosis from fresh weights.
        again: that of the losing run's weights, where the first one found nothing.
        first: what is proposed first.
        diagnosis_seconds: that it took.
        seconds: of the diagnosis and of all runs of that proposal.
    """

    cause: Cause
    ap: Mapping[str, Mapping[int, float]]
    asked: Asked | None
    again: Asked | None
    first: str
    diagnosis_seconds: float | None
    seconds: float

    def gap(self, arm: str) -> Gap | None:
        """Of the arm against FP32; ``None`` where one has no runs."""
        if not self.ap.get("fp32") or not self.ap.get(arm):
            return None
        return measure_gap(self.ap["fp32"], self.ap[arm], MARGIN)


def write_report(causes: Sequence[Cause], known: Known, work_dir: Path, seeds: int, folder: Path) -> None:
    """Writes ``planted.csv`` and ``planted.md`` into that folder."""
    found = [_found(cause, known, work_dir, seeds) for cause in causes]
    rows = [_row(entry) for entry in found]

    def write(path: Path) -> None:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    write_atomically(folder / "planted.csv", write)
    text = "\n".join(_page(found, seeds)) + "\n"
    write_atomically(folder / "planted.md", lambda path: path.write_text(text) and None)


def _found(cause: Cause, known: Known, work_dir: Path, seeds: int) -> Found:
    ap: dict[str, dict[int, float]] = {}
    seconds = 0.0
    for job in [*gap_jobs([cause], seeds), *proposal_jobs([cause], work_dir, seeds)]:
        run = known.run(job)
        if run is None:
            continue
        if job.split == "eval":
            ap.setdefault(job.recipe, {})[job.seed] = run.ap
        if job.recipe == "proposal1":
            seconds += run.seconds
    contents = [diagnosis_of(cause, work_dir, of_run=of_run) for of_run in (False, True)]
    said, again = (asked(cause, content) if content is not None else None for content in contents)
    seconds += known.diagnosis_seconds(cause) or 0.0
    diagnosis = proposals(cause, work_dir)
    changes = diagnosis.proposals[0].changes if diagnosis and diagnosis.proposals else {}
    return Found(cause, ap, said, again, _changes(changes), known.diagnosis_seconds(cause), seconds)


def _row(found: Found) -> dict[str, str]:
    said = found.asked
    row = {"cause": found.cause.name, "kind": found.cause.kind, "where": found.cause.where}
    for arm in ("default", "mended", "proposal1"):
        gap = found.gap(arm)
        row[f"{arm}_ap"] = _mean(found.ap.get(arm, {}))
        row[f"{arm}_gap"] = f"{gap.mean:.2f}" if gap else ""
        row[f"{arm}_low"] = f"{gap.low:.2f}" if gap and gap.low is not None else ""
        row[f"{arm}_high"] = f"{gap.high:.2f}" if gap and gap.high is not None else ""
        row[f"{arm}_verdict"] = gap.verdict if gap else ""
    row["fp32_ap"] = _mean(found.ap.get("fp32", {}))
    named = said.named if said else ()
    for place, word in enumerate(("first", "second", "third")):
        row[f"diagnosis_{word}"] = " ".join(named[place]) if place < len(named) else ""
    row["place_of_the_cause"] = str(said.place or "") if said else ""
    row["asked_of_the_run"] = _named(found.again)
    row["closed_by"] = found.first
    row["diagnosis_seconds"] = "" if found.diagnosis_seconds is None else f"{found.diagnosis_seconds:.0f}"
    row["seconds_until_closed"] = f"{found.seconds:.0f}"
    return row


def _page(found: Sequence[Found], seeds: int) -> Iterable[str]:
    told = [entry.asked for entry in found if entry.asked is not None]
    gaps = [(entry, entry.gap("proposal1")) for entry in found]
    closed = sum(gap is not None and gap.verdict == "closed" for _, gap in gaps)
    tried = sum(gap is not None for _, gap in gaps)
    again = [entry.again for entry in found if entry.again is not None]
    yield "# Gaps whose cause is known"
    yield ""
    yield (
        "Made by `python -m benchmarks.planted gaps`, `diagnose` and `report`. A micro FCOS on easy pictures of 64 px, "
        f"{seeds} seeds an arm, AP in points, gaps against FP32 with their 90 % intervals; a verdict is at a margin of "
        f"{MARGIN:.0f} AP. Device-seconds are of one thread."
    )
    yield ""
    yield (
        f"The diagnosis, with its defaults and from fresh weights, names the planted cause first in "
        f"{sum(said.place == 1 for said in told)} of {len(told)}, among its first three in "
        f"{sum(said.place is not None and said.place <= 3 for said in told)}. Where it found nothing so "
        f"({len(again)}), it was asked again of the weights that the losing run ended with, and named the cause first "
        f"in {sum(said.place == 1 for said in again)}. What it proposes first closes {closed} of {len(told)}"
        + (f"; for {len(told) - tried} it proposes nothing." if tried < len(told) else ".")
    )
    yield ""
    yield f"| {' | '.join(_HEADINGS)} |"
    yield f"|{'---|' * len(_HEADINGS)}"
    for entry, _ in gaps:
        yield _line(entry)
    yield ""
    yield (
        "*mended*: as the planted cause says, by an FP32 island, a loss scale or a standard optimizer. *named*: the "
        "place of the planted cause among the diagnosis' causes. *closed by*: the diagnosis' first proposal. "
        "*seconds*: of the diagnosis and of all runs of that proposal: in full and in a third of the schedule on the "
        "search split, and over the evaluation seeds."
    )
    yield ""
    yield (
        "To be read with care: the detector is a micro model that learns easy pictures in 150 steps, and many of these "
        "causes lose everything, because every step overflows and is skipped. Nothing here tells how often such causes "
        "are met. Whoever planted them had not seen how the diagnosis works; that it is asked a second time where it "
        "finds nothing was decided after a first trial."
    )
    yield ""
    yield "## What was planted"
    yield ""
    for entry in found:
        yield f"* **{entry.cause.name}** ({entry.cause.kind}, {entry.cause.where}): {entry.cause.story}"


def _line(found: Found) -> str:
    said = found.asked
    first_three = _named(said) if said else "not asked"
    place = "" if said is None else str(said.place or "no")
    if found.again is not None:
        first_three += f"; of the run's own weights: {_named(found.again)}"
    cells = [
        found.cause.name,
        _mean(found.ap.get("fp32", {})),
        _mean(found.ap.get("default", {})),
        _interval(found.gap("default")),
        _mean(found.ap.get("mended", {})),
        _interval(found.gap("mended")),
        first_three,
        place,
        found.first,
        _mean(found.ap.get("proposal1", {})),
        _interval(found.gap("proposal1")),
        f"{found.seconds:.0f}" if said else "",
    ]
    return f"| {' | '.join(cells)} |"


def _named(said: Asked | None) -> str:
    """The first three causes, in words."""
    if said is None:
        return ""
    return ", ".join(f"{kind} {where}" for kind, where in said.named[:3]) or "nothing"


def _mean(ap: Mapping[int, float]) -> str:
    return f"{sum(ap.values()) / len(ap):.1f}" if ap else ""


def _interval(gap: Gap | None) -> str:
    if gap is None:
        return ""
    if gap.low is None or gap.high is None:
        return f"{gap.mean:+.1f}"
    return f"{gap.mean:+.1f} ({gap.low:+.1f} to {gap.high:+.1f}), {gap.verdict}"


def _changes(changes: Mapping[str, object]) -> str:
    return "; ".join(f"{name}: {_value(value)}" for name, value in changes.items()) or "nothing"


def _value(value: object) -> str:
    if isinstance(value, LossScale):
        return f"{value.policy} {value.init:g}, grows every {value.growth_interval}"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)

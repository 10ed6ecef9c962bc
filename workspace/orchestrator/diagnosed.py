"""The search that a diagnosis begins: its space, its runs, and which recipe it takes.

The decisions are `workspace.search.strategy`'s; the reasons stand in ``docs/decisions/016-a-diagnosed-search.md``.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from workspace.errors import UserError
from workspace.orchestrator.loop import Loop
from workspace.orchestrator.plan import Job, Plan, Start
from workspace.orchestrator.runs import RunRecord
from workspace.orchestrator.trials import interrupted, recall_settled, trial_job
from workspace.search import Ranks, Study, Trial
from workspace.search.proposals import Diagnosis, Proposal, read_diagnosis, widened
from workspace.search.space import Choice, Word
from workspace.search.strategy import REFERENCE, FurtherSeed, Point, Rules, front
from workspace.spec import RunSpec

_ISLANDS = "fp32_islands"


def with_diagnosis(plan: Plan, file: Path) -> Plan:
    """The plan whose search begins with what that diagnosis proposes.

    What it proposes first is judged before anything is searched, unless the baseline is tuned too. All of its proposals
    are among the options of the space, and the others are tried before the default recipe, whose gap is why there is a
    diagnosis. FP32 islands that leave too little in half to be worth it are no options, and proposals of them are set
    aside.

    Raises:
        UserError: the file is no diagnosis of this detector and kind of precision, or the plan has no search.
    """
    diagnosis = read_diagnosis(file)
    candidate = plan.experiment.candidate
    if (diagnosis.detector, diagnosis.precision) != (plan.experiment.detector, candidate.name):
        raise UserError(
            f"diagnosis {file}: it is of {diagnosis.detector} in {diagnosis.precision}; {plan.name} searches for "
            f"{plan.experiment.detector} in {candidate.name}"
        )
    try:
        defaults = _defaults(plan, diagnosis)
    except UserError as error:
        raise UserError(f"diagnosis {file}: {error}") from None
    words = widened(plan.space, diagnosis.proposals, defaults)
    in_half = _in_half(plan, words)
    least = rules(plan).least_in_half
    first: list[Mapping[str, Any]] = []
    set_aside = []
    for proposal in diagnosis.proposals:
        point = {name: proposal.changes.get(name, defaults[name]) for name in words}
        kept = in_half[_ordered(point.get(_ISLANDS, candidate.fp32_islands))]
        if kept < least:
            set_aside.append(f"{_said(proposal)}: only {100 * kept:.0f} % of the operations would stay in half")
        elif point not in first and any(point[name] != defaults[name] for name in words):
            first.append(point)
    if _ISLANDS in words:
        words = {**words, _ISLANDS: _worth_it(words[_ISLANDS], in_half, least, candidate.fp32_islands)}
    proposed = first.pop(0) if first and not plan.tune_baseline else None
    searching = dataclasses.replace(
        plan,
        experiment=dataclasses.replace(plan.experiment, space=words),
        start=Start(proposed=proposed, first=first, in_half=in_half, set_aside=set_aside),
    )
    if not (searching.has_search or proposed):
        raise UserError(
            f"--diagnosis {file}: it proposes nothing that {plan.name} could judge, and nothing is searched; give it "
            "--trials, or leave it out"
        )
    return searching


def rules(plan: Plan) -> Rules:
    """How the plan's search decides."""
    return Rules(margin=plan.margin)


@dataclass(frozen=True)
class Found:
    """What a diagnosed search found.

    Attributes:
        chosen: the trial whose recipe is confirmed.
        points: of all finished trials.
        reference: AP in points of the baseline on the search split, by seed of the search.
        default: number of the default recipe's trial.
        is_reached: whether the search ended because a recipe reached that.
        set_aside: what the diagnosis proposes and was not tried.
        ranks: by epoch, how well AP there ranks the finished trials as their final AP does; where it does not, no trial
            was pruned.
    """

    chosen: Trial
    points: Sequence[Point]
    reference: Sequence[float]
    default: int
    is_reached: bool
    set_aside: Sequence[str]
    ranks: Mapping[int, Ranks]

    @property
    def front(self) -> list[Point]:
        """What nothing beats in AP without fewer operations in half, the cheapest first."""
        return front(self.points)

    def to_json(self) -> dict[str, Any]:
        return {
            "reference": list(self.reference),
            "reached": self.is_reached,
            "front": [
                {
                    "trial": point.number,
                    "in_half": round(point.in_half, 4),
                    "ap": point.mean,
                    "seeds": len(point.values),
                }
                for point in self.front
            ],
            "set_aside": list(self.set_aside),
            "ranks": [
                {"epoch": epoch, "tau": ranks.tau, "p_value": ranks.p_value, "trials": ranks.trials}
                for epoch, ranks in self.ranks.items()
            ],
        }


def find(plan: Plan, study: Study, loop: Loop, before: Iterator[Job]) -> Found:
    """Plays the search until its rules have an answer.

    Args:
        before: what is to be trained first.

    Raises:
        UserError: no recipe that is worth it finished.
    """
    assert plan.start is not None
    recall_settled(plan, study, loop.recall)
    jobs = itertools.chain(before, (trial_job(plan, study, trial) for trial in interrupted(plan, study)))
    due = steps(plan, study, loop.records)
    while (job := next(jobs, None) or next(due, None)) is not None:
        loop.play(itertools.chain([job], jobs, due))
        due = steps(plan, study, loop.records)  # those before may have ended to wait for results
    progress = Progress.of(plan, study, partial(_ap, loop.records))
    chosen = rules(plan).chosen(progress.points)
    if chosen is None:
        raise UserError(
            f"{plan.name}: no trial finished that keeps {100 * rules(plan).least_in_half:.0f} % of its operations in "
            "half; see the logs under runs/"
        )
    return Found(
        chosen=study.trial(chosen.number),
        points=progress.points,
        reference=progress.reference,
        default=len(plan.start.first),
        is_reached=rules(plan).is_reached(progress.points, progress.reference),
        set_aside=plan.start.set_aside,
        ranks=study.ranks(),
    )


@dataclass(frozen=True)
class Progress:
    """How far a diagnosed search is.

    Attributes:
        points: of its finished trials.
        reference: AP of the baseline, in points, by seed of the search.
        asked: trials that were begun.
        running: of these, the numbers of those that have not ended.
    """

    points: Sequence[Point]
    reference: Sequence[float]
    asked: int
    running: frozenset[int]

    @classmethod
    def of(cls, plan: Plan, study: Study, ap: Callable[[RunSpec], float | None]) -> "Progress":
        """From the study, and the AP of finished runs in points."""
        assert plan.start is not None
        rows = [row for row in study.trials()[: plan.trials] if row.state != "waiting"]
        points = []
        for row in rows:
            if row.state == "finished" and row.value is not None:
                changes = study.space.decode(row.labels)
                islands = plan.trial(row.number, changes).spec.precision.fp32_islands
                further = _values(ap, (plan.further(row.number, changes, seed) for seed in itertools.count(1)))
                points.append(Point(row.number, plan.start.in_half[islands], (row.value, *further)))
        return cls(
            points=points,
            reference=_values(ap, (plan.searched_for(seed) for seed in itertools.count())),
            asked=len(rows),
            running=frozenset(row.number for row in rows if row.state == "running"),
        )


def steps(plan: Plan, study: Study, records: Mapping[str, RunRecord]) -> Iterator[Job]:
    """The search's next jobs, until it takes the result of one that runs to know more, or the search has its answer.

    After a restart, runs beside the trials are asked for again, as they were before: they are there already.

    Args:
        records: of finished runs by signature, which grow meanwhile.
    """
    further: dict[str, int] = {}
    while True:
        progress = Progress.of(plan, study, partial(_ap, records))
        pending = {number for signature, number in further.items() if signature not in records}
        step = rules(plan).next_step(
            progress.points,
            progress.reference,
            asked=progress.asked,
            trials=plan.trials,
            pending=pending | progress.running,
        )
        if step in ("wait", "stop"):
            return
        if isinstance(step, FurtherSeed):
            job = _further(plan, study, step.number, progress)
            further[job.spec.signature] = step.number
        else:
            job = trial_job(plan, study, study.ask())
        yield job


def _further(plan: Plan, study: Study, number: int, progress: Progress) -> Job:
    if number == REFERENCE:
        return plan.searched_for(len(progress.reference))
    point = next(point for point in progress.points if point.number == number)
    return plan.further(number, study.trial(number).params, len(point.values))


def _values(ap: Callable[[RunSpec], float | None], jobs: Iterator[Job]) -> tuple[float, ...]:
    """AP of one seed after the other, up to the first one that has none."""
    found: list[float] = []
    for job in jobs:
        if (value := ap(job.spec)) is None:
            break
        found.append(value)
    return tuple(found)


def _ap(records: Mapping[str, RunRecord], spec: RunSpec) -> float | None:
    record = records.get(spec.signature)
    return None if record is None else record.ap


def _defaults(plan: Plan, diagnosis: Diagnosis) -> dict[str, Any]:
    """The default recipe's values of all that is searched, and of what the diagnosis proposes to change."""
    proposed = (name for proposal in diagnosis.proposals for name in proposal.changes)
    return {name: plan.default_value(name) for name in (*plan.space, *proposed)}


def _in_half(plan: Plan, words: Mapping[str, Word]) -> dict[tuple[str, ...], float]:
    """Share of the operations in half by FP32 islands: those of the candidate, and all that may be chosen."""
    from workspace.training.flops import flops_in_half  # loads torch, which an orchestrator does without otherwise

    word = words.get(_ISLANDS)
    options = [value for _, value in word.options] if isinstance(word, Choice) else []
    specs = [plan.trial(0, {_ISLANDS: islands}).spec for islands in (plan.experiment.candidate.fp32_islands, *options)]
    shares = flops_in_half(specs, len(plan.conditions.dataset.classes))
    return {spec.precision.fp32_islands: share for spec, share in zip(specs, shares, strict=True)}


def _worth_it(word: Word, in_half: Mapping[tuple[str, ...], float], least: float, default: tuple[str, ...]) -> Word:
    if not isinstance(word, Choice):
        return word
    return Choice(
        tuple((label, value) for label, value in word.options if value == default or in_half[_ordered(value)] >= least)
    )


def _ordered(islands: Iterable[str]) -> tuple[str, ...]:
    """As `Precision` has them."""
    return tuple(sorted(set(islands)))


def _said(proposal: Proposal) -> str:
    return ", ".join(f"{name} {value}" for name, value in proposal.changes.items())

"""What an experiment answers: its result as a value, as JSON, and in words."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workspace.gap import Gap, sentence
from workspace.orchestrator.details import Details, gap_details
from workspace.orchestrator.diagnosed import Found
from workspace.orchestrator.looks import Looks
from workspace.orchestrator.picture_intervals import PictureIntervals
from workspace.orchestrator.plan import PROPOSED, TUNED_BASELINE, Job, Plan
from workspace.orchestrator.proposed import gap_of, given_up_after
from workspace.orchestrator.runs import RunRecord
from workspace.search import Selection


@dataclass(frozen=True, kw_only=True)
class Arm:
    """AP in points of one arm by seed."""

    precision: str
    ap: Mapping[int, float]


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What the answer took: device-seconds of all its runs, whenever they were trained, and this start's share."""

    device_seconds: float
    trained: int
    reused: int

    def to_json(self) -> dict[str, Any]:
        return {
            "device_seconds": round(self.device_seconds, 1),
            "trained": self.trained,
            "reused": self.reused,
        }


@dataclass(frozen=True, kw_only=True)
class Report:
    """The result of an experiment.

    Attributes:
        arms: ``baseline``, ``default``, ``proposed`` where a diagnosis did, and after a search ``tuned``; before it
            ``tuned baseline``, if there is one.
        gaps: of ``default``, ``proposed`` and ``tuned`` against their references; none of an arm that was given up.
        details: by candidate's arm, its gap taken apart.
        references: by candidate's arm: ``baseline``, or ``tuned baseline`` where the baseline was searched too.
        best: number and parameters of the winning trial, as the study shows them; ``None`` without a search.
        best_baseline: the same of the baseline's search.
        proposal: what the diagnosis changes in the ``proposed`` arm, by parameter, as the study shows it.
        found: what a search that a diagnosis began found; ``None`` without.
        selections: by what was searched, ``candidate`` or ``baseline``, what became of its trials' cheap runs.
        diverged: by name of the run, what became of it; its AP counts in its arm.
        reservations: reasons for which the arms do not compare as they should.
    """

    experiment: str
    scale: str
    metric: str
    margin: float
    arms: Mapping[str, Arm]
    gaps: Mapping[str, Gap]
    details: Mapping[str, Details]
    references: Mapping[str, str]
    best: Mapping[str, Any] | None
    best_baseline: Mapping[str, Any] | None
    cost: Cost
    diverged: Mapping[str, str]
    reservations: Sequence[str]
    proposal: Mapping[str, Any] | None = None
    found: Found | None = None
    selections: Mapping[str, Selection] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            "experiment": self.experiment,
            "scale": self.scale,
            "metric": self.metric,
            "margin": self.margin,
            "arms": {
                name: {"precision": arm.precision, "seeds": list(arm.ap), "ap": list(arm.ap.values())}
                for name, arm in self.arms.items()
            },
            "gaps": {
                name: {
                    **gap_json(gap),
                    "against": self.references[name],
                    **(self.details[name].to_json() if name in self.details else {}),
                }
                for name, gap in self.gaps.items()
            },
            "best": None if self.best is None else dict(self.best),
            "best_baseline": None if self.best_baseline is None else dict(self.best_baseline),
            **({} if self.proposal is None else {"proposal": dict(self.proposal)}),
            **({} if self.found is None else {"search": self.found.to_json()}),
            **(
                {"fidelity": {name: found.to_json() for name, found in self.selections.items()}}
                if self.selections
                else {}
            ),
            "cost": self.cost.to_json(),
            "diverged": dict(self.diverged),
            "reservations": list(self.reservations),
        }

    @property
    def sentences(self) -> list[str]:
        """The verdict on each candidate arm, in a sentence each, and which one was given up."""
        is_null = self.arms["default"].precision == self.arms["baseline"].precision
        subjects = {
            "default": "on other seeds" if is_null else "with the default recipe",
            PROPOSED: f"with what the diagnosis proposes ({_listed(self.proposal or {})})",
            "tuned": "with the tuned recipe",
        }
        if self.references.get("tuned") == TUNED_BASELINE:
            subjects["tuned"] += f" against tuned {self.arms[TUNED_BASELINE].precision.upper()}"
        names = {name: f"{self.arms[name].precision.upper()} {subjects[name]}" for name in self.references}
        return [
            sentence(self.gaps[name], candidate=subject)
            if name in self.gaps
            else f"{subject} was given up after {_seeds(self.arms[name])}: it could hardly be closed any more."
            for name, subject in names.items()
        ]

    @property
    def selection_lines(self) -> list[str]:
        """What became of the cheap runs of each search that has no table of its own."""
        in_tables = set() if self.found is None else {"candidate"}
        return [
            ("the baseline's search: " if name == "baseline" else "") + selection_line(selection)
            for name, selection in self.selections.items()
            if name not in in_tables
        ]


def build_report(
    plan: Plan,
    jobs: Mapping[str, Sequence[Job]],
    records: Mapping[str, RunRecord],
    *,
    metric: str,
    best: Mapping[str, Any] | None,
    cost: Cost,
    best_baseline: Mapping[str, Any] | None = None,
    looks: Looks | None = None,
    folders: Mapping[str, Path] | None = None,
    known: PictureIntervals | None = None,
    proposal: Mapping[str, Any] | None = None,
    found: Found | None = None,
    selections: Mapping[str, Selection] | None = None,
) -> Report:
    """Judges the arms.

    Args:
        jobs: of each arm.
        records: of their runs, by signature.
        folders: of the runs, by signature; ``None`` where gaps are not to be taken apart.
        known: intervals over pictures of earlier starts, and of this one for later ones; ``None`` where none are kept.
        looks: that were taken before; this one is added. ``None`` where it is not the answer, and others follow.

    Raises:
        UserError: the AP of a run is no number, or no percentage.
    """
    arms = {
        name: Arm(
            precision=arm[0].spec.precision.name,
            ap={job.spec.seed: records[job.spec.signature].ap for job in arm},
        )
        for name, arm in jobs.items()
    }
    references = {name: plan.reference(name) for name in plan.judged(arms)}
    pairs = {name: (jobs[of], jobs[name]) for name, of in references.items()}
    gaps = {name: gap_of(plan, name, arms[of].ap, arms[name].ap) for name, of in references.items()}
    if PROPOSED in gaps and _is_given_up(plan, gaps[PROPOSED], arms):
        del gaps[PROPOSED]
    return Report(
        experiment=plan.name,
        scale=plan.conditions.scale,
        metric=metric,
        margin=plan.margin,
        arms=arms,
        gaps=gaps,
        references=references,
        details={} if folders is None else gap_details(gaps, pairs, records, folders, known),
        best=best,
        best_baseline=best_baseline,
        proposal=proposal,
        found=found,
        selections=selections or {},
        cost=cost,
        diverged=diverged_runs(jobs, records),
        reservations=[
            *reservations([records[job.spec.signature] for arm in jobs.values() for job in arm]),
            *lost_references(jobs, records, set(references.values())),
            *_tuned_alone(jobs, gaps, references),
            *(looks.take(plan, jobs, _judged(arms, gaps, references)) if looks else ()),
        ],
    )


def _is_given_up(plan: Plan, gap: Gap, arms: Mapping[str, Arm]) -> bool:
    """Whether the proposed arm ended before its verdict, which its fewer seeds must not stand for."""
    given_up = given_up_after(plan, arms["baseline"].ap, arms[PROPOSED].ap)
    return given_up is not None and (plan.max_seeds is None or gap.verdict == "undecided")


def _judged(
    arms: Mapping[str, Arm], gaps: Mapping[str, Gap], references: Mapping[str, str]
) -> dict[str, Mapping[int, float]]:
    """AP of the arms that there is a verdict on, and of their references."""
    return {name: arm.ap for name, arm in arms.items() if name in gaps or name in references.values()}


def _listed(changes: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in changes.items())


def _seeds(arm: Arm) -> str:
    return f"{len(arm.ap)} {'seed' if len(arm.ap) == 1 else 'seeds'}"


def selection_line(selection: Selection) -> str:
    """Whether trials were selected by their cheap runs, and why."""
    ranks, count = selection.ranks, f"{selection.trials} {'trial' if selection.trials == 1 else 'trials'}"
    if ranks is None:
        what = f"Whether AP at {selection.fidelity} ranks trials as AP of full runs does cannot be told from {count}"
    else:
        tau = f"tau {ranks.tau:+.2f} (p {ranks.p_value:.2f})"
        what = f"AP at {selection.fidelity} ranks {count} as AP of full runs does with {tau}"
    without = f"{selection.not_promoted} more had no full run"
    if selection.is_by_cheap_runs:
        return f"{what}: enough to select by; {without}."
    then = "no more cheap runs were made" if selection.is_given_up else "trials went on to their full runs"
    return f"{what}: too little to select by; {then}" + (f"; {without}." if selection.not_promoted else ".")


def gap_json(gap: Gap) -> dict[str, Any]:
    return {
        "mean": gap.mean,
        "low": gap.low,
        "high": gap.high,
        "verdict": gap.verdict,
        "seeds_needed": gap.seeds_needed,
        "method": gap.method,
        "seeds": {"baseline": gap.baseline_seeds, "candidate": gap.candidate_seeds},
        "sequential": gap.sequential,
        **({"recipes": gap.recipes} if gap.recipes > 1 else {}),
    }


def _tuned_alone(
    jobs: Mapping[str, Sequence[Job]], gaps: Mapping[str, Gap], references: Mapping[str, str]
) -> list[str]:
    """A reservation on a gap that is closed by a recipe which the baseline was never given the chance to find."""
    return [
        f"{name} is closed against a baseline that was not tuned, and by another recipe than its own: that gap holds "
        "what tuning gains in any precision; --tune-baseline judges tuned against tuned"
        for name, gap in gaps.items()
        if gap.verdict == "closed"
        and references[name] == "baseline"
        and jobs[name][0].spec.recipe != jobs["baseline"][0].spec.recipe
    ]


def reservations(records: Sequence[RunRecord]) -> list[str]:
    """Reasons for which these runs do not compare as they should: their audits, or where they were trained."""
    found = sorted({complaint for record in records for complaint in record.contradictions})
    for name in sorted({name for record in records for name in record.circumstances}):
        values = sorted({record.circumstances.get(name, "unknown") for record in records})
        if len(values) > 1:
            found.append(f"arms were trained with different {name}: {', '.join(values)}")
    return found


def diverged_runs(jobs: Mapping[str, Sequence[Job]], records: Mapping[str, RunRecord]) -> dict[str, str]:
    """By name of the run, what became of those that diverged."""
    return {
        job.name: found
        for arm in jobs.values()
        for job in arm
        if job.spec.signature in records and (found := records[job.spec.signature].diverged)
    }


def lost_references(
    jobs: Mapping[str, Sequence[Job]], records: Mapping[str, RunRecord], baselines: Collection[str]
) -> list[str]:
    """Reservations on gaps whose baseline diverged: that loss is the recipe's, not the candidate's gain."""
    lost = diverged_runs({name: jobs[name] for name in jobs if name in baselines}, records)
    return [f"{name} diverged: gaps against it do not measure the candidate" for name in lost]


def divergence_lines(diverged: Mapping[str, str]) -> list[str]:
    """A line for each run that diverged."""
    return [f"{name} diverged and counts with its AP: {found}" for name, found in diverged.items()]

"""What an experiment answers: its result as a value, as JSON, and in words."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workspace.gap import Gap, measure_gap, sentence
from workspace.orchestrator.plan import Job, Plan
from workspace.orchestrator.runs import RunRecord


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
        arms: ``baseline``, ``default`` and, after a search, ``tuned``.
        gaps: of ``default`` and ``tuned`` against the baseline.
        best: number and parameters of the winning trial, as the study shows them; ``None`` without a search.
        diverged: by name of the run, what became of it; its AP counts in its arm.
        reservations: reasons for which the arms do not compare as they should.
    """

    experiment: str
    scale: str
    metric: str
    margin: float
    arms: Mapping[str, Arm]
    gaps: Mapping[str, Gap]
    best: Mapping[str, Any] | None
    cost: Cost
    diverged: Mapping[str, str]
    reservations: Sequence[str]

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
            "gaps": {name: gap_json(gap) for name, gap in self.gaps.items()},
            "best": None if self.best is None else dict(self.best),
            "cost": self.cost.to_json(),
            "diverged": dict(self.diverged),
            "reservations": list(self.reservations),
        }

    @property
    def sentences(self) -> list[str]:
        """The verdict on each candidate arm, in a sentence each."""
        is_null = self.arms["default"].precision == self.arms["baseline"].precision
        subjects = {
            "default": "on other seeds" if is_null else "with the default recipe",
            "tuned": "with the tuned recipe",
        }
        return [
            sentence(gap, candidate=f"{self.arms[name].precision.upper()} {subjects[name]}")
            for name, gap in self.gaps.items()
        ]


def build_report(
    plan: Plan,
    jobs: Mapping[str, Sequence[Job]],
    records: Mapping[str, RunRecord],
    *,
    metric: str,
    best: Mapping[str, Any] | None,
    cost: Cost,
) -> Report:
    """Judges the arms.

    Args:
        jobs: of each arm.
        records: of their runs, by signature.

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
    gaps = {
        name: measure_gap(arms["baseline"].ap, arm.ap, plan.margin) for name, arm in arms.items() if name != "baseline"
    }
    return Report(
        experiment=plan.name,
        scale=plan.conditions.scale,
        metric=metric,
        margin=plan.margin,
        arms=arms,
        gaps=gaps,
        best=best,
        cost=cost,
        diverged=diverged_runs(jobs, records),
        reservations=[
            *reservations([records[job.spec.signature] for arm in jobs.values() for job in arm]),
            *lost_references(jobs, records, {"baseline"}),
        ],
    )


def gap_json(gap: Gap) -> dict[str, Any]:
    return {
        "mean": gap.mean,
        "low": gap.low,
        "high": gap.high,
        "verdict": gap.verdict,
        "seeds_needed": gap.seeds_needed,
    }


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

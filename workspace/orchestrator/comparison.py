"""What a comparison answers: its arms, its contrasts beside published figures, as JSON, as rows and in words."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from workspace.detectors import Detector, detector
from workspace.gap import (
    Effect,
    Gap,
    effect_sentence,
    measure_effect,
    measure_effect_sequentially,
    measure_gap,
    measure_sequentially,
    sentence,
)
from workspace.orchestrator.comparison_plan import ComparisonPlan
from workspace.orchestrator.details import Details, gap_details
from workspace.orchestrator.looks import Looks
from workspace.orchestrator.picture_intervals import PictureIntervals
from workspace.orchestrator.plan import Job
from workspace.orchestrator.report import Cost, diverged_runs, gap_json, lost_references, reservations
from workspace.orchestrator.runs import RunRecord


@dataclass(frozen=True, kw_only=True)
class ComparedArm:
    """One arm: what was trained, and its AP in points by seed; of the runs that finished."""

    detector: str
    metric: str
    precision: str
    recipe: str
    ap: Mapping[int, float]

    @property
    def mean(self) -> float:
        return sum(self.ap.values()) / len(self.ap)

    def on_first(self, seeds: int) -> "ComparedArm":
        """The arm with so many of its seeds."""
        return replace(self, ap=dict(itertools.islice(self.ap.items(), seeds)))


@dataclass(frozen=True, kw_only=True)
class PublishedRow:
    """AP on COCO in points: mixed precision on the NPU, and FP32 in MMDetection's model zoo.

    Attributes:
        recipes: that the two were trained with; where they differ, so does more than the precision.
    """

    npu: float
    zoo: float
    recipes: tuple[str, str]

    @classmethod
    def of(cls, described: Detector) -> "PublishedRow":
        npu, zoo = described.npu, described.zoo
        return cls(npu=npu.ap, zoo=zoo.ap, recipes=(npu.recipe, zoo.recipe))

    @property
    def difference(self) -> float:
        return round(self.npu - self.zoo, 1)  # as published: of figures with one decimal

    @property
    def has_one_recipe(self) -> bool:
        return self.recipes[0] == self.recipes[1]


@dataclass(frozen=True, kw_only=True)
class ComparisonReport:
    """The result of a comparison.

    Attributes:
        weights: by contrast and arm.
        pairs: baseline's and candidate's arm of each contrast that is a gap.
        contrasts: those that are measured; of the others a run failed.
        details: of the gaps among them, taken apart.
        parts: contrasts that others sum up to.
        published: by contrast.
        failures: by name of the run, why it failed.
        diverged: by name of the run, what became of it; its AP counts in its arm.
        reservations: reasons for which the arms do not compare as they should.
    """

    experiment: str
    scale: str
    margin: float
    arms: Mapping[str, ComparedArm]
    weights: Mapping[str, Mapping[str, float]]
    pairs: Mapping[str, tuple[str, str]]
    contrasts: Mapping[str, Gap | Effect]
    details: Mapping[str, Details]
    parts: Mapping[str, Sequence[str]]
    published: Mapping[str, PublishedRow]
    failures: Mapping[str, str]
    diverged: Mapping[str, str]
    cost: Cost
    reservations: Sequence[str]

    def pair(self, contrast: str) -> tuple[ComparedArm, ComparedArm] | None:
        """Baseline and candidate of a contrast that is a gap, with the seeds that it was measured on."""
        if contrast not in self.pairs:
            return None
        baseline, candidate = (self.arms[arm] for arm in self.pairs[contrast])
        if (seeds := self.seeds(contrast)) is None:
            return baseline, candidate
        return baseline.on_first(seeds), candidate.on_first(seeds)

    def seeds(self, contrast: str) -> int | None:
        """Of each arm, that the contrast was measured on; ``None`` where a run failed."""
        found = self.contrasts.get(contrast)
        if found is None:
            return None
        return found.baseline_seeds if isinstance(found, Gap) else min(found.seeds.values())

    @property
    def is_sequential(self) -> bool:
        """Whether seeds were added until the gaps were decided."""
        return any(found.sequential for found in self.contrasts.values())

    def asks_more_narrowly(self, contrast: str) -> bool:
        """Whether its arms differ in less than the published figures do: in their precision, not in their recipe."""
        row, pair = self.published.get(contrast), self.pair(contrast)
        return row is not None and not row.has_one_recipe and pair is not None and pair[0].recipe == pair[1].recipe

    def to_json(self) -> dict[str, Any]:
        return {
            "experiment": self.experiment,
            "scale": self.scale,
            "margin": self.margin,
            "arms": {
                name: {
                    "detector": arm.detector,
                    "metric": arm.metric,
                    "precision": arm.precision,
                    "recipe": arm.recipe,
                    "seeds": list(arm.ap),
                    "ap": list(arm.ap.values()),
                }
                for name, arm in self.arms.items()
            },
            "contrasts": {
                name: {
                    "weights": dict(self.weights[name]),
                    **(
                        gap_json(found)
                        if isinstance(found, Gap)
                        else {
                            "mean": found.mean,
                            "low": found.low,
                            "high": found.high,
                            "seeds": dict(found.seeds),
                            "sequential": found.sequential,
                        }
                    ),
                    **(self.details[name].to_json() if name in self.details else {}),
                }
                for name, found in self.contrasts.items()
            },
            "published": {
                name: {
                    "npu": row.npu,
                    "zoo": row.zoo,
                    "difference": row.difference,
                    "recipes": {"npu": row.recipes[0], "zoo": row.recipes[1]},
                }
                for name, row in self.published.items()
            },
            "failures": dict(self.failures),
            "diverged": dict(self.diverged),
            "cost": self.cost.to_json(),
            "reservations": list(self.reservations),
        }

    def rows(self) -> list[dict[str, Any]]:
        """A row for each contrast, measured or not; ``None`` where there is nothing to say."""
        return [
            {
                "contrast": name,
                "published_npu": row.npu if row else None,
                "published_zoo": row.zoo if row else None,
                "published_difference": row.difference if row else None,
                "published_with_one_recipe": row.has_one_recipe if row else None,
                "baseline_ap": pair[0].mean if pair and pair[0].ap else None,
                "candidate_ap": pair[1].mean if pair and pair[1].ap else None,
                "mean": found.mean if found else None,
                "low": found.low if found else None,
                "high": found.high if found else None,
                "verdict": found.verdict if isinstance(found, Gap) else None,
                "seeds": self.seeds(name),
                "sequential": found.sequential if found else None,
            }
            for name, row, pair, found in self._lines()
        ]

    @property
    def title(self) -> str:
        looks = ", which were added until the gaps were decided" if self.is_sequential else ""
        return f"{self.experiment} ({self.scale}): contrasts of AP, 90 % intervals over seeds{looks}"

    @property
    def sentences(self) -> list[str]:
        """What each contrast says, and how those that sum up do so."""
        said = []
        for name, found in self.contrasts.items():
            if isinstance(found, Gap):
                baseline, candidate = self.pairs[name]
                said.append(sentence(found, candidate=f"{candidate} against {baseline}"))
            else:
                said.append(effect_sentence(found, name=name))
            parts = [(part, self.contrasts[part]) for part in self.parts.get(name, ()) if part in self.contrasts]
            # On other seeds they are other means, and do not sum up.
            if parts and len({self.seeds(contrast) for contrast in (name, *self.parts[name])}) == 1:
                sum_of = " ".join(f"{part.mean:+z.2f} ({label})" for label, part in parts)
                said.append(f"{name}: {found.mean:+z.2f} AP = {sum_of}.")
        return said

    @property
    def notes(self) -> list[str]:
        """Footnotes of the table."""
        said = []
        if any(self.asks_more_narrowly(name) for name in self.weights):
            said.append(
                "* published with another recipe in mixed precision than in FP32: that difference is not of precision "
                "alone. Here both arms have one recipe."
            )
        if self.is_sequential:
            said.append("Seeds were added until each gap was decided; the intervals allow for the looks.")
            fixed = [name for name, found in self.contrasts.items() if not found.sequential]
            if fixed:
                said.append(
                    f"Those of {', '.join(fixed)} need not: an arm of each is in no gap and was given no more seeds."
                )
        return said

    def _lines(
        self,
    ) -> Iterator[tuple[str, PublishedRow | None, tuple[ComparedArm, ComparedArm] | None, Gap | Effect | None]]:
        for name in self.weights:
            yield name, self.published.get(name), self.pair(name), self.contrasts.get(name)


def build_comparison(
    plan: ComparisonPlan,
    jobs: Mapping[str, Sequence[Job]],
    records: Mapping[str, RunRecord],
    *,
    failures: Mapping[str, str],
    cost: Cost,
    looks: Looks | None = None,
    folders: Mapping[str, Path] | None = None,
    known: PictureIntervals | None = None,
) -> ComparisonReport:
    """Judges the contrasts of which all runs finished.

    Args:
        jobs: of each arm, by seed; further ones than the plan's where seeds were added.
        records: of the finished runs, by signature.
        failures: reasons of the others, by name.
        looks: that were taken before; this one is added. ``None`` where none are remembered.
        folders: of the runs, by signature; ``None`` where gaps are not to be taken apart.
        known: intervals over pictures of earlier starts, and of this one for later ones; ``None`` where none are kept.

    Raises:
        UserError: the AP of a run is no number, or no percentage.
    """
    arms = {name: _arm(plan, name, runs, records) for name, runs in jobs.items()}
    comparison = plan.comparison
    found = {name: _measured(plan, name, jobs, records) for name in comparison.contrasts}
    contrasts = {name: contrast for name, contrast in found.items() if contrast is not None}
    gaps = {name: contrast for name, contrast in contrasts.items() if isinstance(contrast, Gap)}
    pairs = {name: (jobs[baseline], jobs[candidate]) for name, (baseline, candidate) in comparison.gaps.items()}
    complete = {name: arm.ap for name, arm in arms.items() if len(arm.ap) == len(jobs[name])}
    used = [job.spec.signature for runs in jobs.values() for job in runs]
    return ComparisonReport(
        experiment=plan.name,
        scale=plan.conditions.scale,
        margin=plan.margin,
        arms=arms,
        weights=comparison.contrasts,
        pairs=comparison.gaps,
        contrasts=contrasts,
        details={} if folders is None else gap_details(gaps, pairs, records, folders, known),
        parts=comparison.parts,
        published={name: PublishedRow.of(detector(model)) for name, model in comparison.published.items()},
        failures=failures,
        diverged=diverged_runs(jobs, records),
        cost=cost,
        reservations=[
            *reservations([records[signature] for signature in used if signature in records]),
            *lost_references(jobs, records, {baseline for baseline, _ in comparison.gaps.values()}),
            *(looks.take(plan, jobs, complete) if looks else ()),
        ],
    )


def _arm(plan: ComparisonPlan, name: str, jobs: Sequence[Job], records: Mapping[str, RunRecord]) -> ComparedArm:
    arm = plan.comparison.arms[name]
    recipes = detector(arm.detector).variant(plan.conditions.scale).recipes
    return ComparedArm(
        detector=arm.detector,
        metric=jobs[0].metric,
        precision=arm.precision.name,
        recipe=arm.recipe or next(iter(recipes)),
        ap={job.spec.seed: records[job.spec.signature].ap for job in jobs if job.spec.signature in records},
    )


def _measured(
    plan: ComparisonPlan, name: str, jobs: Mapping[str, Sequence[Job]], records: Mapping[str, RunRecord]
) -> Gap | Effect | None:
    """The contrast on the seeds that its arms share; ``None`` where a run that it needs did not finish."""
    weights = {arm: weight for arm, weight in plan.comparison.contrasts[name].items() if weight}
    shared = min(len(jobs[arm]) for arm in weights)
    aps = {arm: _without_hole(jobs[arm][:shared], records) for arm in weights}
    is_whole = all(len(ap) == shared for ap in aps.values())
    if name in plan.comparison.gaps:
        baseline, candidate = (aps[arm] for arm in plan.comparison.gaps[name])
        if plan.max_seeds is None:
            return measure_gap(baseline, candidate, plan.margin) if is_whole else None
        gap = measure_sequentially(baseline, candidate, plan.margin) if baseline and candidate else None
        # What an earlier look decided needs no later run; what none decided waits for the one that failed.
        return gap if is_whole or (gap and gap.verdict != "undecided") else None
    if not is_whole:
        return None
    # An arm that is in no gap keeps its number of seeds, whatever the verdicts say, and so does what it shares.
    waits = all(plan.adds_to(arm) for arm in weights)
    return measure_effect_sequentially(aps, weights) if waits else measure_effect(aps, weights)


def _without_hole(jobs: Sequence[Job], records: Mapping[str, RunRecord]) -> dict[int, float]:
    """AP in points by seed, of the first runs up to one that did not finish."""
    first = itertools.takewhile(lambda job: job.spec.signature in records, jobs)
    return {job.spec.seed: records[job.spec.signature].ap for job in first}

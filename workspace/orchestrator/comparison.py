"""What a comparison answers: its arms, its contrasts beside published figures, as JSON, as rows and in words."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workspace.detectors import Detector, detector
from workspace.gap import Effect, Gap, effect_sentence, measure_effect, measure_gap, sentence
from workspace.orchestrator.details import Details, gap_details
from workspace.orchestrator.plan import ComparisonPlan, Job
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
        contrasts: those whose arms' runs all finished.
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
    contrasts: Mapping[str, Gap | Effect]
    details: Mapping[str, Details]
    parts: Mapping[str, Sequence[str]]
    published: Mapping[str, PublishedRow]
    failures: Mapping[str, str]
    diverged: Mapping[str, str]
    cost: Cost
    reservations: Sequence[str]

    def pair(self, contrast: str) -> tuple[ComparedArm, ComparedArm] | None:
        """Baseline and candidate of a contrast that takes one arm from another."""
        names = _pair(self.weights[contrast])
        return None if names is None else (self.arms[names[0]], self.arms[names[1]])

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
                        else {"mean": found.mean, "low": found.low, "high": found.high}
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
            }
            for name, row, pair, found in self._lines()
        ]

    @property
    def title(self) -> str:
        return f"{self.experiment} ({self.scale}): contrasts of AP, 90 % intervals over seeds"

    @property
    def sentences(self) -> list[str]:
        """What each contrast says, and how those that sum up do so."""
        said = []
        for name, found in self.contrasts.items():
            if isinstance(found, Gap):
                baseline, candidate = _pair(self.weights[name]) or ("", "")
                said.append(sentence(found, candidate=f"{candidate} against {baseline}"))
            else:
                said.append(effect_sentence(found, name=name))
            parts = [(part, self.contrasts[part]) for part in self.parts.get(name, ()) if part in self.contrasts]
            if parts:
                sum_of = " ".join(f"{part.mean:+z.2f} ({label})" for label, part in parts)
                said.append(f"{name}: {found.mean:+z.2f} AP = {sum_of}.")
        return said

    @property
    def notes(self) -> list[str]:
        """Footnotes of the table."""
        if not any(self.asks_more_narrowly(name) for name in self.weights):
            return []
        return [
            "* published with another recipe in mixed precision than in FP32: that difference is not of precision "
            "alone. Here both arms have one recipe."
        ]

    def _lines(
        self,
    ) -> Iterator[tuple[str, PublishedRow | None, tuple[ComparedArm, ComparedArm] | None, Gap | Effect | None]]:
        for name in self.weights:
            yield name, self.published.get(name), self.pair(name), self.contrasts.get(name)


def build_comparison(
    plan: ComparisonPlan,
    records: Mapping[str, RunRecord],
    *,
    failures: Mapping[str, str],
    cost: Cost,
    folders: Mapping[str, Path] | None = None,
) -> ComparisonReport:
    """Judges the contrasts of which all runs finished.

    Args:
        records: of the finished runs, by signature.
        failures: reasons of the others, by name.
        folders: of the runs, by signature; ``None`` where gaps are not to be taken apart.

    Raises:
        UserError: the AP of a run is no number, or no percentage.
    """
    jobs = plan.arms()
    arms = {name: _arm(plan, name, runs, records) for name, runs in jobs.items()}
    complete = {name: arm.ap for name, arm in arms.items() if len(arm.ap) == plan.seeds}
    comparison = plan.comparison
    contrasts: dict[str, Gap | Effect] = {}
    gaps: dict[str, Gap] = {}
    pairs: dict[str, tuple[Sequence[Job], Sequence[Job]]] = {}
    for name, weights in comparison.contrasts.items():
        if weights.keys() <= complete.keys():
            pair = _pair(weights)
            if pair is None:
                contrasts[name] = measure_effect(complete, weights)
            else:
                contrasts[name] = gaps[name] = measure_gap(complete[pair[0]], complete[pair[1]], plan.margin)
                pairs[name] = jobs[pair[0]], jobs[pair[1]]
    used = [job.spec.signature for runs in jobs.values() for job in runs]
    return ComparisonReport(
        experiment=plan.name,
        scale=plan.conditions.scale,
        margin=plan.margin,
        arms=arms,
        weights=comparison.contrasts,
        contrasts=contrasts,
        details={} if folders is None else gap_details(gaps, pairs, records, folders),
        parts=comparison.parts,
        published={name: PublishedRow.of(detector(model)) for name, model in comparison.published.items()},
        failures=failures,
        diverged=diverged_runs(jobs, records),
        cost=cost,
        reservations=[
            *reservations([records[signature] for signature in used if signature in records]),
            *lost_references(jobs, records, {pair[0] for pair in map(_pair, comparison.contrasts.values()) if pair}),
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


def _pair(weights: Mapping[str, float]) -> tuple[str, str] | None:
    """Baseline and candidate, where the contrast takes the one from the other."""
    by_weight = {weight: arm for arm, weight in weights.items() if weight}
    used = sum(bool(weight) for weight in weights.values())
    return (by_weight[-1], by_weight[1]) if used == 2 and by_weight.keys() == {-1, 1} else None

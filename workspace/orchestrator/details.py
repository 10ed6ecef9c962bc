"""What lies under a gap: by class and by object size, over seeds, and how it would come out on other pictures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from workspace.gap import (
    Effect,
    Gap,
    PictureInterval,
    bootstrap_pictures,
    measure_effect,
    measure_effect_sequentially,
)
from workspace.matches import MATCHES, SIZES, Matches
from workspace.orchestrator.picture_intervals import PictureIntervals
from workspace.orchestrator.plan import Job
from workspace.orchestrator.runs import RunRecord

_GAP = {"baseline": -1.0, "candidate": 1.0}


@dataclass(frozen=True, kw_only=True)
class Details:
    """One gap, taken apart. Each interval is for its own question, and none of them has a verdict.

    Attributes:
        classes: gap of each class's AP that all runs have; empty where ``unknown``.
        sizes: the same of objects of COCO's sizes.
        pictures: the gap over resampled pictures; ``None`` where ``unknown``.
        unknown: names of the runs of which it is not known what each picture's detections matched.
    """

    classes: Mapping[str, Effect]
    sizes: Mapping[str, Effect]
    pictures: PictureInterval | None
    unknown: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        return {
            "by_class": {name: _effect_json(effect) for name, effect in self.classes.items()},
            "by_size": {name: _effect_json(effect) for name, effect in self.sizes.items()},
            "pictures": None
            if self.pictures is None
            else {"low": self.pictures.low, "high": self.pictures.high, "resamples": self.pictures.resamples},
        }


def gap_details(
    gaps: Mapping[str, Gap],
    pairs: Mapping[str, tuple[Sequence[Job], Sequence[Job]]],
    records: Mapping[str, RunRecord],
    folders: Mapping[str, Path],
    known: PictureIntervals | None = None,
) -> dict[str, Details]:
    """Takes gaps apart, each on the seeds that it was judged on.

    Args:
        gaps: by name.
        pairs: the runs of each one's baseline and candidate.
        records, folders: of their runs, by signature.
        known: intervals over pictures of earlier starts; ``None`` where none are kept.

    Raises:
        UserError: a file of matches that is none, or that is of other pictures.
    """
    loaded: dict[str, Matches | None] = {}

    def matches(job: Job) -> Matches | None:
        signature = job.spec.signature
        if signature not in loaded:
            path = folders[signature] / MATCHES
            loaded[signature] = Matches.load(path) if path.exists() else None
        return loaded[signature]

    def pictures(runs: Mapping[str, Sequence[Job]]) -> PictureInterval:
        arms = {side: [found for job in jobs if (found := matches(job))] for side, jobs in runs.items()}
        if known is None:
            return bootstrap_pictures(**arms)
        signatures = {side: [job.spec.signature for job in jobs] for side, jobs in runs.items()}
        files = {side: {name: folders[name] / MATCHES for name in names} for side, names in signatures.items()}
        return known.of(**files, work_out=lambda: bootstrap_pictures(**arms))

    return {name: _details(gap, _judged(gap, *pairs[name]), records, matches, pictures) for name, gap in gaps.items()}


def details_table(details: Mapping[str, Details]) -> pd.DataFrame:
    """Columns ``gap``, ``of`` (``class`` or ``size``), ``name``, ``mean``, ``low``, ``high``: AP points, 90 %."""
    rows = [
        (gap, of, name, effect.mean, effect.low, effect.high)
        for gap, found in details.items()
        for of, effects in (("class", found.classes), ("size", found.sizes))
        for name, effect in effects.items()
    ]
    return pd.DataFrame(rows, columns=["gap", "of", "name", "mean", "low", "high"])


def picture_lines(details: Mapping[str, Details]) -> list[str]:
    """What the pictures say of each gap, or why they say nothing."""
    lines = []
    for name, found in details.items():
        if found.pictures is not None:
            lines.append(
                f"{name}: on other pictures, with the same runs, the gap is {found.pictures.low:+z.2f} to "
                f"{found.pictures.high:+z.2f} AP (90 % of {found.pictures.resamples} resamples of "
                f"{found.pictures.pictures} pictures)."
            )
        elif found.unknown:
            others = f" and {len(found.unknown) - 1} more" if len(found.unknown) > 1 else ""
            lines.append(
                f"{name}: no interval over pictures, for {found.unknown[0]}{others} left no {MATCHES}; "
                f"`python -m workspace test RUN/model.pth --matches RUN/{MATCHES}` makes it."
            )
    return lines


def _judged(gap: Gap, baseline: Sequence[Job], candidate: Sequence[Job]) -> dict[str, Sequence[Job]]:
    """The runs that the gap was judged on, by side."""
    return {"baseline": baseline[: gap.baseline_seeds], "candidate": candidate[: gap.candidate_seeds]}


def _details(
    gap: Gap,
    runs: Mapping[str, Sequence[Job]],
    records: Mapping[str, RunRecord],
    matches: Callable[[Job], Matches | None],
    pictures_of: Callable[[Mapping[str, Sequence[Job]]], PictureInterval],
) -> Details:
    unknown = [job.name for side in runs.values() for job in side if matches(job) is None]
    found = {side: {job.spec.seed: known for job in jobs if (known := matches(job))} for side, jobs in runs.items()}
    classes: dict[str, Effect] = {}
    pictures = None
    if not unknown:
        pictures = pictures_of(runs)
        by_class = {side: {seed: run.average_precision() for seed, run in arm.items()} for side, arm in found.items()}
        for index, name in enumerate(next(iter(found["baseline"].values())).classes):
            values = {side: {seed: float(ap[index]) for seed, ap in arm.items()} for side, arm in by_class.items()}
            classes |= _effect(name, values, gap)
    sizes: dict[str, Effect] = {}
    for size in SIZES[1:]:
        metric = f"{next(iter(runs['baseline'])).metric}_{size[0]}"
        values = {
            side: {job.spec.seed: records[job.spec.signature].metrics.get(metric, float("nan")) for job in jobs}
            for side, jobs in runs.items()
        }
        sizes |= _effect(size, values, gap)
    return Details(classes=classes, sizes=sizes, pictures=pictures, unknown=unknown)


def _effect(name: str, values: Mapping[str, Mapping[int, float]], gap: Gap) -> dict[str, Effect]:
    """The part of the gap under that name; nothing where a run has no AP of it, for want of such objects."""
    if not all(0 <= ap <= 100 for arm in values.values() for ap in arm.values()):
        return {}
    # Where the whole gap's verdict decided how many seeds there are, its parts allow for its looks.
    measure = measure_effect_sequentially if gap.sequential else measure_effect
    return {name: measure(values, _GAP)}


def _effect_json(effect: Effect) -> dict[str, Any]:
    return {"mean": effect.mean, "low": effect.low, "high": effect.high}

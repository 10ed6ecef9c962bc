"""The looks that a verdict was taken at: which seeds come next, and what was looked at before."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from workspace.files import write_json
from workspace.gap import Gap, measure_sequentially
from workspace.orchestrator.comparison_plan import ComparisonPlan
from workspace.orchestrator.plan import PROPOSED, Job, Plan
from workspace.orchestrator.proposed import gap_of, given_up_after

LOOKS_FILE = "looks.json"
"""In an experiment's folder: by gap (its candidate's arm, or its name in a comparison) and by what was trained in both
arms, the seeds at which it was judged."""


def seeds_to_come(plan: Plan | ComparisonPlan, arms: Mapping[str, Mapping[int, float]]) -> dict[str, int]:
    """Seeds of each arm, at most, when every verdict on these arms is decided or the last look is made.

    Args:
        arms: AP in points of the runs that are finished, by seed, by arm; the first seeds, without a hole.

    Returns:
        Seeds by arm; 0 for an arm that no verdict is on.
    """
    assert plan.max_seeds is not None
    seeds = dict.fromkeys(arms, 0)
    for name, pair in plan.pairs(arms).items():
        baseline, candidate = (arms[arm] for arm in pair)
        needed = plan.max_seeds
        if baseline and candidate:
            gap = gap_of(plan, name, baseline, candidate)
            if gap.verdict != "undecided":
                needed = gap.candidate_seeds
            elif isinstance(plan, Plan) and name == PROPOSED:
                needed = given_up_after(plan, baseline, candidate) or needed
        for arm in pair:
            seeds[arm] = max(seeds[arm], needed)
    return seeds


class Looks:
    """The verdicts that were taken under an experiment's conditions, in its folder; read when this is made.

    A verdict on a number of seeds that was fixed beforehand errs in 5 % of studies. One that was looked at before with
    fewer seeds, and had more added since, errs more often, and so does the best of several tuned recipes. Neither can
    be seen in the numbers, so each look is written down.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOOKS_FILE
        self._seen: dict[str, dict[str, list[int]]] = json.loads(self._path.read_text()) if self._path.exists() else {}

    def take(
        self,
        plan: Plan | ComparisonPlan,
        jobs: Mapping[str, Sequence[Job]],
        aps: Mapping[str, Mapping[int, float]],
    ) -> list[str]:
        """Writes down that these arms are judged now; returns what is to be said of the looks before.

        Args:
            jobs: of each arm.
            aps: AP in points by seed, by arm; of those that are judged, and of their references.
        """
        said = []
        for name, (reference, arm) in plan.pairs(aps).items():
            seeds = min(len(aps[reference]), len(aps[arm]))
            # What an arm trains is what its first seed does; the candidate's alone would miss another FP32 recipe.
            pair = f"{jobs[reference][0].spec.signature}-{jobs[arm][0].spec.signature}"
            pairs = self._seen.setdefault(name, {})
            looks = pairs.setdefault(pair, [])
            earlier = [look for look in looks if look < seeds]
            if earlier and plan.max_seeds is None:
                gap = measure_sequentially(aps[reference], aps[arm], plan.margin, recipes=plan.recipes_for(name))
                said.append(_looked_at_before(name, earlier, gap))
            recipes = {pair.rpartition("-")[2] for pair in pairs}
            if isinstance(plan, Plan) and arm != "default" and len(recipes) > 1:
                said.append(
                    f"{len(recipes)} {arm} recipes were judged on these seeds and pictures by now, and each may be "
                    "called closed wrongly in 5 % of studies: together they are more often"
                )
            if seeds not in looks:
                looks.append(seeds)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self._path, self._seen)
        return said


def _looked_at_before(name: str, earlier: Sequence[int], gap: Gap) -> str:
    looks = " and ".join(str(look) for look in sorted(earlier))
    interval = "" if gap.low is None else f" ({gap.low:+z.2f} to {gap.high:+z.2f} at {gap.candidate_seeds} seeds)"
    return (
        f"{name} was judged before with {looks} seeds: the interval errs in 5 % of studies that look once. "
        f"One that allows for looks says {gap.verdict}{interval}; --max-seeds reports that one"
    )

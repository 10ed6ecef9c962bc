"""What a run is expected to cost, from what runs like it have cost."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from workspace.detectors import detector
from workspace.orchestrator.plan import Plan
from workspace.orchestrator.runs import RunRecord
from workspace.spec import RunSpec

_HALF_COST = 1.15
"""FP16 step over FP32 step on a CPU, for estimates only; ``benchmarks/half_arithmetic.py`` measures it."""


def expected_seconds(plan: Plan, spec: RunSpec, measured: Iterable[tuple[RunSpec, RunRecord]]) -> float | None:
    """Device-seconds of a run: the mean of finished runs like it, else from a known step time, else unknown."""
    like = [record.seconds for other, record in measured if _cost_alike(spec, other)]
    if like:
        return sum(like) / len(like)
    step = detector(spec.detector).variant(spec.scale).cpu_step_seconds
    if step is None or spec.device != "cpu" or spec.image_size is None:
        return None
    size = detector(spec.detector).variant(spec.scale).image_size
    assert size is not None
    pixels = (spec.image_size[0] * spec.image_size[1]) / (size[0] * size[1])
    return plan.steps(spec) * step * pixels * (_HALF_COST if spec.precision.is_mixed else 1.0)


def finished_runs(work_dir: Path) -> Sequence[tuple[RunSpec, RunRecord]]:
    """All finished runs of a work folder."""
    found = []
    for path in sorted((work_dir / "runs").glob("*/result.json")):
        try:
            spec = RunSpec.from_json(json.loads((path.parent / "spec.json").read_text()))
            found.append((spec, RunRecord.load(path.parent)))
        except (KeyError, TypeError):  # written by another version, whose runs are not this one's
            continue
    return found


def _cost_alike(a: RunSpec, b: RunSpec) -> bool:
    """Whether two runs take about the same time on the same machine."""
    return (
        (a.detector, a.scale, a.data.digest, a.epochs, a.device, a.image_size, a.evaluations)
        == (b.detector, b.scale, b.data.digest, b.epochs, b.device, b.image_size, b.evaluations)
        and a.precision.name == b.precision.name
        and a.recipe.batch_size == b.recipe.batch_size
    )

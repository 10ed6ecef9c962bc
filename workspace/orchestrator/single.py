"""One run, trained by itself: the same worker, journal and tracking as an experiment's."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from workspace.datasets import subset
from workspace.detectors import Detector
from workspace.errors import UserError
from workspace.orchestrator.alone import alone
from workspace.orchestrator.disk import room
from workspace.orchestrator.plan import Job
from workspace.orchestrator.playing import backbone_weights, conditions, playing, terminal, viewers
from workspace.orchestrator.runs import run_state
from workspace.orchestrator.settings import Settings
from workspace.precision import Precision
from workspace.spec import RESULT, Recipe, run_folder

EXPERIMENT = "train"
"""The MLflow experiment that such runs are tracked in."""


def train_run(
    described: Detector,
    precision: Precision,
    recipe: Recipe,
    settings: Settings,
    *,
    seed: int,
    fraction: float = 1.0,
    must_go_on: bool = False,
) -> None:
    """Trains the run, or what is left of it, and prints its result.

    Args:
        fraction: of the training pictures.
        must_go_on: refuse a run of which nothing is there yet.

    Raises:
        UserError: what the user can mend, a failed run among it; what was trained until then is kept.
    """
    given = conditions(settings)
    given = dataclasses.replace(given, dataset=subset(given.dataset, fraction, settings.work_dir))
    spec = given.spec(described.name, precision, recipe, seed=seed)
    folder = run_folder(settings.work_dir, spec)
    state = run_state(folder)
    if must_go_on and state == "new":
        raise UserError(f"--resume: nothing of this run is in {folder}; check the options, or leave out --resume")
    console = terminal()
    with alone(settings.work_dir, f"{EXPERIMENT}/{spec.signature}"):
        due = [] if state == "finished" else [spec]
        room(due, given, settings, slots=1).check()
        weights = backbone_weights([described.name for _ in due], settings)
        with playing(EXPERIMENT, given, settings, console=console, runs=1, params={}, tags={}, weights=weights) as loop:
            name = f"{described.name} {precision.name} seed {seed}"
            loop.play(iter([Job(spec=spec, phase="train", arm=f"{described.name} {precision.name}", name=name)]))
    result = json.loads((folder / RESULT).read_text())
    contradictions = result["audit"]["contradictions"]
    lines = (
        f"{described.title}, {precision.name}, {given.scale}, {given.dataset.name}, seed {seed}: "
        f"{result['ap']:.2f} AP ({result['metric']})",
        f"{result['steps']} steps, {result['skipped_steps']} of them skipped, in {result['seconds']:.0f} s on "
        f"{result['audit']['device']['name']}{_performance(result)}",
        f"audit: {'; '.join(contradictions) if contradictions else f'agrees with {precision.name}'}",
        f"model:  {folder / 'model.pth'}",
        *viewers(settings),
    )
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _performance(result: Mapping[str, Any]) -> str:
    """Of a step; results of earlier versions do not have it."""
    if "step_seconds" not in result:
        return ""
    return f"; {1000 * result['step_seconds']:.0f} ms a step, {result['peak_memory'] / 1e6:.0f} MB at most"

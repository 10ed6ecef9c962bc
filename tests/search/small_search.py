"""A small search on a made-up objective."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from workspace.search import Fidelity, Label, Space, Study, Trial, choice, default_url, integer, resolve, times

DEFAULTS = {"lr": 0.01, "warmup": 500, "momentum": 0.9, "clip_norm": None, "islands": ()}
SPACE = resolve(
    {
        "lr": times(0.1, 10),
        "warmup": integer(10, 1000, log=True),
        "clip_norm": choice({"none": None, "35": 35.0}),
        "islands": choice({"none": (), "head": ("head",)}),
    },
    DEFAULTS,
)
TRIALS = 12
STEPS = 4


def open_study(
    work_dir: Path,
    *,
    space: Space = SPACE,
    identity: Any = "data",
    seed: int = 7,
    name: str = "s",
    first: Sequence[Mapping[str, Label]] = (),
    ranked: bool = False,
    fidelity: Fidelity | None = None,
) -> Study:
    question: dict[str, Any] = {"identity": identity, "space": space, "seed": seed, "prune_from": 2}
    return Study(name, **question, url=default_url(work_dir), first=first, ranked=ranked, fidelity=fidelity)


def ap(params: dict[str, Any], step: int) -> float:
    """A made-up AP curve: best at four times the default rate, with the head in FP32."""
    final = 60 - 8 * abs(math.log10(params["lr"] / 0.04)) + 3 * (params["islands"] == ("head",))
    return final * (1 - math.exp(-step)) - params["warmup"] / 500


def train(study: Study, trial: Trial) -> None:
    """What the orchestrator does with one trial; after a restart it reports the journal from its beginning."""
    study.annotate(trial.number, signature=hashlib.sha256(repr(trial.params).encode()).hexdigest())
    for step in range(1, STEPS + 1):
        if trial.number == 3 and step == 3:
            study.fail(trial.number, "the loss is nan")
            return
        if study.report(trial.number, step, ap(trial.params, step)):
            study.prune(trial.number)
            return
    study.finish(trial.number, ap(trial.params, STEPS))


def search(study: Study, trials: int = TRIALS) -> None:
    for trial in study.resume():
        train(study, trial)
    while len([row for row in study.trials() if row.state != "waiting"]) < trials:
        train(study, study.ask())

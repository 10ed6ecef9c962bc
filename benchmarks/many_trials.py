"""What does a trial cost the orchestrator when the study has thousands?

  python benchmarks/many_trials.py [--trials 100 1000 5000] [--folder DIR]

For each number makes an SQLite study of so many trials, the last ones played as the orchestrator plays them (ask,
annotate, three evaluations reported, finish or prune; a made-up objective, no worker, no MLflow), those before drawn at
random and written into it. Prints the processor time of a played trial, in milliseconds and as a ratio to the first
number's, and the seconds until a search that is started again has played its first.
"""

import argparse
import dataclasses
import math
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from made_up_runs import SWEEP
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from workspace.orchestrator.plan import Job, Plan
from workspace.orchestrator.playing import conditions, study_url
from workspace.orchestrator.settings import Settings
from workspace.orchestrator.trials import open_study, search
from workspace.search import Study
from workspace.search.spaces import fp16_recipe

EXPERIMENT = dataclasses.replace(SWEEP, space=fp16_recipe("loss", "predictors", "head"))

LAST = 50
"""Trials that a figure is of."""

EVALUATIONS = 3


def ap(lr: float, evaluation: int) -> float:
    """Best at about twice the default rate; one evaluation after the other comes near."""
    return (50 - 10 * abs(math.log10(lr / 6e-3))) * (1 - math.exp(-evaluation))


def reports(epochs: int, lr: float) -> dict[int, float]:
    """AP by epoch."""
    return {epochs * evaluation // EVALUATIONS: ap(lr, evaluation) for evaluation in range(1, EVALUATIONS + 1)}


def drawn(values: BaseDistribution, rng: random.Random) -> Any:
    if isinstance(values, CategoricalDistribution):
        return rng.choice(values.choices)
    assert isinstance(values, FloatDistribution | IntDistribution)
    value = math.exp(rng.uniform(math.log(values.low), math.log(values.high)))
    return value if isinstance(values, FloatDistribution) else round(value)


def write_trials(study: Study, url: str, epochs: int, count: int) -> None:
    """Adds so many finished trials to a study that has some, in whose space they lie."""
    stored = optuna.load_study(study_name=study.name, storage=url)
    distributions = next(trial.distributions for trial in stored.trials if trial.state.name == "COMPLETE")
    rng = random.Random(count)
    for _ in range(count):
        params = {name: drawn(values, rng) for name, values in distributions.items()}
        seen = reports(epochs, params["lr"])
        stored.add_trial(
            optuna.trial.create_trial(
                params=params,
                distributions=distributions,
                intermediate_values=seen,
                value=list(seen.values())[-1],
                user_attrs={"signature": f"{rng.getrandbits(64):016x}"},
            )
        )


class Clock:
    """Processor seconds of this process, by what they were spent on."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()

    @contextmanager
    def on(self, what: str) -> Iterator[None]:
        begun = time.process_time()
        yield
        self.seconds[what] += time.process_time() - begun


def settle(study: Study, job: Job, clock: Clock) -> None:
    assert job.trial is not None
    curve = reports(job.spec.epochs, job.spec.recipe.lr)
    for epoch, value in curve.items():
        with clock.on("report"):
            prunes = study.report(job.trial, epoch, value)
        if prunes and epoch < job.spec.epochs:
            with clock.on("settle"):
                study.prune(job.trial)
            return
    with clock.on("settle"):
        study.finish(job.trial, value)


def play(plan: Plan, url: str) -> tuple[float, Counter[str]]:
    """Plays the trials that the study lacks: seconds to the end of the first, and what the others took."""
    begun = time.perf_counter()
    with open_study(plan, url) as study:
        jobs, clock, start = search(plan, study, recall=lambda job, state: None), Clock(), 0.0
        while True:
            with clock.on("ask"):
                job = next(jobs, None)
            if job is None:
                return start, clock.seconds
            settle(study, job, clock)
            if not start:  # the first one reads the whole study
                start = time.perf_counter() - begun
                clock.seconds.clear()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 1000, 5000], metavar="N")
    parser.add_argument("--folder", type=Path, help="the work folder is made here [default: a temporary folder]")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        settings = Settings(device="cpu", work_dir=Path(folder))
        url = study_url(settings)
        plan = Plan(experiment=EXPERIMENT, conditions=conditions(settings), seeds=2, trials=LAST)
        there, first = LAST, 0.0
        play(plan, url)
        for trials in options.trials:
            with open_study(plan, url) as study:
                write_trials(study, url, plan.trial(0, {}).spec.epochs, trials - LAST - there)
            start, seconds = play(dataclasses.replace(plan, trials=trials), url)
            there = trials
            each = sum(seconds.values()) / (LAST - 1)
            first = first or each
            parts = ", ".join(f"{what} {1000 * spent / (LAST - 1):.0f}" for what, spent in seconds.items())
            print(
                f"{trials} trials: {1000 * each:.0f} ms a trial ({parts}), {each / first:.2f} of the first; "
                f"going on took {start:.1f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()

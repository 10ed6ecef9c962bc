"""Plans of a small experiment on a data set that nobody reads, and run folders as the worker leaves them."""

import dataclasses
from pathlib import Path
from typing import Any

from workspace.datasets import DataSet
from workspace.datasets.dataset import Split
from workspace.experiment import Effort, Experiment
from workspace.files import write_json
from workspace.orchestrator.conditions import Conditions
from workspace.orchestrator.plan import Plan
from workspace.precision import FP32, LossScale, Precision
from workspace.search.space import choice, times
from workspace.spec import RunSpec, run_folder

FP16 = Precision(name="fp16", loss_scale=LossScale())
SPACE = {"lr": times(0.5, 2), "fp32_islands": choice({"none": (), "head": ("head",)})}
SWEEP = Experiment(
    name="small_sweep",
    detector="fcos",
    baseline=FP32,
    candidate=FP16,
    space=SPACE,
    efforts={"demo": Effort(seeds=3, trials=4, margin=1.0), "full": Effort(seeds=5, trials=24, margin=0.2)},
)
NULL = dataclasses.replace(SWEEP, name="small_null", candidate=FP32, space={}, candidate_seeds_from=100)


def conditions(**changes: Any) -> Conditions:
    counts = dict(pictures=400, objects=900, trained_on=400)
    splits = {name: Split(Path(name), Path(name), **counts) for name in ("train", "search", "eval")}
    dataset = DataSet("dots", "0123456789abcdef", ("dot",), splits, has_masks=False, native_size=(96, 96))
    fields = {"scale": "demo", "dataset": dataset, "embedded": True, "device": "cpu"}
    return Conditions(**{**fields, **changes})


def plan(experiment: Experiment = SWEEP, *, seeds: int = 3, trials: int = 4, **changes: Any) -> Plan:
    return Plan(experiment=experiment, conditions=conditions(**changes), seeds=seeds, trials=trials)


def finish(work_dir: Path, spec: RunSpec, *, seconds: float = 10.0, ap: float = 50.0) -> None:
    folder = run_folder(work_dir, spec)
    folder.mkdir(parents=True)
    write_json(folder / "spec.json", spec.to_json())
    audit = {"contradictions": [], "device": {"name": "a CPU"}}
    write_json(folder / "result.json", {"ap": ap, "seconds": seconds, "audit": audit, "versions": {"torch": "2.13"}})

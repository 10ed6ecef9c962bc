"""Run folders as training leaves them, written with the real journal, and what a test asks the store about them."""

import json
from pathlib import Path
from typing import Any

from mlflow.entities import Run

from workspace.journal import JournalWriter
from workspace.precision import FP32, LossScale, Precision
from workspace.spec import DataSpec, Recipe, RunSpec, run_folder
from workspace.tracking.fields import DataSet
from workspace.tracking.store import connect
from workspace.tracking.tracker import Tracker

METRIC = "coco/bbox_mAP"
DATA = DataSet(name="shapes", digest="ab12" * 12, source="generated from seed 0", profile={"train": 400, "eval": 200})
FP16 = Precision(name="fp16", loss_scale=LossScale(), fp32_islands=("losses",))
START = 1.7e9


class FakeRun:
    """The folder of one run, and a trainer that writes 6 metrics a step, as the real one does."""

    def __init__(self, work_dir: Path, spec: RunSpec) -> None:
        self.spec = spec
        self.folder = run_folder(work_dir, spec)
        self.folder.mkdir(parents=True)
        (self.folder / "spec.json").write_text(json.dumps(spec.to_json()))

    def train(self, first: int, last: int, *, per_epoch: int = 10, at: float = START, shift: float = 0.0) -> None:
        """Steps ``first`` to ``last``; after each epoch a checkpoint and an evaluation. ``shift`` marks the attempt."""
        writer = JournalWriter(self.folder)
        clock = iter(at + 0.05 * i for i in range(10_000_000))
        writer.write("start", time=next(clock), step=first - 1, epoch=(first - 1) // per_epoch)
        for step in range(first, last + 1):
            metrics = {
                "train/loss": 3.0 / step + shift,
                "train/loss_cls": 2.0 / step + shift,
                "train/loss_bbox": 1.0 / step + shift,
                "train/lr": 0.01,
                "precision/loss_scale": 65536.0,
                "precision/grad_norm": float("inf") if step == 1 else 1.0 + 1.0 / step,
            }
            writer.write("step", time=next(clock), step=step, epoch=(step - 1) // per_epoch, metrics=metrics)
            if step % per_epoch == 0:
                writer.write("checkpoint", time=next(clock), step=step, epoch=step // per_epoch)
                self.evaluate(step, at=next(clock), ap=0.5 + step / 10_000 + shift)
        writer.close()

    def evaluate(self, step: int, *, ap: float, at: float = START) -> None:
        writer = JournalWriter(self.folder)
        metrics = {METRIC: ap, f"{METRIC}_50": 0.8}
        writer.write("eval", time=at, step=step, epoch=0, metrics=metrics)
        writer.close()

    def sample(self, *, at: float, **metrics: float) -> None:
        """A sample of the hardware, as a worker on an NPU takes it."""
        self.write("system", time=at, devices=["npu:3"], metrics=metrics)

    def write(self, kind: str, **fields: Any) -> None:
        writer = JournalWriter(self.folder)
        writer.write(kind, **fields)
        writer.close()

    def end(self, *, at: float, ap: float = 0.6) -> None:
        """The last line of the journal, and the files of a finished run."""
        self.write("end", time=at, status="finished")
        (self.folder / "config.py").write_text("model = dict(type='FCOS')\n")
        (self.folder / "audit.json").write_text('{"autocast": "float16"}')
        result = {"signature": self.spec.signature, "status": "finished", "metric": METRIC, "ap": 100 * ap}
        result |= {"seconds": 61.5, "steps": 100, "versions": {"torch": "2.13.0", "mmdet": "3.5.1"}}
        (self.folder / "result.json").write_text(json.dumps(result))


def make_spec(*, seed: int = 0, precision: Precision = FP32, lr: float = 0.003) -> RunSpec:
    recipe = Recipe(
        optimizer="AdamW",
        lr=lr,
        weight_decay=0.05,
        batch_size=8,
        steps=100,
        decay="cosine",
        warmup_steps=10,
        warmup_factor=0.1,
        clip_norm=10.0,
    )
    return RunSpec(
        detector="fcos",
        scale="demo",
        config_digest="c0",
        data=DataSpec(name=DATA.name, digest=DATA.digest, evaluate="eval"),
        precision=precision,
        recipe=recipe,
        image_size=(96, 96),
        epochs=10,
        evaluations=10,
        seed=seed,
        device="cpu",
    )


def track(uri: str, work_dir: Path, *, patience: float = 120.0) -> Tracker:
    """A started tracker, as an orchestrator would have it."""
    tracker = Tracker(uri, "fcos_fp16_sweep", work_dir, commit="c0ffee", interval=0.05, patience=patience)
    tracker.start(scale="demo", data=DATA, params={"margin": 1.0}, tags={"trials": 3})
    return tracker


def parents(uri: str) -> list[Run]:
    return _runs(uri, "experiment")


def children(uri: str) -> list[Run]:
    return _runs(uri, "run")


def curve(uri: str, run: Run, name: str) -> list[tuple[int, float]]:
    """(step, value) of every point that the store has of a metric; infinities as its SQL keeps them."""
    history = connect(uri).get_metric_history(run.info.run_id, name)
    return sorted((point.step, point.value) for point in history)


def points(uri: str) -> int:
    """How many points the store holds of all runs."""
    client = connect(uri)
    return sum(
        len(client.get_metric_history(run.info.run_id, name))
        for run in parents(uri) + children(uri)
        for name in run.data.metrics
    )


def _runs(uri: str, kind: str) -> list[Run]:
    client = connect(uri)
    experiment = client.get_experiment_by_name("fcos_fp16_sweep")
    return list(client.search_runs([experiment.experiment_id], f"tags.kind = '{kind}'")) if experiment else []

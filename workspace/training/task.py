"""`Task`: what a worker is handed. Importing this loads none of the heavy libraries; `train` does, in the worker."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from workspace import devices
from workspace.datasets import Split
from workspace.detectors import DETECTORS, Detector, detector, register
from workspace.spec import DeviceKind, RunSpec

Keep = Literal["last", "best", "all"]
"""Weights that a run leaves: those of its end, those that evaluated best too, or those of every epoch too."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a worker is handed: what to train, and where.

    Attributes:
        train, evaluate: the splits of ``spec.data`` as they lie on this machine.
        folder: the run folder; made when it is not there.
        devices: torch devices, e.g. ``cpu`` or ``npu:3``, one for each process of the run; ``spec.devices`` of them.
        threads: threads of one process on the CPU.
        loader_workers: processes that load pictures; 0 loads in the training process.
        weights: file of the backbone's weights; see `workspace.training.weights.local_weights`. A run that goes on from
            its checkpoint needs none.
        keep: which weights are left in the folder.
    """

    spec: RunSpec
    classes: tuple[str, ...]
    train: Split
    evaluate: Split
    folder: Path
    devices: tuple[str, ...]
    threads: int = 1
    loader_workers: int = 0
    weights: Path | None = None
    keep: Keep = "best"

    def __getstate__(self) -> tuple[dict[str, Any], Detector]:
        return dict(self.__dict__), detector(self.spec.detector)

    def __setstate__(self, state: tuple[dict[str, Any], Detector]) -> None:
        fields, described = state
        self.__dict__.update(fields)
        if described.name not in DETECTORS:  # registered in the process that hands the task out
            register(described)


def preload(kind: DeviceKind) -> tuple[str, ...]:
    """Modules that the process which a run's processes are forked from imports once, for all of them.

    None for an NPU: MMEngine's import loads torch_npu and counts its devices, which a fork had better not inherit.
    """
    return () if kind == "npu" else ("workspace.training.run",)


def train(task: Task) -> None:
    """Trains and evaluates the task's run; see `workspace.training.run.train`."""
    devices.device(task.spec.device).prepare(task.spec.precision)  # before MMEngine looks for devices itself
    from workspace.training import run

    run.train(task)

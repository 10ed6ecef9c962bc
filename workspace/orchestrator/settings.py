"""What the command line decides: where and how much, never what is asked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from workspace.errors import UserError
from workspace.search import Fidelity
from workspace.spec import Scale
from workspace.training.task import Keep


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One start of an experiment.

    Attributes:
        data: COCO-format folder; ``None`` for the embedded set.
        weights: folder with the files of backbone weights; ``None`` to download what torch's cache lacks.
        workers: runs trained at the same time; ``None`` for as many as the devices, or cores, are enough for.
        devices_per_run: that share each batch of a run.
        executor, address: where runs are trained; for Ray, ``HOST:PORT`` of the cluster, or ``None`` for one of this
            machine alone. Paths are absolute with Ray, whose workers have another current folder.
        keep: weights that a run leaves in its folder.
        trials, seeds: ``None`` for the experiment's own effort at this scale.
        diagnosis: file that a search begins with; ``None`` for a search of the experiment's space alone.
        fidelity: of a cheap run before each trial's full one; ``None`` for none.
        max_seeds, tune_baseline: see `workspace.orchestrator.plan.Plan`.
        tracking_uri, storage: of MLflow and of Optuna; ``None`` for SQLite under ``work_dir``.
    """

    scale: Scale = "demo"
    data: Path | None = None
    weights: Path | None = None
    device: Literal["auto", "cpu", "cuda", "npu"] = "auto"
    workers: int | None = None
    devices_per_run: int = 1
    executor: Literal["local", "ray"] = "local"
    address: str | None = None
    keep: Keep = "best"
    trials: int | None = None
    seeds: int | None = None
    diagnosis: Path | None = None
    fidelity: Fidelity | None = None
    max_seeds: int | None = None
    tune_baseline: bool = False
    tracking_uri: str | None = None
    storage: str | None = None
    work_dir: Path = Path("work")

    def __post_init__(self) -> None:
        if self.scale == "full" and self.data is None:
            raise UserError(
                "--scale full needs --data DIR: COCO's folder (train2017/, val2017/, annotations/), or your own with "
                "images/ and annotations/{train,val}.json"
            )
        if self.executor == "local":
            if self.address is not None:
                raise UserError(f"--address {self.address} is of a Ray cluster: add --executor ray")
            return
        if self.device == "auto":
            raise UserError(
                "--executor ray needs --device npu, cuda or cpu: this machine's say nothing of the cluster's"
            )
        for name in ("work_dir", "data", "weights"):
            if (path := getattr(self, name)) is not None:
                object.__setattr__(self, name, path.resolve())

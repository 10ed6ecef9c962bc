"""Room on the disk that runs take, told with a plan and looked for before the first of them starts."""

import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from workspace.detectors.sizes import weights_bytes
from workspace.errors import UserError
from workspace.orchestrator.conditions import Conditions
from workspace.orchestrator.settings import Settings
from workspace.spec import RunSpec

_MOMENTS = {"SGD": 1, "Adam": 2, "AdamW": 2}
"""Tensors of a parameter's size that an optimizer of torch keeps for it; of others as many as of any of these."""

_FILE = 100_000
"""Of a stored model beside its weights: their names and alignment, the configuration."""

_FOLDER = 200_000
"""Of a run beside weights and steps: configuration, audit, result, log, and their copies in the tracking store."""

_STEP = 400
"""Of a step in the journal, as demo runs of all models in FP16 write it."""

_TRACKED_STEP = 2_800
"""Of a step in MLflow's SQLite store: ten metrics, each with its index."""


@dataclass(frozen=True)
class Room:
    """Bytes that runs need, and that are free where they go; what a quota allows is not seen.

    Attributes:
        needed: at most; runs that are pruned take less.
    """

    needed: int
    free: int
    work_dir: Path

    def __str__(self) -> str:
        return f"disk: at most {_size(self.needed)} more in {self.work_dir}, where {_size(self.free)} are free"

    def check(self) -> None:
        """Raises:
        UserError: there is too little.
        """
        if self.free < self.needed:
            raise UserError(
                f"{self.work_dir} has {_size(self.free)} free, and the runs still to be trained take up to "
                f"{_size(self.needed)}: make room, name another --work-dir, or ask for less (--keep last, fewer runs)"
            )


def room(specs: Collection[RunSpec], given: Conditions, settings: Settings, *, slots: int) -> Room:
    """What the runs of these specs need under ``settings.work_dir``, from their start to what they leave.

    Args:
        specs: of the runs that are still to be trained.
        slots: runs at the same time.
    """
    classes = len(given.dataset.classes)
    step = _STEP + (_TRACKED_STEP if settings.tracking_uri is None else 0)
    left = resumed = 0
    for spec in specs:
        weights = weights_bytes(spec.detector, spec.scale, classes)
        files = {"last": 1, "best": 2, "all": spec.epochs + 1}[settings.keep]
        left += files * (weights + _FILE) + _FOLDER + given.steps(spec) * step
        moments = _MOMENTS.get(spec.recipe.optimizer, max(_MOMENTS.values()))
        resumed = max(resumed, (1 + moments) * weights + _FILE)
    # A resume checkpoint is written beside the one that it replaces, and goes when its run ends.
    needed = left + 2 * resumed * min(slots, len(specs))
    place = next(
        path for path in (settings.work_dir.absolute(), *settings.work_dir.absolute().parents) if path.exists()
    )
    return Room(needed=needed, free=shutil.disk_usage(place).free, work_dir=settings.work_dir)


def _size(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.0f} MB"

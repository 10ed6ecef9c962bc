"""`RunSpec`: everything that can change a run's numbers, and the signature that names it.

Where a run happens (device index, workers, folders, tracking server) is not part of it. The *kind* of device is,
because half arithmetic differs between them (``docs/decisions/002-device-kind-in-the-signature.md``).
"""

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from workspace.errors import UserError
from workspace.precision import Precision

Scale = Literal["demo", "full"]
DeviceKind = Literal["cpu", "cuda", "npu"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The hyperparameters of a training run; a trial changes some of them.

    Attributes:
        optimizer: name of a ``torch.optim`` class.
        lr: peak learning rate for ``batch_size``.
        momentum: of SGD; unused by the others.
        batch_size: pictures a step, over all devices.
        epochs: length of the schedule; ``None`` where ``steps`` gives it.
        steps: length in optimizer steps, rounded up to whole epochs of the data set at hand.
        decay: ``cosine`` to zero, or ``step``: divided by ten at each of ``milestones``.
        milestones: as fractions of the schedule, so that a compressed schedule decays at the same points.
        warmup: ``linear`` from ``warmup_factor * lr``, or ``constant`` at it; ``warmup_steps`` long.
        clip_norm: gradients are clipped to this L2 norm; ``None`` for no clipping.
    """

    optimizer: str
    lr: float
    weight_decay: float
    momentum: float = 0.9
    batch_size: int
    epochs: int | None = None
    steps: int | None = None
    decay: Literal["cosine", "step"]
    milestones: tuple[float, ...] = ()
    warmup: Literal["linear", "constant"] = "linear"
    warmup_steps: int
    warmup_factor: float
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.steps is None):
            raise UserError("recipe: give its length either as epochs or as steps")
        for name in ("lr", "weight_decay", "momentum", "warmup_factor"):  # 1 and 1.0 are one recipe
            object.__setattr__(self, name, float(getattr(self, name)))
            if not 0 <= getattr(self, name) < math.inf:
                raise UserError(f"recipe: {name} is {getattr(self, name)}; it must be 0 or above, and finite")
        for name in ("batch_size", "epochs", "steps"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise UserError(f"recipe: {name} is {getattr(self, name)}; it must be at least 1")
        if self.warmup_steps < 0:
            raise UserError(f"recipe: warmup_steps is {self.warmup_steps}; it must be 0 or above")
        if self.clip_norm is not None and not 0 < self.clip_norm < math.inf:
            raise UserError(f"recipe: clip_norm is {self.clip_norm}; it must be above 0 and finite, or none")
        if not all(0 < milestone < 1 for milestone in self.milestones):
            raise UserError(
                f"recipe: milestones are {self.milestones}; they are shares of the schedule, between 0 and 1"
            )

    def epochs_on(self, images: int) -> int:
        """Length of the schedule in epochs of a training set of that many pictures."""
        if self.epochs is not None:
            return self.epochs
        assert self.steps is not None
        steps_per_epoch = -(-images // self.batch_size)
        return max(1, -(-self.steps // steps_per_epoch))


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """Which pictures a run sees: the data set's digest stands for its content, wherever it lies."""

    name: str
    digest: str
    evaluate: Literal["search", "eval"]


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """One training run and its evaluation, entirely determined.

    Attributes:
        detector: key of ``workspace.detectors.DETECTORS``.
        config_digest: of the detector's configuration files and MMDetection's version.
        image_size: (width, height) in pixels that pictures are resized to; ``None`` for the config's own pipeline.
        epochs: resolved from the recipe and the data set.
        evaluations: how many times the run is evaluated at most, every so many epochs, the last time at its end.
        devices: that share each batch; their number changes sums, and at full scale what BatchNorm sees.
    """

    detector: str
    scale: Scale
    config_digest: str
    data: DataSpec
    precision: Precision
    recipe: Recipe
    image_size: tuple[int, int] | None
    epochs: int
    evaluations: int
    seed: int
    device: DeviceKind
    devices: int = 1

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @cached_property
    def signature(self) -> str:
        """16 hexadecimal digits of the SHA-256 of the canonical JSON of this spec."""
        canonical = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "RunSpec":
        recipe = dict(fields["recipe"], milestones=tuple(fields["recipe"]["milestones"]))
        size = fields["image_size"]
        return cls(
            **{
                **fields,
                "data": DataSpec(**fields["data"]),
                "precision": Precision.from_json(fields["precision"]),
                "recipe": Recipe(**recipe),
                "image_size": (size[0], size[1]) if size else None,
            }
        )


SPEC, CONFIG, AUDIT, RESULT = "spec.json", "config.py", "audit.json", "result.json"
"""Files of a run folder, in the order in which they are written; the last one says that the run is finished."""

FAILURE = "failure.json"
"""In the folder of a run that failed: why, and what its log said last."""

CHECKPOINT = "checkpoint.pth"
"""In the folder of a run that is not over: what it goes on from."""

LOCK = "lock"
"""In a run folder, held by whoever trains the run."""


def run_folder(work_dir: Path, spec: RunSpec) -> Path:
    """Where the run of that spec lives: ``<work>/runs/<signature>``."""
    return work_dir / "runs" / spec.signature

"""What a run's spec and result become in MLflow: flat params, tags and the input data set."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from workspace.precision import Precision
from workspace.spec import RunSpec

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

_DIGEST_LIMIT = 36  # characters that MLflow takes for a data set's digest


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """The data set of an experiment, as MLflow shows it.

    Attributes:
        digest: of its content, shortened to the 36 characters that MLflow takes.
        source: where it lies, or what made it.
        profile: counts worth showing: pictures and instances by split, classes.
    """

    name: str
    digest: str
    source: str
    profile: Mapping[str, Any] = field(default_factory=dict)

    def seen_by(self, spec: RunSpec) -> "DataSet":
        """What that run sees of it: itself, or a part that has its own digest, and not the counts of the whole."""
        return (
            self if spec.data.digest == self.digest else dataclasses.replace(self, digest=spec.data.digest, profile={})
        )

    def as_input(self, context: str) -> "DatasetInput":
        """For MLflow's ``log_inputs``; the context names the split that judges the run."""
        from mlflow.entities import Dataset, DatasetInput, InputTag
        from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

        dataset = Dataset(
            name=self.name,
            digest=self.digest[:_DIGEST_LIMIT],
            source_type="local",
            source=json.dumps({"uri": self.source}),
            profile=json.dumps(dict(self.profile)) if self.profile else None,
        )
        return DatasetInput(dataset=dataset, tags=[InputTag(key=MLFLOW_DATASET_CONTEXT, value=context)])


def params_of(spec: RunSpec) -> dict[str, str]:
    """Recipe and precision, flat and few; what does not apply to a run is left out."""
    recipe, precision = spec.recipe, spec.precision
    params: dict[str, object] = {
        "optimizer": recipe.optimizer,
        "lr": recipe.lr,
        "weight_decay": recipe.weight_decay,
        "batch_size": recipe.batch_size,
        "epochs": spec.epochs,
        "decay": recipe.decay,
        "warmup": recipe.warmup,
        "warmup_steps": recipe.warmup_steps,
        "warmup_factor": recipe.warmup_factor,
        "clip_norm": "none" if recipe.clip_norm is None else recipe.clip_norm,
        "precision": precision.name,
    }
    if recipe.optimizer == "SGD":
        params["momentum"] = recipe.momentum
    if recipe.decay == "step":
        params["milestones"] = ", ".join(map(str, recipe.milestones))
    if precision.is_mixed:
        params["fp32_islands"] = ", ".join(precision.fp32_islands) or "none"
        params["autocast"] = precision.autocast
    if precision.loss_scale is not None:
        params["loss_scale"] = _loss_scale(precision)
        params["overflow"] = precision.overflow
    if spec.image_size is not None:
        params["image_size"] = f"{spec.image_size[0]}x{spec.image_size[1]}"
    return {name: str(value) for name, value in params.items()}


def tags_of(spec: RunSpec) -> dict[str, str]:
    """What identifies a run and the place it has in its experiment."""
    return {
        "signature": spec.signature,
        "detector": spec.detector,
        "scale": spec.scale,
        "precision": spec.precision.name,
        "seed": str(spec.seed),
        "device": spec.device,
        "data_digest": spec.data.digest,
    }


def version_tags(result: Mapping[str, Any]) -> dict[str, str]:
    """``versions`` of a run's result, one tag each."""
    return {f"version.{name}": str(version) for name, version in result.get("versions", {}).items()}


def _loss_scale(precision: Precision) -> str:
    scale = precision.loss_scale
    assert scale is not None
    return f"dynamic {scale.init:g}/{scale.growth_interval}" if scale.policy == "dynamic" else f"static {scale.init:g}"

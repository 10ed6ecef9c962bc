"""What all runs of an experiment have in common, and the spec of each of them."""

import dataclasses
from dataclasses import dataclass
from typing import Literal

from workspace import devices
from workspace.datasets import DataSet
from workspace.detectors import detector
from workspace.errors import UserError
from workspace.precision import Precision
from workspace.search import Fidelity
from workspace.spec import DataSpec, DeviceKind, Recipe, RunSpec, Scale

_EVALUATIONS = 3
"""Evaluations of a run, for its curve; a trial may be pruned by the intermediate ones."""


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """Scale, data and kind of device: equal for all runs that are to be compared.

    Every run's spec is made here and nowhere else, so that runs which are the same have the same signature, whichever
    experiment asks for them.

    Attributes:
        part: of the data set, what cheap runs train on at a fidelity of data.
        embedded: whether the data set is the embedded one, whose pictures are made for the demo variants' sizes.
        devices: that each run trains on.
        usable: whether that kind of device is here, and a precision that it cannot compute is refused at once.
    """

    scale: Scale
    dataset: DataSet
    embedded: bool
    device: DeviceKind
    part: DataSet | None = None
    devices: int = 1
    usable: bool = False

    @property
    def key(self) -> str:
        """Names an experiment's results in a work folder."""
        several = f"x{self.devices}" if self.devices > 1 else ""
        return f"{self.scale}-{self.dataset.name}-{self.dataset.digest[:8]}-{self.device}{several}"

    def spec(
        self,
        name: str,
        precision: Precision,
        recipe: Recipe,
        *,
        seed: int,
        evaluate: Literal["search", "eval"] = "eval",
    ) -> RunSpec:
        """The run of that detector under these conditions.

        Raises:
            UserError: the device cannot compute that precision, the detector has no such island, needs masks that the
                data lack, or its batch cannot be shared evenly by the devices.
        """
        if self.usable:
            devices.device(self.device).require(precision)
        described = detector(name)
        variant = described.variant(self.scale)
        described.island_members(precision.fp32_islands)  # refuses names that are none
        if described.metric.startswith("coco/segm") and not self.dataset.has_masks:
            raise UserError(f"{name} learns masks, and not every object of {self.dataset.name} has one")
        if recipe.batch_size % self.devices:
            raise UserError(
                f"{self.devices} devices cannot share the batch of {recipe.batch_size} pictures of {name} evenly: "
                "choose a divisor of it"
            )
        epochs = recipe.epochs_on(self.dataset.splits["train"].trained_on)
        return RunSpec(
            detector=name,
            scale=self.scale,
            config_digest=described.config_digest(self.scale),
            data=DataSpec(name=self.dataset.name, digest=self.dataset.digest, evaluate=evaluate),
            precision=precision,
            recipe=recipe,
            image_size=variant.image_size if self.embedded else variant.picture_size,
            epochs=epochs,
            evaluations=min(epochs, _EVALUATIONS),
            seed=seed,
            device=self.device,
            devices=self.devices,
        )

    def cheaper(self, spec: RunSpec, fidelity: Fidelity) -> RunSpec:
        """The cheap run that comes before that one: evaluated once, at its end, and a spec of its own otherwise too."""
        dataset = self.dataset if fidelity.kind == "schedule" else self.part
        assert dataset is not None, "a fidelity of data has its part of the data"
        pictures = dataset.splits["train"].trained_on
        recipe = fidelity.recipe(spec.recipe, epochs=spec.epochs, pictures=pictures)
        return dataclasses.replace(
            spec,
            data=dataclasses.replace(spec.data, digest=dataset.digest),
            recipe=recipe,
            epochs=recipe.epochs_on(pictures),
            evaluations=1,
        )

    def dataset_of(self, spec: RunSpec) -> DataSet:
        """What that run is trained on."""
        return self.part if self.part is not None and self.part.digest == spec.data.digest else self.dataset

    def steps(self, spec: RunSpec) -> int:
        """Optimizer steps of that run."""
        pictures = self.dataset_of(spec).splits["train"].trained_on * detector(spec.detector).variant(spec.scale).repeat
        return spec.epochs * -(-pictures // spec.recipe.batch_size)

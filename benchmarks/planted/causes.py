"""The planted causes: what a user did, where precision is lost for it, and what mends it.

Every one is a gap that could be met: a setting that does not fit, or a module or optimizer of the user's that is right
in FP32. None of it was chosen with the diagnosis in view.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from workspace.detectors import Detector, detector, register
from workspace.detectors.recipes import from_scratch
from workspace.precision import LossScale, Precision
from workspace.spec import Recipe

HERE = Path(__file__).resolve().parent
MICRO = "fcos_micro.py"

Kind = Literal["module", "loss_scale", "overflow", "optimizer"]

_ADAMW = from_scratch(lr=8e-3, weight_decay=0.05, steps=150)
_FP16 = Precision(name="fp16", loss_scale=LossScale())
_SATURATING = dataclasses.replace(_FP16, overflow="saturate")


@dataclass(frozen=True, kw_only=True)
class Cause:
    """A gap with a known cause.

    Attributes:
        name: also of its detector.
        story: what the user did, in one sentence.
        kind, where: the cause. For a module ``where`` is its dotted name.
        config: file under ``configs/`` here, which may be `MICRO` itself.
        code: files under ``modules/`` with what the user wrote: a part of what the detector is made of.
        precision, recipe: of the arm that loses.
        reference: recipe of the FP32 arm, where it is another one.
        mend: what the cause says to change, by field of `Precision` or `Recipe`.
    """

    name: str
    story: str
    kind: Kind
    where: str
    config: str = MICRO
    code: tuple[str, ...] = ()
    precision: Precision = _FP16
    recipe: Recipe = _ADAMW
    reference: Recipe | None = None
    mend: Mapping[str, Any] = field(default_factory=dict)

    @property
    def detector(self) -> Detector:
        """FCOS with this cause's configuration, on pictures of 64 px."""
        fcos = detector("fcos")
        config, micro = HERE / "configs" / self.config, HERE / "configs" / MICRO
        code = [HERE / "modules" / file for file in ("backbones.py", *self.code)]
        own = code if config == micro else [micro, *code]
        demo = dataclasses.replace(
            fcos.demo,
            config=str(config),
            bases=(*map(str, own), fcos.demo.config, *fcos.demo.bases),
            recipes={"default": self.recipe},
            image_size=(64, 64),
            picture_size=(64, 64),
            cpu_step_seconds=None,
        )
        return dataclasses.replace(fcos, name=self.name, title=f"FCOS, {self.name}", demo=demo)


def _island(where: str) -> Mapping[str, Any]:
    return {"fp32_islands": (where,)}


def _static(power: int) -> LossScale:
    return LossScale(policy="static", init=2.0**power)


CAUSES = (
    Cause(
        name="faint_loss",
        story="Losses are divided by the pictures of an epoch, and the loss scale is switched off.",
        kind="loss_scale",
        where="too small",
        config="loss_faint.py",
        precision=dataclasses.replace(_FP16, loss_scale=_static(0)),
        mend={"loss_scale": LossScale()},
    ),
    Cause(
        name="stale_scaler",
        story="The scaler goes on from the state of a run that diverged, at 2^-12, and grows every million steps.",
        kind="loss_scale",
        where="too small",
        precision=dataclasses.replace(_FP16, loss_scale=LossScale(init=2.0**-12, growth_interval=10**6)),
        mend={"loss_scale": LossScale()},
    ),
    Cause(
        name="scale_too_large",
        story="On a device that saturates, a static scale of 2^24 was taken over from a model of smaller losses.",
        kind="loss_scale",
        where="too large",
        precision=dataclasses.replace(_SATURATING, loss_scale=_static(24)),
        mend={"loss_scale": LossScale()},
    ),
    Cause(
        name="two_moments_norm",
        story="The first norm computes its variance as the mean of squares less the square of the mean, of pictures "
        "with an offset.",
        kind="module",
        where="backbone.bn1",
        config="stem_two_moments.py",
        code=("stems.py",),
        mend=_island("backbone.bn1"),
    ),
    Cause(
        name="root_mean_square_norm",
        story="The first norm squares what the first convolution makes of pixels of 10 bits.",
        kind="module",
        where="backbone.bn1",
        config="stem_root_mean_square.py",
        code=("stems.py",),
        mend=_island("backbone.bn1"),
    ),
    Cause(
        name="small_epsilon",
        story="A normalisation after the neck is guarded by an epsilon of 1e-8, and some channels are dropped.",
        kind="module",
        where="neck.contrast",
        config="neck_contrast.py",
        code=("necks.py",),
        mend=_island("neck.contrast"),
    ),
    Cause(
        name="overflowing_exp",
        story="Distances come from a sharp softplus, written as log(1 + 2^x).",
        kind="module",
        where="bbox_head.distance",
        config="head_softplus.py",
        code=("heads.py",),
        mend=_island("bbox_head.distance"),
    ),
    Cause(
        name="scene_coordinates",
        story="The loss decodes boxes in the coordinates of a large scene.",
        kind="module",
        where="bbox_head.bbox_coder",
        config="head_scene.py",
        code=("heads.py",),
        mend=_island("bbox_head.bbox_coder"),
    ),
    Cause(
        name="focal_loss",
        story="A focal loss with a temperature takes the logarithm of a probability in the type of its logits.",
        kind="module",
        where="bbox_head.loss_cls",
        config="loss_tempered.py",
        code=("losses.py",),
        mend=_island("bbox_head.loss_cls"),
    ),
    Cause(
        name="iou_loss",
        story="An IoU loss computes areas of boxes on a fixed-point grid.",
        kind="module",
        where="bbox_head.loss_bbox",
        config="loss_fixed_point.py",
        code=("heads.py", "losses.py"),
        mend=_island("bbox_head.loss_bbox"),
    ),
    Cause(
        name="clamped_gain",
        story="On a device that saturates, a block has a large gain that its normalisation takes away again.",
        kind="overflow",
        where="forward",
        config="neck_amplified.py",
        code=("necks.py",),
        precision=_SATURATING,
        mend=_island("neck.amplified"),
    ),
    Cause(
        name="half_weights",
        story="To save memory, the optimizer of the FP16 runs keeps weights in half, some of them far from zero.",
        kind="optimizer",
        where="weights",
        config="backbone_standardised.py",
        code=("optimizers.py", "weights.py"),
        recipe=dataclasses.replace(_ADAMW, optimizer="HalfWeightsAdamW"),
        reference=_ADAMW,
        mend={"optimizer": "AdamW"},
    ),
    Cause(
        name="half_moments",
        story="To save memory, the optimizer of the FP16 runs keeps Adam's moments in half.",
        kind="optimizer",
        where="state",
        code=("optimizers.py",),
        recipe=dataclasses.replace(_ADAMW, optimizer="HalfStateAdamW"),
        reference=_ADAMW,
        mend={"optimizer": "AdamW"},
    ),
)


def register_causes() -> None:
    """Makes the detectors of all causes known in this process."""
    for cause in CAUSES:
        register(cause.detector)

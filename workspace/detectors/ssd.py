"""SSD300 and SSD512 on VGG-16."""

import dataclasses

from workspace.detectors.definition import Detector, Published, Variant
from workspace.detectors.recipes import from_scratch
from workspace.detectors.weights import VGG16_CAFFE
from workspace.precision import LossScale
from workspace.spec import Recipe

_ZOO = Recipe(
    optimizer="SGD",
    lr=0.002,
    weight_decay=5e-4,
    batch_size=64,
    epochs=24,
    decay="step",
    milestones=(16 / 24, 22 / 24),
    warmup_steps=500,
    warmup_factor=0.001,
)
_FULL = {"zoo": _ZOO, "npu": dataclasses.replace(_ZOO, warmup_steps=1000, warmup_factor=0.1)}
_ISLANDS = {
    "backbone": ("backbone",),
    "neck": ("neck",),
    "head": ("bbox_head",),
    "loss": ("bbox_head:loss_by_feat",),
}

SSD300 = Detector(
    name="ssd300",
    title="SSD300",
    metric="coco/bbox_mAP",
    npu=Published(ap=25.6, config="ssd/ssd300_fp16_coco.py", recipe="npu", loss_scale=LossScale()),
    zoo=Published(ap=25.5, config="ssd/ssd300_coco.py", recipe="zoo"),
    full=Variant(config="ssd300.py", repeat=5, weights=VGG16_CAFFE, recipes=_FULL),
    demo=Variant(
        config="ssd300_demo.py",
        bases=("ssd300.py",),
        image_size=(144, 144),
        picture_size=(144, 144),
        cpu_step_seconds=0.075,
        recipes={"demo": from_scratch(lr=2e-3, weight_decay=5e-4, steps=1200)},
    ),
    islands=_ISLANDS,
)

SSD512 = Detector(
    name="ssd512",
    title="SSD512",
    metric="coco/bbox_mAP",
    npu=Published(ap=29.4, config="ssd/ssd512_fp16_coco.py", recipe="npu", loss_scale=LossScale()),
    zoo=Published(ap=29.5, config="ssd/ssd512_coco.py", recipe="zoo"),
    full=Variant(config="ssd512.py", repeat=5, weights=VGG16_CAFFE, recipes=_FULL),
    demo=Variant(
        config="ssd512_demo.py",
        bases=("ssd512.py",),
        image_size=(160, 160),
        picture_size=(160, 160),
        cpu_step_seconds=0.09,
        recipes={"demo": from_scratch(lr=2e-3, weight_decay=5e-4, steps=1200)},
    ),
    islands=_ISLANDS,
)

"""RetinaNet on ResNet-50 with FPN."""

import dataclasses

from workspace.detectors.definition import Detector, Published, Variant
from workspace.detectors.recipes import ONE_X, from_scratch
from workspace.detectors.weights import RESNET50
from workspace.precision import LossScale

RETINANET = Detector(
    name="retinanet",
    title="RetinaNet-R50",
    metric="coco/bbox_mAP",
    npu=Published(
        ap=36.6,
        config="retinanet/retinanet_r50_fpn_fp16_1x_coco.py",
        recipe="npu",
        loss_scale=LossScale(policy="static", init=512.0),
    ),
    zoo=Published(ap=36.5, config="retinanet/retinanet_r50_fpn_1x_coco.py", recipe="zoo"),
    full=Variant(
        config="retinanet.py",
        weights=RESNET50,
        recipes={"zoo": ONE_X, "npu": dataclasses.replace(ONE_X, clip_norm=35.0)},
    ),
    demo=Variant(
        config="retinanet_demo.py",
        bases=("retinanet.py",),
        image_size=(96, 96),
        picture_size=(160, 160),
        cpu_step_seconds=0.06,
        recipes={"demo": from_scratch(lr=3e-3, weight_decay=0.05, steps=1200)},
    ),
    islands={
        "backbone": ("backbone",),
        "neck": ("neck",),
        "head": ("bbox_head",),
        "predictors": ("bbox_head.retina_cls", "bbox_head.retina_reg"),
        "loss": ("bbox_head:loss_by_feat",),
    },
)

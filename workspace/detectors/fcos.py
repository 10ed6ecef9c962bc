"""FCOS on ResNet-50 (caffe) with a GroupNorm head.

Its published NPU figure and its zoo figure are of two recipes: 8 devices with 8 pictures each against 8 with 2, another
rate and another warm-up, beside the precision. ``experiments/fcos_gap_attribution.py`` takes them apart.
"""

import dataclasses

from workspace.detectors.definition import Detector, Published, Variant
from workspace.detectors.recipes import ONE_X, from_scratch
from workspace.detectors.weights import RESNET50_CAFFE
from workspace.precision import LossScale

_EIGHT_BY_TWO = dataclasses.replace(ONE_X, warmup="constant", warmup_factor=1 / 3, clip_norm=35.0)
_DEMO = from_scratch(lr=3e-3, weight_decay=0.05, steps=1200)

FCOS = Detector(
    name="fcos",
    title="FCOS-R50",
    metric="coco/bbox_mAP",
    npu=Published(
        ap=36.1, config="fcos/fcos_r50_caffe_fpn_gn-head_fp16_1x_bs8x8_coco.py", recipe="8x8", loss_scale=LossScale()
    ),
    zoo=Published(ap=36.6, config="fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py", recipe="8x2"),
    full=Variant(
        config="fcos.py",
        weights=RESNET50_CAFFE,
        recipes={
            "8x2": _EIGHT_BY_TWO,
            "8x8": dataclasses.replace(
                _EIGHT_BY_TWO, lr=0.04, batch_size=64, warmup="linear", warmup_steps=1000, warmup_factor=0.1
            ),
        },
    ),
    demo=Variant(
        config="fcos_demo.py",
        bases=("fcos.py",),
        image_size=(96, 96),
        picture_size=(160, 160),
        cpu_step_seconds=0.075,
        recipes={
            "8x2": _DEMO,
            # As published: four times the pictures a step at four times the rate, for as many epochs.
            "8x8": dataclasses.replace(_DEMO, lr=0.012, batch_size=32, steps=300, warmup_steps=60, warmup_factor=0.1),
        },
    ),
    islands={
        "backbone": ("backbone",),
        "neck": ("neck",),
        "head": ("bbox_head",),
        "predictors": ("bbox_head.conv_cls", "bbox_head.conv_reg", "bbox_head.conv_centerness"),
        "loss": ("bbox_head:loss_by_feat",),
    },
)

"""SOLOv2 on ResNet-50 with FPN; the one that is judged on masks."""

import dataclasses

from workspace.detectors.definition import Detector, Published, Variant
from workspace.detectors.recipes import ONE_X, from_scratch
from workspace.detectors.weights import RESNET50
from workspace.precision import LossScale

SOLOV2 = Detector(
    name="solov2",
    title="SOLOv2-R50",
    metric="coco/segm_mAP",
    npu=Published(ap=34.7, config="solov2/solov2_r50_fpn_1x_coco.py", recipe="zoo", loss_scale=LossScale()),
    zoo=Published(ap=34.8, config="solov2/solov2_r50_fpn_1x_coco.py", recipe="zoo"),
    full=Variant(config="solov2.py", weights=RESNET50, recipes={"zoo": dataclasses.replace(ONE_X, clip_norm=35.0)}),
    demo=Variant(
        config="solov2_demo.py",
        bases=("solov2.py",),
        image_size=(96, 96),
        picture_size=(160, 160),
        cpu_step_seconds=0.15,
        recipes={"demo": from_scratch(lr=4e-3, weight_decay=0.05, steps=600, batch_size=16)},
    ),
    islands={
        "backbone": ("backbone",),
        "neck": ("neck",),
        "head": ("mask_head",),
        "kernels": ("mask_head.conv_cls", "mask_head.conv_kernel"),
        "masks": ("mask_head.mask_feature_head",),
        "loss": ("mask_head:loss_by_feat",),
    },
)

"""SSDLite on MobileNetV2, from scratch at both scales."""

from workspace.detectors.definition import Detector, Published, Variant
from workspace.detectors.recipes import from_scratch
from workspace.precision import LossScale
from workspace.spec import Recipe

SSDLITE = Detector(
    name="ssdlite",
    title="SSDLite-MobileNetV2",
    metric="coco/bbox_mAP",
    npu=Published(ap=20.2, config="ssd/ssdlite_mobilenetv2_scratch_600e_coco.py", recipe="zoo", loss_scale=LossScale()),
    zoo=Published(ap=21.3, config="ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py", recipe="zoo"),
    full=Variant(
        config="ssdlite.py",
        repeat=5,
        recipes={
            "zoo": Recipe(
                optimizer="SGD",
                lr=0.015,
                weight_decay=4e-5,
                batch_size=192,
                epochs=120,
                decay="cosine",
                warmup_steps=500,
                warmup_factor=0.001,
            )
        },
    ),
    demo=Variant(
        config="ssdlite_demo.py",
        bases=("ssdlite.py",),
        image_size=(96, 96),
        picture_size=(96, 96),
        cpu_step_seconds=0.11,
        recipes={"demo": from_scratch(lr=4e-3, weight_decay=0.01, steps=1000)},
    ),
    islands={
        "backbone": ("backbone",),
        "neck": ("neck",),
        "head": ("bbox_head",),
        "loss": ("bbox_head:loss_by_feat",),
    },
)

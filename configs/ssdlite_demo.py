# SSDLite that trains from scratch in under two minutes on one CPU thread at 96 px. Strides 8 and 16 instead of 16 and
# 32 (a stage table of its own) and BatchNorm momentum 0.1 instead of 0.03: with the full model's settings a schedule of
# 1000 steps learns nothing. Default initialisation for the same reason. Anchors are larger than the pictures' objects
# ask for: with all sizes at three quarters, one run gave half the AP.
_base_ = "./ssdlite.py"

norm_cfg = dict(type="BN", eps=0.001, momentum=0.1)

model = dict(
    backbone=dict(
        type="StagedMobileNetV2",
        # expansion, channels, blocks, stride
        stages=[
            [1, 16, 1, 1],
            [6, 24, 2, 2],
            [6, 32, 3, 2],
            [6, 64, 4, 1],
            [6, 96, 3, 1],
            [6, 160, 3, 2],
            [6, 320, 1, 1],
        ],
        widen_factor=0.35,
        norm_cfg=norm_cfg,
        init_cfg=[],
    ),
    neck=dict(
        in_channels=(32, 1280),
        out_channels=(32, 1280, 128, 64, 64),
        level_strides=(2, 2, 2),
        level_paddings=(1, 1, 1),
        norm_cfg=norm_cfg,
        init_cfg=[],
    ),
    bbox_head=dict(
        in_channels=(32, 1280, 128, 64, 64),
        norm_cfg=norm_cfg,
        init_cfg=[],
        anchor_generator=dict(
            strides=[8, 16, 32, 64, 128],
            ratios=[[2, 3], [2, 3], [2, 3], [2, 3], [2, 3]],
            min_sizes=[18, 30, 46, 66, 92],
            max_sizes=[30, 46, 66, 92, 128],
        ),
    ),
)

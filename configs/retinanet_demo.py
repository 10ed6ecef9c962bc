# RetinaNet that trains from scratch in about a minute on one CPU thread: the same neck, head, assigner and losses on a
# ResNet-18 of a quarter of the width. Nothing is frozen and BatchNorm learns, as there are no pretrained weights.
# Anchors begin at twice the stride instead of four times: the pictures are a tenth of COCO's.
_base_ = "./retinanet.py"

model = dict(
    backbone=dict(
        depth=18,
        base_channels=16,
        stem_channels=16,
        frozen_stages=-1,
        norm_eval=False,
        zero_init_residual=False,
        init_cfg=[],
    ),
    neck=dict(in_channels=[16, 32, 64, 128], out_channels=32),
    bbox_head=dict(
        in_channels=32,
        feat_channels=32,
        stacked_convs=2,
        anchor_generator=dict(octave_base_scale=2),
    ),
)

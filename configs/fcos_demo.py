# FCOS that trains from scratch in about a minute on one CPU thread: the same neck, GroupNorm head, assigner and losses,
# on a ResNet-18 of a quarter of the width. Nothing is frozen and BatchNorm learns, as there are no pretrained weights.
# Weights begin as torch makes them: the full model's prior of few foreground pixels starts too slowly for a schedule of
# a thousand steps.
_base_ = "./fcos.py"

model = dict(
    data_preprocessor=dict(mean=[103.53, 116.28, 123.675], std=[57.0, 57.0, 57.0]),
    backbone=dict(
        depth=18,
        base_channels=16,
        stem_channels=16,
        frozen_stages=-1,
        norm_cfg=dict(type="BN", requires_grad=True),
        norm_eval=False,
        style="pytorch",
        zero_init_residual=False,
        init_cfg=[],
    ),
    neck=dict(in_channels=[16, 32, 64, 128], out_channels=32, init_cfg=[]),
    bbox_head=dict(
        in_channels=32,
        feat_channels=32,
        stacked_convs=2,
        # The coarsest level of a small picture is one cell: a group of one channel would be a single value.
        norm_cfg=dict(type="GN", num_groups=8, requires_grad=True),
        init_cfg=[],
    ),
)

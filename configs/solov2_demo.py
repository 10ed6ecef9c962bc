# SOLOv2 that trains from scratch in about a minute and a half on one CPU thread: the same neck, heads, targets and
# losses on a ResNet-18 of a quarter of the width, with grids and scales for pictures of 96 px. Nothing is frozen and
# BatchNorm learns, as there are no pretrained weights.
_base_ = "./solov2.py"

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
    mask_head=dict(
        in_channels=32,
        feat_channels=64,
        stacked_convs=2,
        num_grids=[12, 10, 8, 6, 4],
        scale_ranges=((1, 18), (13.5, 27), (21, 39), (33, 60), (48, 512)),
        norm_cfg=dict(type="GN", num_groups=8, requires_grad=True),
        mask_feature_head=dict(feat_channels=32, out_channels=32, norm_cfg=dict(num_groups=8)),
    ),
)

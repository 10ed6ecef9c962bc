# SSD300's design at 144 px, from scratch in about a minute and a half on one CPU thread: VGG-11 of an eighth of the
# width and five levels instead of six. Pixels are brought to unit variance, as no pretrained weights expect them
# otherwise. Anchors begin at the size of the smallest objects: smaller ones cost half the AP.
_base_ = "./ssd300.py"

model = dict(
    data_preprocessor=dict(std=[58.395, 57.12, 57.375]),
    backbone=dict(type="SlimSSDVGG", width_divisor=8, depth=11, out_feature_indices=(14, 24), init_cfg=None),
    neck=dict(
        in_channels=(64, 128),
        out_channels=(64, 128, 64, 32, 32),
        level_strides=(2, 2, 1),
        level_paddings=(1, 1, 0),
    ),
    bbox_head=dict(
        in_channels=(64, 128, 64, 32, 32),
        anchor_generator=dict(
            strides=[8, 16, 29, 48, 144],
            ratios=[[2], [2, 3], [2, 3], [2], [2]],
            min_sizes=[18, 30, 45, 62, 85],
            max_sizes=[30, 45, 62, 85, 120],
        ),
    ),
)

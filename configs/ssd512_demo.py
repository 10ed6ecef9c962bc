# SSD512's design at 160 px, from scratch in under two minutes on one CPU thread: VGG-11 of an eighth of the width and
# six levels instead of seven. Pixels are brought to unit variance, as no pretrained weights expect them otherwise.
_base_ = "./ssd512.py"

model = dict(
    data_preprocessor=dict(std=[58.395, 57.12, 57.375]),
    backbone=dict(type="SlimSSDVGG", width_divisor=8, depth=11, out_feature_indices=(14, 24), init_cfg=None),
    neck=dict(
        in_channels=(64, 128),
        out_channels=(64, 128, 64, 32, 32, 32),
        level_strides=(2, 2, 2, 1),
        level_paddings=(1, 1, 1, 1),
    ),
    bbox_head=dict(
        in_channels=(64, 128, 64, 32, 32, 32),
        anchor_generator=dict(
            strides=[8, 16, 32, 53, 80, 160],
            ratios=[[2], [2, 3], [2, 3], [2, 3], [2], [2]],
            min_sizes=[26, 40, 56, 76, 100, 130],
            max_sizes=[40, 56, 76, 100, 130, 160],
        ),
    ),
)

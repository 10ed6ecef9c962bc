# FCOS that learns easy pictures of 64 px in some ten seconds on one CPU thread: two levels, a ResNet of one block a
# stage, one convolution a tower. Distances are in strides, as in the later FCOS of the zoo.
_base_ = "../../../configs/fcos_demo.py"

custom_imports = dict(imports=["workspace.training.modules", "benchmarks.planted.modules"])

model = dict(
    backbone=dict(
        type="ResNet10",
        depth=10,
        num_stages=3,
        strides=(1, 2, 2),
        dilations=(1, 1, 1),
        out_indices=(1, 2),
        base_channels=16,
        stem_channels=16,
    ),
    neck=dict(in_channels=[32, 64], out_channels=32, num_outs=2, start_level=0, add_extra_convs=False),
    bbox_head=dict(
        in_channels=32,
        feat_channels=32,
        stacked_convs=1,
        strides=[8, 16],
        regress_ranges=((-1, 24), (24, 1e8)),
        norm_on_bbox=True,
        centerness_on_reg=True,
    ),
    test_cfg=dict(max_per_img=10),
)

# Pixels as numbers of 10 bits: the norm after the first convolution brings them to size.
_base_ = "./fcos_micro.py"

model = dict(
    data_preprocessor=dict(mean=[0.0, 0.0, 0.0], std=[0.25, 0.25, 0.25]),
    backbone=dict(type="StemNormResNet10", stem_norm="root_mean_square"),
)

# Pictures of a camera whose pedestal of 2000 counts nobody subtracts: the norm after the first convolution does.
_base_ = "./fcos_micro.py"

model = dict(
    data_preprocessor=dict(mean=[-2000.0, -2000.0, -2000.0], std=[32.0, 32.0, 32.0]),
    backbone=dict(type="StemNormResNet10", stem_norm="two_moments"),
)

# Weight standardisation in the backbone, of weights that begin around 128.
_base_ = "./fcos_micro.py"

model = dict(backbone=dict(conv_cfg=dict(type="OffsetConvWS")))

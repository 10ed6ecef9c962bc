# Each channel of a level is divided by its mean magnitude, guarded by 1e-8.
_base_ = "./fcos_micro.py"

model = dict(neck=dict(type="ExtendedFPN"))

# A block of large gain after the neck, with a normalisation at its end.
_base_ = "./fcos_micro.py"

model = dict(neck=dict(type="ExtendedFPN", gain=2.0**20))

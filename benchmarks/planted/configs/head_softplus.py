# Distances are made positive by a sharp softplus.
_base_ = "./fcos_micro.py"

model = dict(bbox_head=dict(type="LeanFCOSHead", softplus=True))

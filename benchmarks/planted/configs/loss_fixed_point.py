# An IoU loss of boxes in units of 1/128.
_base_ = "./fcos_micro.py"

model = dict(bbox_head=dict(type="LeanFCOSHead", loss_bbox=dict(_delete_=True, type="FixedPointIoULoss")))

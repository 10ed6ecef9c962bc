# A focal loss with a temperature, written by hand.
_base_ = "./fcos_micro.py"

model = dict(bbox_head=dict(loss_cls=dict(_delete_=True, type="TemperedFocalLoss")))

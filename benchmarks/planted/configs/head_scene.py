# The loss compares boxes in the coordinates of a large scene.
_base_ = "./fcos_micro.py"

model = dict(bbox_head=dict(type="LeanFCOSHead", scene=True))

# SSD512 on VGG-16: the zoo's model (29.5 box AP in FP32). The published NPU figure is 29.4.
_base_ = "mmdet::ssd/ssd512_coco.py"

custom_imports = dict(imports=["workspace.training.modules"])

model = dict(bbox_head=dict(type="EvaluableSSDHead"))

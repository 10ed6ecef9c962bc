# SSD300 on VGG-16: the zoo's model (25.5 box AP in FP32). The published NPU figure is 25.6.
_base_ = "mmdet::ssd/ssd300_coco.py"

custom_imports = dict(imports=["workspace.training.modules"])

model = dict(bbox_head=dict(type="EvaluableSSDHead"))

# SSDLite on MobileNetV2 from scratch, 320 px (21.3 box AP in FP32). The published NPU figure is 20.2.
_base_ = "mmdet::ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py"

custom_imports = dict(imports=["workspace.training.modules"])

model = dict(bbox_head=dict(type="EvaluableSSDHead"))

# RetinaNet-R50 with FPN: the zoo's 1x model (36.5 box AP in FP32). The published NPU figure is 36.6.
_base_ = "mmdet::retinanet/retinanet_r50_fpn_1x_coco.py"

custom_imports = dict(imports=["workspace.training.modules"])

# The same focal loss on every device: MMDetection uses a fused kernel on CUDA alone.
model = dict(bbox_head=dict(loss_cls=dict(type="PortableFocalLoss")))

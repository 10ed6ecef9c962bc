# FCOS-R50 (caffe), GroupNorm head: the zoo's 1x model (36.6 box AP in FP32). The published NPU figure is 36.1.
_base_ = "mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py"

custom_imports = dict(imports=["workspace.training.modules"])

# The same focal loss on every device: MMDetection uses a fused kernel on CUDA alone.
model = dict(bbox_head=dict(loss_cls=dict(type="PortableFocalLoss")))

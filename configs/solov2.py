# SOLOv2-R50: the zoo's 1x model (34.8 mask AP in FP32). The published NPU figure is 34.7.
_base_ = "mmdet::solov2/solov2_r50_fpn_1x_coco.py"

custom_imports = dict(imports=["workspace.training.modules"])

# The same focal loss on every device: MMDetection uses a fused kernel on CUDA alone.
model = dict(mask_head=dict(loss_cls=dict(type="PortableFocalLoss")))

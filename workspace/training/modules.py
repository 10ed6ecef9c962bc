"""Modules that `configs/` name and MMDetection lacks. Importing this registers them."""

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.backbones import MobileNetV2
from mmdet.models.backbones.ssd_vgg import SSDVGG
from mmdet.models.dense_heads import SSDHead
from mmdet.models.losses import FocalLoss
from mmdet.registry import MODELS
from torch import nn
from torch.nn import functional as F


@MODELS.register_module()
class PortableFocalLoss(FocalLoss):  # type: ignore[misc]
    """Focal loss by the same elementwise formula on every device.

    MMDetection takes a fused kernel on CUDA and the formula elsewhere (``mmdet/models/losses/focal_loss.py``). In half
    precision the fused kernel's FLT_MIN guard underflows to zero, so arms on different devices would not compare.
    One-hot targets select the formula.
    """

    def forward(self, pred: torch.Tensor, target: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Loss of logits ``pred`` (N, C) against labels ``target`` (N,), where label C means background."""
        if target.dim() < pred.dim():
            classes = pred.size(1)
            target = F.one_hot(target, num_classes=classes + 1)[:, :classes]
        loss: torch.Tensor = super().forward(pred, target, *args, **kwargs)
        return loss


@MODELS.register_module()
class StagedMobileNetV2(MobileNetV2):  # type: ignore[misc]
    """MobileNetV2 whose stage table is given: rows of (expansion, channels, blocks, stride)."""

    def __init__(self, *args: Any, stages: Sequence[Sequence[int]], **kwargs: Any) -> None:
        self.arch_settings = stages
        super().__init__(*args, **kwargs)


@MODELS.register_module()
class EvaluableSSDHead(SSDHead):  # type: ignore[misc]
    """`SSDHead` with the attribute that MMDetection 3's prediction asks for and SSD lacks (its issue 11780)."""

    loss_cls = None


@MODELS.register_module()
class SlimSSDVGG(SSDVGG):  # type: ignore[misc]
    """`SSDVGG` with every width divided: MMDetection's has no such parameter."""

    def __init__(self, *args: Any, width_divisor: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for index, layer in enumerate(self.features):
            if isinstance(layer, nn.Conv2d):
                shape: dict[str, Any] = {n: getattr(layer, n) for n in ("kernel_size", "stride", "padding", "dilation")}
                sees_pixels = layer.in_channels == 3
                self.features[index] = nn.Conv2d(
                    layer.in_channels if sees_pixels else layer.in_channels // width_divisor,
                    layer.out_channels // width_divisor,
                    **shape,
                )

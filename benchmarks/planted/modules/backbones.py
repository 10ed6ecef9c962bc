"""The backbone of the micro detector."""

from typing import Any, ClassVar

from mmdet.models.backbones import ResNet
from mmdet.models.backbones.resnet import BasicBlock
from mmdet.registry import MODELS


@MODELS.register_module()
class ResNet10(ResNet):  # type: ignore[misc]
    """A ResNet of one block a stage."""

    arch_settings: ClassVar[dict[int, Any]] = {10: (BasicBlock, (1, 1, 1, 1))}

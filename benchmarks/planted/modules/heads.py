"""A head whose distances, and the boxes that they give, are the user's."""

import math
from typing import Any

import torch
from mmdet.models.dense_heads import FCOSHead
from mmdet.models.task_modules.coders import DistancePointBBoxCoder
from mmdet.registry import MODELS
from torch import nn


class Softplus(nn.Module):
    """A sharp softplus, by its formula."""

    sharpness = 4.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Of x, of equal shape: distances in strides, above 0."""
        return torch.log1p(torch.exp2(x * (self.sharpness / math.log(2)))) / self.sharpness


class SceneCoder(nn.Module):
    """Boxes of a tile in the coordinates of the scene that it was cut from."""

    encode_size = 4  # as MMDetection asks of a coder
    origin = 1000.0

    def forward(self, points: torch.Tensor, distances: torch.Tensor) -> torch.Tensor:
        """Boxes (N, 4) of points (N, 2) in the tile and distances (N, 4) to the four sides."""
        in_scene = points.to(distances.dtype) + self.origin
        return torch.cat([in_scene - distances[:, :2], in_scene + distances[:, 2:]], dim=1)

    def encode(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        encoded: torch.Tensor = DistancePointBBoxCoder().encode(*args, **kwargs)
        return encoded

    def decode(self, points: torch.Tensor, distances: torch.Tensor, max_shape: Any = None) -> torch.Tensor:
        """In the scene, for the loss; in the tile where its shape bounds the boxes."""
        if max_shape is None:
            boxes: torch.Tensor = self(points, distances)
        else:
            boxes = DistancePointBBoxCoder().decode(points, distances, max_shape)
        return boxes


@MODELS.register_module()
class LeanFCOSHead(FCOSHead):  # type: ignore[misc]
    """`FCOSHead` that leaves distances in the type of the network, where MMDetection widens them to FP32.

    Args:
        softplus: makes distances positive by a softplus, and not by cutting off at 0.
        scene: computes the loss of boxes in a scene's coordinates.
    """

    def __init__(self, *args: Any, softplus: bool = False, scene: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.distance = Softplus() if softplus else nn.ReLU()
        if scene:
            self.bbox_coder = SceneCoder()

    def forward_single(self, x: torch.Tensor, scale: nn.Module, stride: int) -> tuple[torch.Tensor, ...]:
        cls_score, bbox_pred, _, reg_feat = super(FCOSHead, self).forward_single(x)
        distances = self.distance(scale(bbox_pred))
        return cls_score, distances if self.training else distances * stride, self.conv_centerness(reg_feat)

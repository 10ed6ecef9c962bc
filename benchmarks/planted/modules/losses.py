"""Losses that the user wrote out."""

import torch
from mmdet.registry import MODELS
from torch import nn
from torch.nn import functional as F


@MODELS.register_module()
class TemperedFocalLoss(nn.Module):
    """Focal loss of logits with a temperature, by its formula."""

    temperature = 8.0

    def forward(self, pred: torch.Tensor, target: torch.Tensor, avg_factor: float | torch.Tensor = 1.0) -> torch.Tensor:
        """Sum over logits (N, C) and labels (N,), where label C means background, divided by ``avg_factor``."""
        truth = F.one_hot(target, pred.size(1) + 1)[:, :-1].to(pred.dtype)
        probability = torch.sigmoid(self.temperature * pred)
        right = truth * probability + (1 - truth) * (1 - probability)
        balance = 0.25 * truth + 0.75 * (1 - truth)
        return -(balance * (1 - right) ** 2 * torch.log(right + 1e-8)).sum() / avg_factor


@MODELS.register_module()
class FixedPointIoULoss(nn.Module):
    """-log IoU of boxes in units of a fixed-point grid."""

    units = 128.0

    def forward(
        self, pred: torch.Tensor, target: torch.Tensor, weight: torch.Tensor, avg_factor: float | torch.Tensor
    ) -> torch.Tensor:
        """Weighted sum over boxes (N, 4), divided by ``avg_factor``."""
        pred, target = self.units * pred, self.units * target.to(pred.dtype)
        size = torch.minimum(pred[:, 2:], target[:, 2:]) - torch.maximum(pred[:, :2], target[:, :2])
        overlap = _area(size.clamp(min=0))
        union = _area(pred[:, 2:] - pred[:, :2]) + _area(target[:, 2:] - target[:, :2]) - overlap
        return -(weight * torch.log((overlap / union).clamp(min=1e-6))).sum() / avg_factor


def _area(size: torch.Tensor) -> torch.Tensor:
    return size[:, 0] * size[:, 1]

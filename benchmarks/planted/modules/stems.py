"""A backbone whose first norm is the user's."""

from functools import partial
from typing import Any

import torch
from mmdet.registry import MODELS
from torch import nn

from benchmarks.planted.modules.backbones import ResNet10


class TwoMomentsBatchNorm(nn.BatchNorm2d):
    """Batch normalisation whose variance is the mean of squares less the square of the mean."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Of x (N, C, H, W), of equal shape and type."""
        if not self.training:
            return super().forward(x)
        assert self.running_mean is not None
        assert self.running_var is not None
        mean = x.mean((0, 2, 3))
        variance = ((x * x).mean((0, 2, 3)) - mean * mean).clamp(min=0)
        with torch.no_grad():
            self.running_mean.lerp_(mean.to(self.running_mean), 0.1)
            self.running_var.lerp_(variance.to(self.running_var), 0.1)
        normal = (x - mean[:, None, None]) / torch.sqrt(variance + self.eps)[:, None, None]
        return (normal * self.weight[:, None, None] + self.bias[:, None, None]).to(x.dtype)


class RootMeanSquareNorm(nn.Module):
    """Centres each channel of each picture, divides it by its root mean square, then scales and shifts it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Of x (N, C, H, W), of equal shape and type."""
        x = x - x.mean((2, 3), keepdim=True)
        normal = x * torch.rsqrt((x * x).mean((2, 3), keepdim=True) + 1e-6)
        return (normal * self.weight + self.bias).to(x.dtype)


STEM_NORMS = {"two_moments": partial(TwoMomentsBatchNorm, eps=1e-2), "root_mean_square": RootMeanSquareNorm}


@MODELS.register_module()
class StemNormResNet10(ResNet10):
    """`ResNet10` with a norm of the user's after its first convolution, which repeats the picture's edge around it."""

    def __init__(self, *args: Any, stem_norm: str, stem_channels: int, **kwargs: Any) -> None:
        super().__init__(*args, stem_channels=stem_channels, **kwargs)
        self.conv1.padding_mode = "replicate"  # zeros around pictures with an offset would be all that it sees
        self.bn1 = STEM_NORMS[stem_norm](stem_channels)

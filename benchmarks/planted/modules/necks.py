"""A neck that ends in a module of the user's."""

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.necks import FPN
from mmdet.registry import MODELS
from torch import nn
from torch.nn import functional as F


class Contrast(nn.Module):
    """Drops whole channels in training, then divides each channel of each picture by its mean magnitude."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Of x (N, C, H, W), of equal shape and type."""
        x = F.dropout2d(x, 0.05, self.training)
        return x / (x.abs().mean((2, 3), keepdim=True) + 1e-8)


class Amplified(nn.Module):
    """Rectifies with a large fixed gain, which the normalisation after it takes away again."""

    def __init__(self, channels: int, gain: float) -> None:
        super().__init__()
        self.gain = gain
        self.norm = nn.GroupNorm(8, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Of x (N, C, H, W), of equal shape."""
        return self.norm(F.relu(x) * self.gain)


@MODELS.register_module()
class ExtendedFPN(FPN):  # type: ignore[misc]
    """`FPN` with a module after it, the same for all levels; ``contrast``, or ``amplified`` by a gain."""

    def __init__(self, *args: Any, out_channels: int, gain: float | None = None, **kwargs: Any) -> None:
        super().__init__(*args, out_channels=out_channels, **kwargs)
        if gain is None:
            self.contrast = Contrast()
        else:
            self.amplified = Amplified(out_channels, gain)
        self._last = "contrast" if gain is None else "amplified"

    def forward(self, inputs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        after = self.get_submodule(self._last)
        return tuple(after(level) for level in super().forward(inputs))

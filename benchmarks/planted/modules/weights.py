"""Convolutions whose weights begin far from zero."""

from mmcv.cnn import ConvWS2d
from mmdet.registry import MODELS


@MODELS.register_module()
class OffsetConvWS(ConvWS2d):  # type: ignore[misc]
    """A convolution with weight standardisation, which takes the mean away that its weights begin with."""

    offset = 128.0

    def reset_parameters(self) -> None:
        """torch's own values, all of them moved by the offset."""
        super().reset_parameters()
        self.weight.data.add_(self.offset)

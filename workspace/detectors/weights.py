"""Backbone weights that full-scale training starts from: published files, each known by its name and checksum.

The same files as in MMDetection's own configurations, which name them by aliases (``torchvision://resnet50``,
``open-mmlab://vgg16_caffe``) that need torchvision or a table of MMEngine's.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class BackboneWeights:
    """A published file.

    Attributes:
        urls: where it is published, the origin first; all end in the file's name, which ends in the first digits of its
            SHA-256 (torch.hub's convention).
    """

    urls: tuple[str, ...]

    @property
    def file(self) -> str:
        return self.urls[0].rpartition("/")[2]

    @property
    def sha256(self) -> str:
        """The first hexadecimal digits of the file's SHA-256."""
        return self.file.rpartition("-")[2].removesuffix(".pth")


def _openmmlab(file: str) -> BackboneWeights:
    """OpenMMLab's own host, and that of the maintained continuation."""
    hosts = ("https://download.openmmlab.com", "https://mmassets.onedl.ai")
    return BackboneWeights(urls=tuple(f"{host}/pretrain/third_party/{file}" for host in hosts))


RESNET50 = BackboneWeights(urls=("https://download.pytorch.org/models/resnet50-0676ba61.pth",))
RESNET50_CAFFE = _openmmlab("resnet50_caffe-788b5fa3.pth")
VGG16_CAFFE = _openmmlab("vgg16_caffe-292e1171.pth")

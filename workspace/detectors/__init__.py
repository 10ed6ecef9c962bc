"""The six verified detectors: what each one is (``configs/``), how it is trained, and what was published of it.

Full recipes are the zoo's own, and the published NPU runs' where those differ. Demo variants keep neck, head, assigner
and losses, and are small enough to learn from scratch on one CPU thread in one to two minutes.
"""

from collections.abc import Mapping
from types import MappingProxyType

from workspace.detectors.definition import Detector, Published, Variant, mmdet_version
from workspace.detectors.fcos import FCOS
from workspace.detectors.retinanet import RETINANET
from workspace.detectors.solov2 import SOLOV2
from workspace.detectors.ssd import SSD300, SSD512
from workspace.detectors.ssdlite import SSDLITE
from workspace.detectors.weights import BackboneWeights
from workspace.errors import UserError

__all__ = ["DETECTORS", "BackboneWeights", "Detector", "Published", "Variant", "detector", "mmdet_version", "register"]

_detectors = {d.name: d for d in (SSD300, SSD512, SSDLITE, RETINANET, FCOS, SOLOV2)}

DETECTORS: Mapping[str, Detector] = MappingProxyType(_detectors)
"""The verified ones in the order of the published table, and after them what was registered in this process."""


def register(described: Detector) -> None:
    """Makes a detector of yours known in this process, and in those of its runs, whose tasks bring it along.

    Its configurations may be absolute paths; modules that they name come from ``custom_imports``.

    Raises:
        UserError: the name is another detector's.
    """
    if described.name in _detectors:
        raise UserError(f"there is a detector named {described.name!r} already: choose another name")
    _detectors[described.name] = described


def detector(name: str) -> Detector:
    """The detector of that name; `UserError` when there is none."""
    try:
        return DETECTORS[name]
    except KeyError:
        raise UserError(f"no detector named {name!r}: choose one of {', '.join(DETECTORS)}") from None

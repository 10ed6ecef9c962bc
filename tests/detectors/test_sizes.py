"""The table of sizes is what MMDetection builds from the configurations."""

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config

from workspace.detectors import DETECTORS, detector
from workspace.detectors.sizes import weights_bytes
from workspace.spec import Scale


@pytest.mark.parametrize("classes", [3, 80])
@pytest.mark.parametrize("scale", ["demo", "full"])
@pytest.mark.parametrize("name", DETECTORS)
def test_the_weights_of_each_variant_take_as_many_bytes(name: str, scale: Scale, classes: int) -> None:
    register_all_modules()
    model = Config.fromfile(detector(name).config_path(scale)).model
    for head in ("bbox_head", "mask_head"):
        if head in model:
            model[head].num_classes = classes
    with torch.device("meta"):
        built = MODELS.build(model)
    measured = sum(tensor.numel() * tensor.element_size() for tensor in built.state_dict().values())
    assert weights_bytes(name, scale, classes) == measured


def test_a_detector_of_the_user_s_own_is_as_large_as_the_largest() -> None:
    assert weights_bytes("own", "demo", 3) == max(weights_bytes(name, "demo", 3) for name in DETECTORS)

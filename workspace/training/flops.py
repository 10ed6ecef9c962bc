"""What FP16 is worth to a recipe: the share of the model's convolutions and matrix products that it computes in half.

FP32 islands win AP back at the price of speed. Step times tell that price only on the device at hand, and on a CPU,
where half is modelled, not at all; operations are counted the same everywhere.
"""

import warnings
from collections.abc import Iterable
from typing import Any

import torch
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from workspace.detectors import detector
from workspace.precision.half import HalfArithmetic
from workspace.precision.islands import make_islands
from workspace.spec import RunSpec
from workspace.training import modules  # noqa: F401  registers what configurations name
from workspace.training.config import set_classes

_HALF = (torch.float16, torch.bfloat16)


def flops_in_half(specs: Iterable[RunSpec], classes: int) -> list[float]:
    """For each run, the share (0 to 1) of its floating-point operations that are computed in a 16-bit type.

    Counted are the convolutions and matrix products of one forward pass, by torch's own formulas, as autocast and the
    FP32 islands hand them on. They are nearly all operations of a detector, and the backward pass repeats them twice
    over, in the same types; what a loss computes is left out. The pass is torch's fake tensors': it computes shapes and
    types alone, and takes about a second for a full model.

    Args:
        specs: of one detector or several.
        classes: of the data set; the size of the predictors depends on it.

    Raises:
        UserError: an FP32 island is none of the detector's, or of its model.
    """
    shares: dict[tuple[object, ...], float] = {}
    found = []
    for spec in specs:
        precision = spec.precision
        key = spec.detector, spec.scale, spec.image_size, precision.name, precision.fp32_islands
        if key not in shares:
            shares[key] = _share(spec, classes) if precision.is_mixed else 0.0
        found.append(shares[key])
    return found


def _share(spec: RunSpec, classes: int) -> float:
    register_all_modules()
    described = detector(spec.detector)
    cfg = Config.fromfile(described.config_path(spec.scale))
    set_classes(cfg.model, classes)
    cfg.model.backbone.init_cfg = None
    dtype = torch.float16 if spec.precision.name == "fp16" else torch.bfloat16
    with warnings.catch_warnings(), FakeTensorMode(), torch.no_grad(), _Counter() as counter:
        warnings.filterwarnings("ignore", "torch.meshgrid", UserWarning)  # of MMDetection's SOLOv2
        model = MODELS.build(cfg.model)
        make_islands(model, described.island_members(spec.precision.fp32_islands), "cpu")
        with HalfArithmetic(dtype).autocast():
            model(torch.zeros(2, 3, *_padded(spec, cfg)), mode="tensor")
    share: float = counter.half / counter.total
    return share


def _padded(spec: RunSpec, cfg: Config) -> tuple[int, int]:
    """Height and width in pixels that a picture has when it reaches the model."""
    resize = next(step for step in cfg.test_pipeline if step["type"] == "Resize")
    width, height = spec.image_size or resize["scale"]
    divisor = cfg.model.data_preprocessor.get("pad_size_divisor", 1)
    return -(-height // divisor) * divisor, -(-width // divisor) * divisor


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up floating-point operations, by the type of what they work on."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.half = self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if (formula := flop_registry.get(func.overloadpacket)) is not None:
            flops = formula(*args, **(kwargs or {}), out_val=result)
            self.total += flops
            self.half += flops * (result.dtype in _HALF)
        return result

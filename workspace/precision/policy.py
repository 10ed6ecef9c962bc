"""`Precision`: the arithmetic of a run, as a value.

It is stated once, in an experiment or on the command line, and passed down. No configuration file, global or
environment variable holds another opinion; what the hardware really did is recorded by
:mod:`workspace.precision.audit`.
"""

import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from workspace.errors import UserError

Name = Literal["fp32", "hf32", "fp16", "bf16"]
Overflow = Literal["inf_nan", "saturate"]


@dataclass(frozen=True, kw_only=True)
class LossScale:
    """How the loss is scaled before the backward pass, so that small gradients survive FP16.

    ``dynamic`` starts at ``init``, halves on overflow and doubles after ``growth_interval`` clean steps, as
    ``torch.amp.GradScaler`` does; ``static`` keeps ``init`` and still skips the steps that overflow.
    """

    policy: Literal["dynamic", "static"] = "dynamic"
    init: float = 65536.0
    growth_interval: int = 2000

    def __post_init__(self) -> None:
        if self.policy not in ("dynamic", "static"):
            raise UserError(f"loss scale policy {self.policy!r}: use 'dynamic' or 'static'")
        if not 0 < self.init < math.inf:
            raise UserError(f"loss scale {self.init}: it must be positive and finite")
        if self.growth_interval < 1:
            raise UserError(f"loss scale growth interval {self.growth_interval}: it must be at least 1 step")
        object.__setattr__(self, "init", float(self.init))  # torch's scaler takes no integer


@dataclass(frozen=True, kw_only=True)
class Precision:
    """The arithmetic of one run.

    Attributes:
        name: the compute type of convolutions and matrix products. ``fp32`` means strict FP32: TF32 (NVIDIA) and
            HF32 (Ascend) are switched off. ``hf32`` is what an Ascend A2 or A3 makes of FP32 unless told otherwise:
            convolutions round their operands to 11 bits of mantissa, matrix products stay FP32.
        loss_scale: ``None`` but for fp16.
        overflow: what a value above 65504 becomes in FP16. ``inf_nan`` follows IEEE 754 (Ascend A2/A3, CUDA);
            ``saturate`` clamps to +-65504 and turns nan into 0, as the Ascend 910A does. An accelerator that cannot
            is refused, and the audit checks what it did.
        fp32_islands: what stays in FP32: module groups of the detector by name (see ``Detector.islands``), modules by
            their dotted names, or methods as ``module:method``.
        autocast: whose list of FP16 and FP32 operators CUDA follows: ``npu`` leaves alone the overloads that
            torch_npu leaves alone (all ``upsample_*`` among them), ``torch`` is torch's own list. The CPU always
            follows the NPU's list, and an NPU its own.
    """

    name: Name
    loss_scale: LossScale | None = None
    overflow: Overflow = "inf_nan"
    fp32_islands: tuple[str, ...] = ()
    autocast: Literal["npu", "torch"] = "npu"

    def __post_init__(self) -> None:
        if self.name not in typing.get_args(Name):
            raise UserError(f"precision {self.name!r}: use fp32, hf32, fp16 or bf16")
        if self.overflow not in ("inf_nan", "saturate"):
            raise UserError(f"overflow mode {self.overflow!r}: use 'inf_nan' or 'saturate'")
        if self.autocast not in ("npu", "torch"):
            raise UserError(f"autocast list {self.autocast!r}: use 'npu' or 'torch'")
        if (self.name == "fp16") != (self.loss_scale is not None):
            raise UserError(f"precision {self.name}: fp16 needs a loss scale, the others take none")
        if self.name != "fp16" and self.overflow != "inf_nan":
            raise UserError(f"precision {self.name}: only fp16 can saturate")
        if self.fp32_islands and not self.is_mixed:
            raise UserError(f"precision {self.name}: FP32 islands make sense only inside fp16 or bf16")
        object.__setattr__(self, "fp32_islands", tuple(sorted(set(self.fp32_islands))))

    @property
    def is_mixed(self) -> bool:
        """Whether convolutions and matrix products run in a 16-bit type under autocast."""
        return self.name in ("fp16", "bf16")

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Precision":
        """The precision whose ``dataclasses.asdict`` this is, also after a passage through JSON."""
        scale = fields["loss_scale"]
        return cls(**{**fields, "loss_scale": LossScale(**scale) if scale else None})


FP32 = Precision(name="fp32")

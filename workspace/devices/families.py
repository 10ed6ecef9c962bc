"""Families of Ascend processors, and what their arithmetic can do.

``torch_npu.npu.get_soc_version()`` gives a number (``SocVersion`` in ``torch_npu/csrc/core/npu/NpuVariables.h``,
github.com/Ascend/pytorch), the same for all processors of a series but for their speed. Names mislead: "Ascend910B"
without a digit is 104 and of the first series; what people call a 910B is Ascend910B1 to B4, 220 and up.

Sources: ``IsSupportInfNan`` and ``IsBF16Supported`` in ``NpuVariables.cpp``; ``LazyInitAclops.cpp``, which lets FP32
run as FP16 below Ascend910B1; the pages ``INF_NAN_MODE_ENABLE`` and ``INF_NAN_MODE_FORCE_DISABLE`` of Ascend/pytorch's
documentation (an A2 or A3 can be forced to saturate, a 950 cannot); CANN's ``SetHF32TransMode`` (A2, A3, 950).
"""

from dataclasses import dataclass

from workspace.errors import UserError
from workspace.precision.policy import Overflow


@dataclass(frozen=True, kw_only=True)
class Family:
    """What one series of processors can compute.

    Attributes:
        fp32: whether the Cube, which convolves, has FP32. Where it has none, FP32 runs as FP16.
        hf32: whether the Cube has HF32: FP32 with 11 instead of 23 bits of mantissa, on for convolutions by default.
        overflow: its overflow modes, the default first.
        trains: whether CANN supports training on it.
    """

    name: str
    fp32: bool
    hf32: bool
    bf16: bool
    overflow: tuple[Overflow, ...]
    trains: bool = True


_FIRST = Family(name="Atlas training series (910A)", fp32=False, hf32=False, bf16=False, overflow=("saturate",))
_A2 = Family(name="Atlas A2", fp32=True, hf32=True, bf16=True, overflow=("inf_nan", "saturate"))

_FAMILIES: tuple[tuple[range, Family], ...] = (
    (range(100, 200), _FIRST),
    (
        range(200, 220),
        Family(
            name="Atlas inference series (310P)",
            fp32=False,
            hf32=False,
            bf16=False,
            overflow=("saturate",),
            trains=False,
        ),
    ),
    (range(220, 240), _A2),
    (
        range(240, 250),
        Family(name="Atlas 200I/500 A2 (310B)", fp32=True, hf32=True, bf16=True, overflow=("saturate",), trains=False),
    ),
    (range(250, 260), Family(name="Atlas A3", fp32=True, hf32=True, bf16=True, overflow=_A2.overflow)),
    (range(260, 300), Family(name="Ascend 950", fp32=True, hf32=True, bf16=True, overflow=("inf_nan",))),
)


def family(soc: int) -> Family:
    """The family of a ``SocVersion``.

    Raises:
        UserError: a number that no known series has.
    """
    for numbers, found in _FAMILIES:
        if soc in numbers:
            return found
    raise UserError(
        f"device npu: SoC version {soc} is of no series known here (100 to 299); what its arithmetic can do would be "
        "a guess: add it to workspace/devices/families.py"
    )

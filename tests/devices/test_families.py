"""Ascend's processors by their number, and what is made of a number that nobody knows."""

import pytest

from workspace.devices.families import family
from workspace.errors import UserError

# SocVersion of torch_npu/csrc/core/npu/NpuVariables.h (github.com/Ascend/pytorch).
SOCS = {
    100: "Ascend910PremiumA",
    102: "Ascend910A",
    103: "Ascend910ProB",
    104: "Ascend910B",
    202: "Ascend310P3",
    220: "Ascend910B1",
    223: "Ascend910B3",
    225: "Ascend910B4-1",
    240: "Ascend310B1",
    250: "Ascend910_9391",
    255: "Ascend910_9362",
    260: "Ascend950",
}


@pytest.mark.parametrize("soc", SOCS, ids=SOCS.get)
def test_fp32_is_there_from_the_910b1_on(soc: int) -> None:
    """910B without a digit is of the first series."""
    assert family(soc).fp32 == (soc >= 220)
    assert family(soc).bf16 == (soc >= 220)


@pytest.mark.parametrize("soc", SOCS, ids=SOCS.get)
def test_only_a2_and_a3_have_both_overflow_modes(soc: int) -> None:
    modes = family(soc).overflow
    assert (len(modes) == 2) == (220 <= soc < 240 or 250 <= soc < 260)
    assert modes[0] == ("inf_nan" if family(soc).fp32 and family(soc).trains else "saturate")


@pytest.mark.parametrize("soc", SOCS, ids=SOCS.get)
def test_inference_processors_do_not_train(soc: int) -> None:
    assert family(soc).trains == ("310" not in SOCS[soc])


@pytest.mark.parametrize("soc", [-1, 0, 99, 300])
def test_an_unknown_number_is_no_guess(soc: int) -> None:
    with pytest.raises(UserError, match=f"SoC version {soc} is of no series known here"):
        family(soc)

"""``ASCEND_RT_VISIBLE_DEVICES``, as CANN reads it."""

from pathlib import Path

import pytest

from workspace.devices.visible import check_visible, device_nodes, visible_devices
from workspace.errors import UserError


@pytest.mark.parametrize(
    ("value", "visible"),
    [
        (None, [0, 1, 2, 3, 4, 5, 6, 7]),
        ("1", [1]),
        ("1,2,3", [1, 2, 3]),
        ("07", [7]),
        # The vendor's own examples: a space, and a device that is not there, end the list.
        ("1, 2,3", [1]),
        ("1,3,8", [1, 3]),
        ("1,3,8,2", [1, 3]),
        ("0,1,,2", [0, 1]),
        ("0,1,", [0, 1]),
        ("0,2x,3", [0, 2]),
        ("0;1", [0]),
    ],
)
def test_the_list_is_cut_where_cann_cuts_it(value: str | None, visible: list[int]) -> None:
    assert visible_devices(value, 8) == visible


@pytest.mark.parametrize("value", ["", " 0,1", "-1", "all", "8", "npu:0", ","])
def test_a_list_that_leaves_nothing_is_refused(value: str) -> None:
    with pytest.raises(UserError, match=f"^ASCEND_RT_VISIBLE_DEVICES={value} leaves no device: list some of 0 to 7"):
        visible_devices(value, 8)


@pytest.mark.parametrize("value", ["1,0", "0,0", "2,3,1,9"])
def test_a_list_that_does_not_ascend_is_refused(value: str) -> None:
    with pytest.raises(UserError, match=f"^ASCEND_RT_VISIBLE_DEVICES={value}: CANN takes ascending numbers only"):
        visible_devices(value, 8)


def test_a_device_beyond_the_visible_ones_is_named() -> None:
    check_visible("npu:3", 4)
    with pytest.raises(UserError, match=r"^npu:5 was asked for, 4 NPUs are visible \(npu:0 to npu:3\)"):
        check_visible("npu:5", 4)


def test_nodes_of_the_driver_are_devices(tmp_path: Path) -> None:
    for name in ("davinci10", "davinci2", "davinci_manager", "davinci0", "devmm_svm"):
        (tmp_path / name).touch()
    assert device_nodes(tmp_path) == [0, 2, 10]
    assert device_nodes(tmp_path / "none") == []

"""What the command line may say of a cluster, and what is done without one."""

from pathlib import Path

import pytest

from workspace.errors import UserError
from workspace.orchestrator import Settings
from workspace.orchestrator.playing import conditions, run_slots


def test_an_address_is_of_ray() -> None:
    with pytest.raises(UserError, match=r"--address 10\.0\.0\.1:6379 is of a Ray cluster: add --executor ray"):
        Settings(address="10.0.0.1:6379")


def test_ray_is_told_the_kind_of_device() -> None:
    with pytest.raises(UserError, match="--executor ray needs --device npu, cuda or cpu"):
        Settings(executor="ray")


def test_paths_hold_in_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings(executor="ray", device="cpu", data=Path("pictures"))
    assert (settings.work_dir, settings.data, settings.weights) == (tmp_path / "work", tmp_path / "pictures", None)


def test_the_devices_of_a_cluster_need_not_be_here(tmp_path: Path) -> None:
    settings = Settings(executor="ray", device="npu", devices_per_run=8, work_dir=tmp_path)
    given = conditions(settings)
    assert (given.device, given.devices, given.usable) == ("npu", 8, False)
    assert run_slots(given, settings) == 1

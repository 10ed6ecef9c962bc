"""The driver and CANN, from files alone: each broken installation has its line, and its cure."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from broken_installations import path_with, write_cann, write_driver, write_program

from workspace.doctor import Request, cann, driver
from workspace.doctor.check import Answer
from workspace.errors import UserError

NPU = Request(device="npu")
RECORDED = Path(__file__).parents[1] / "devices" / "npu_smi"


def told(answer: Answer | None, status: str) -> str:
    """All that an answer says."""
    assert answer is not None
    assert answer.status == status, answer
    assert bool(answer.cure) == (status != "ok"), answer
    return f"{answer.value} | {answer.cure}"


def test_a_whole_driver_is_ok(tmp_path: Path) -> None:
    root = write_driver(tmp_path)
    assert told(driver.driver(NPU, root), "ok").startswith("26.0.rc1, firmware 7.8.0.1.200")
    assert told(driver.devices(NPU, root), "ok").startswith("8: davinci 0, 1, 2, 3, 4, 5, 6, 7")


def test_an_old_driver_is_an_error(tmp_path: Path) -> None:
    assert "renew driver and firmware: CANN 9.1 runs on" in told(
        driver.driver(NPU, write_driver(tmp_path, "25.0.rc1.1")), "error"
    )


def test_a_machine_without_anything_of_ascend_is_not_looked_at(tmp_path: Path) -> None:
    anything = Request()
    checks = (driver.driver, driver.devices, driver.visible, driver.npu_smi, *cann.CHECKS.values())
    assert [check(anything, tmp_path) for check in checks] == [None] * len(checks)  # type: ignore[call-arg]


def test_npus_that_were_asked_for_are_missed(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    assert "driver/version.info | " in told(driver.driver(NPU, tmp_path), "error")
    assert told(driver.devices(NPU, tmp_path), "error").startswith("none in")
    assert told(cann.toolkit(NPU, tmp_path), "error").startswith("not installed | install CANN 9.1")


def test_a_container_needs_the_shared_device_files_too(tmp_path: Path) -> None:
    root = write_driver(tmp_path, devices=1)
    (root / "dev/devmm_svm").unlink()
    assert "devmm_svm | pass them to the container" in told(driver.devices(NPU, root), "error")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open everything")
def test_a_user_outside_the_group_is_told_which(tmp_path: Path) -> None:
    root = write_driver(tmp_path, devices=2)
    (root / "dev/davinci1").chmod(0)
    said = told(driver.devices(NPU, root), "error")
    assert (
        f"this user may not open {root / 'dev/davinci1'} | sudo usermod -aG {(root / 'dev/davinci1').group()}" in said
    )


@pytest.mark.parametrize(("listed", "status", "said"), [("0,1,7", "ok", "3 devices"), ("0,8", "warning", "1 devices")])
def test_visible_devices(listed: str, status: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", listed)
    assert f"ASCEND_RT_VISIBLE_DEVICES={listed}: {said}" in told(driver.visible(NPU, write_driver(tmp_path)), status)


def test_no_visible_device_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", "8")
    with pytest.raises(UserError, match="leaves no device"):
        driver.visible(NPU, write_driver(tmp_path))


@pytest.fixture
def npu_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], str]:
    """What the check says of an npu-smi of that source, which must have that status."""

    def said(source: str, status: str) -> str:
        write_program(tmp_path / "bin/npu-smi", source)
        monkeypatch.setenv("PATH", path_with(tmp_path / "bin"))
        return told(driver.npu_smi(NPU), status)

    return said


@pytest.mark.parametrize(
    ("recorded", "chips"), [("910b3-25.5.1", 2), ("910a-24.1.0", 8), ("910_93-25.2.0", 16), ("950pr-25.7.rc1", 7)]
)
def test_healthy_chips(recorded: str, chips: int, npu_smi: Callable[[str, str], str]) -> None:
    assert npu_smi(f"cat {RECORDED / recorded}.txt", "ok").startswith(f"{chips} chips, health OK {chips}")


def test_a_sick_chip_is_counted(tmp_path: Path, npu_smi: Callable[[str, str], str]) -> None:
    table = (RECORDED / "910b3-25.5.1.txt").read_text()
    (tmp_path / "table").write_text(table.replace("| OK      ", "| Critical", 1))
    assert npu_smi(f"cat {tmp_path / 'table'}", "warning").startswith("2 chips, health Critical 1, OK 1")


def test_an_npu_smi_without_its_driver_says_why(npu_smi: Callable[[str, str], str]) -> None:
    said = npu_smi(f"cat {RECORDED / 'no-driver.txt'}; exit 1", "error")
    assert "dcmi module initialize failed. ret is -8005 | the driver refuses this process" in said


def test_an_npu_smi_that_hangs_is_left(npu_smi: Callable[[str, str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "_NPU_SMI_SECONDS", 0.5)
    assert "no answer from `npu-smi info` within 0.5 s" in npu_smi("exec sleep 600", "error")


def test_an_npu_smi_that_cannot_be_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "npu-smi").write_bytes(b"\x7fELF of another architecture")
    (tmp_path / "npu-smi").chmod(0o755)
    monkeypatch.setenv("PATH", path_with(tmp_path))
    assert "npu-smi does not run: Exec format error" in told(driver.npu_smi(NPU), "error")


@pytest.fixture
def with_cann(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Installs a CANN under the root ``tmp_path`` and enters its environment."""

    def install(**of: str) -> Path:
        home = tmp_path / "usr/local/Ascend/cann-9.1.0"
        for name, value in write_cann(home, **of).items():
            monkeypatch.setenv(name, value)
        (home / "set_env.sh").touch()
        (home.parent / "cann").symlink_to(home)
        return home

    return install


@pytest.mark.parametrize(
    ("version", "status", "cure"),
    [
        ("9.1.0", "ok", ""),
        ("9.1.0-beta.3", "ok", ""),
        ("9.0.0", "warning", "better install 9.1"),
        ("8.3.RC1", "error", "install CANN 9.1"),
        ("10.0.0", "warning", "newer than CANN 9.1"),
    ],
)
def test_cann_beside_torch_npu(
    version: str, status: str, cure: str, with_cann: Callable[..., Path], tmp_path: Path
) -> None:
    home = with_cann(version=version)
    said = told(cann.toolkit(NPU, tmp_path), status)
    assert said.startswith(f"{version}, {home}")
    assert cure in said


def test_whole_cann(with_cann: Callable[..., Path], tmp_path: Path) -> None:
    home = with_cann()
    assert told(cann.operators(NPU, tmp_path), "ok") == f"{home / 'opp'} | "


def test_a_cann_for_another_processor(with_cann: Callable[..., Path], tmp_path: Path) -> None:
    with_cann(architecture="riscv64")
    assert "for riscv64 | install the CANN for" in told(cann.toolkit(NPU, tmp_path), "error")


def test_set_env_was_not_sourced(
    with_cann: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_cann()
    monkeypatch.delenv("ASCEND_HOME_PATH")
    said = told(cann.toolkit(NPU, tmp_path), "error")
    assert said == (
        "installed, but not in this shell: ASCEND_HOME_PATH is not set | "
        f"source {tmp_path / 'usr/local/Ascend/cann/set_env.sh'}"
    )


def test_home_leads_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASCEND_HOME_PATH", str(tmp_path / "gone"))
    assert f"ASCEND_HOME_PATH={tmp_path / 'gone'}: there is no such folder" in told(
        cann.toolkit(NPU, tmp_path), "error"
    )
    assert cann.operators(NPU, tmp_path) is None


def test_home_is_no_cann(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASCEND_HOME_PATH", str(tmp_path))
    assert "no ascend_toolkit_install.info in it" in told(cann.toolkit(NPU, tmp_path), "error")


def test_two_set_env_were_sourced(
    with_cann: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_cann()
    monkeypatch.setenv("ASCEND_TOOLKIT_HOME", "/usr/local/Ascend/ascend-toolkit/8.0.0")
    assert "two set_env.sh were sourced" in told(cann.toolkit(NPU, tmp_path), "error")


@pytest.mark.parametrize(
    ("missing", "said"),
    [("opp", "opp: there is no such folder"), ("runtime", "has no runtime"), ("compiler", "has no compiler")],
)
def test_parts_of_cann_are_missing(missing: str, said: str, with_cann: Callable[..., Path], tmp_path: Path) -> None:
    (with_cann() / missing).rmdir()
    assert said in told(cann.operators(NPU, tmp_path), "error")


def test_the_operators_path_is_not_set(
    with_cann: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_cann()
    monkeypatch.delenv("ASCEND_OPP_PATH")
    assert "ASCEND_OPP_PATH is not set" in told(cann.operators(NPU, tmp_path), "error")


def test_hccl_tells_what_is_set_and_what_runs_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HCCL_CONNECT_TIMEOUT", "1200")
    said = told(cann.hccl(NPU, tmp_path), "ok")
    assert "HCCL_CONNECT_TIMEOUT=1200, HCCL_DETERMINISTIC=true (set by runs)" in said


def test_a_rank_table_of_other_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "ranks.json"
    table.write_text(json.dumps({"version": "1.0", "status": "completed", "server_list": [{"device": []}]}))
    monkeypatch.setenv("RANK_TABLE_FILE", str(table))
    with pytest.raises(UserError, match="lists 0 devices, and the run has 8"):
        cann.hccl(NPU, write_driver(tmp_path))

import os
import signal
import textwrap
import time
from pathlib import Path

import pytest
from executor_waiting import PATIENCE, launch, read_pid, running, until

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]


SCRIPT = """
    import sys
    from pathlib import Path
    from workspace.execution import LocalExecutor

    def main_target(path):
        path.write_text(__name__)

    if __name__ == "__main__":
        folder = Path(sys.argv[1])
        import executor_targets as targets
        executor = LocalExecutor(workers=2, threads=1, preload=["preload_witness"])
        if sys.argv[2] == "interrupted start":
            try:
                executor.start("first", targets.write, (folder / "first", ""), folder / "log")
            except KeyboardInterrupt:
                (folder / "interrupted").touch()
                executor.start("second", targets.report_surroundings, (folder / "second",), folder / "log")
                sys.exit(executor.wait()[0].exitcode)
        if sys.argv[2] == "finish":
            with executor:
                executor.start("main", main_target, (folder / "main",), folder / "log")
                executor.start("module", targets.write, (folder / "module", "done"), folder / "log")
                codes = [end.exitcode for _ in range(2) for end in executor.wait()]
            sys.exit(sum(codes))
        for name in ("a", "b"):
            executor.start(name, targets.announce_and_sleep, (folder / name,), folder / "log")
        if sys.argv[2] == "forget":
            sys.exit(3)  # without close()
        (folder / "ready").touch()
        try:
            executor.wait()
        except KeyboardInterrupt:
            (folder / "interrupted").touch()
            if sys.stdin.readline():
                executor.close()
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    (tmp_path / "experiments").mkdir()
    path = tmp_path / "experiments" / "sweep.py"
    path.write_text(textwrap.dedent(SCRIPT))
    return path


@pytest.mark.parametrize("how", [["experiments/sweep.py"], ["-m", "experiments.sweep"]])
def test_scripts_and_modules_can_start_workers(how: list[str], script: Path, tmp_path: Path) -> None:
    with launch(*how, tmp_path, "finish", cwd=tmp_path) as process:
        assert process.wait(PATIENCE) == 0, (tmp_path / "log").read_text()
        assert process.communicate() == ("", "")
    assert (tmp_path / "main").read_text() == "__mp_main__"
    assert (tmp_path / "module").read_text() == "done"
    assert (tmp_path / "log").read_text() == ""


def test_no_worker_outlives_a_killed_orchestrator(script: Path, tmp_path: Path) -> None:
    with launch(script, tmp_path, "sleep", cwd=tmp_path) as process:
        pids = [read_pid(tmp_path / "a"), read_pid(tmp_path / "b")]
        assert all(running(pid) for pid in pids)
        process.kill()
        until(lambda: not any(running(pid) for pid in pids))


def test_an_orchestrator_that_forgets_to_close_neither_waits_nor_leaves_workers(script: Path, tmp_path: Path) -> None:
    with launch(script, tmp_path, "forget", cwd=tmp_path) as process:
        assert process.wait(PATIENCE) == 3
    assert not any(running(read_pid(path)) for path in (tmp_path / "a", tmp_path / "b") if path.exists())


def test_ctrl_c_reaches_the_orchestrator_alone(script: Path, tmp_path: Path) -> None:
    with launch(script, tmp_path, "sleep", cwd=tmp_path) as process:
        pids = [read_pid(tmp_path / "a"), read_pid(tmp_path / "b")]
        until((tmp_path / "ready").exists)
        os.killpg(process.pid, signal.SIGINT)
        until((tmp_path / "interrupted").exists)
        assert all(running(pid) for pid in pids)
        _, errors = process.communicate("close\n", timeout=PATIENCE)
        assert process.returncode == 0
        assert errors == ""
    assert not any(running(pid) for pid in pids)
    assert (tmp_path / "log").read_text() == ""


def test_ctrl_c_does_not_break_the_preload(script: Path, tmp_path: Path) -> None:
    (script.parent / "slow_library.py").write_text(
        f"""
import time
from pathlib import Path
Path({str(tmp_path / "importing")!r}).touch()
while not Path({str(tmp_path / "interrupted")!r}).exists():
    time.sleep(0.01)
from preload_witness import *
"""
    )
    script.write_text(script.read_text().replace('"preload_witness"', '"preload_witness", "slow_library"'))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(script.parent), prepend=os.pathsep)
        with launch(script, tmp_path, "interrupted start", cwd=tmp_path) as process:
            until((tmp_path / "importing").exists)
            time.sleep(0.2)  # the orchestrator gets as far as waiting for the import
            os.killpg(process.pid, signal.SIGINT)
            assert process.communicate(timeout=PATIENCE) == ("", "")
            assert process.returncode == 0
    assert eval((tmp_path / "second").read_text())["preloaded_by_parent"]


def test_a_preloaded_module_that_raises_is_a_clear_error(script: Path, tmp_path: Path) -> None:
    (script.parent / "broken_library.py").write_text("raise RuntimeError('broken on purpose')")
    script.write_text(script.read_text().replace("preload_witness", "broken_library"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(script.parent), prepend=os.pathsep)
        with launch(script, tmp_path, "finish", cwd=tmp_path) as process:
            _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "RuntimeError: broken on purpose" in errors
    assert "UserError: cannot start workers: the process that imports broken_library for them died" in errors

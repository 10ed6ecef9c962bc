"""Scripts that start a Ray cluster of their machine alone, or join one."""

import os
import signal
import textwrap
from pathlib import Path

import psutil
import pytest
from executor_waiting import PATIENCE, launch, read_pid, running, until

pytest.importorskip("ray", reason="Ray comes with the extra `cluster`")

from pretended_cluster import PretendedCluster

SCRIPT = """
    import signal
    import sys
    from pathlib import Path
    from workspace.execution import RayExecutor
    import executor_targets as targets

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as the command line does
    folder = Path(sys.argv[1])
    address = dict(enumerate(sys.argv)).get(2)
    executor = RayExecutor(kind="cpu", devices=1, threads=1, work_dir=folder, workers=1, address=address)
    executor.start("a", targets.announce_and_sleep, (folder / "a",), folder / "log")
    while not (folder / "a").exists():
        executor.wait(0.05)
    for name in ("first", "second"):
        try:
            (folder / name).touch()
            executor.wait()
        except KeyboardInterrupt:
            (folder / f"{name}-heard").touch()
            sys.stdin.readline()
    executor.close()
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "sweep.py"
    path.write_text(textwrap.dedent(SCRIPT))
    return path


def test_signals_reach_the_orchestrator_alone_and_nobody_else_reaches_the_cluster(script: Path, tmp_path: Path) -> None:
    with launch(script, tmp_path, cwd=tmp_path) as process:
        pid = read_pid(tmp_path / "a")
        until((tmp_path / "first").exists)
        cluster = psutil.Process(process.pid).children(recursive=True)
        listening = {
            connection.laddr.ip
            for part in cluster
            for connection in part.net_connections()
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
        assert listening
        os.killpg(process.pid, signal.SIGINT)
        until((tmp_path / "first-heard").exists)
        assert running(pid)
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
        until((tmp_path / "second").exists)  # it waits again: a signal before that would end the script
        process.send_signal(signal.SIGTERM)
        until((tmp_path / "second-heard").exists)
        assert running(pid)
        assert process.communicate("\n", timeout=PATIENCE) == ("", "")
        assert process.returncode == 0
    assert not running(pid)
    _, left = psutil.wait_procs(cluster, timeout=PATIENCE)
    assert not left
    assert (tmp_path / "log").read_text() == ""


def test_no_job_outlives_a_killed_orchestrator(cluster: PretendedCluster, script: Path, tmp_path: Path) -> None:
    with launch(script, tmp_path, cluster.address, cwd=tmp_path) as process:
        pid = read_pid(tmp_path / "a")
        process.kill()
        until(lambda: not running(pid))

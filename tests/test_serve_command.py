"""``python -m workspace serve``: both pages over the stores of a work folder, until it is stopped."""

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest
from real_servers import free_port

SERVE = (sys.executable, "-m", "workspace", "serve")


def refused(*arguments: object) -> str:
    done = subprocess.run([*SERVE, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    return line


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "nowhere: no such folder" in refused("--work-dir", tmp_path / "nowhere")


def test_a_store_that_is_none_is_said_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "mlflow").mkdir()
    (tmp_path / "mlflow" / "mlflow.db").write_text("groceries" * 1000)
    line = refused("--work-dir", tmp_path, "--port", free_port(), "--dashboard-port", free_port())
    assert "mlflow.db cannot be used: " in line
    assert "file is not a database" in line


@pytest.mark.parametrize("option", ["--port", "--dashboard-port"])
def test_a_port_that_is_taken_is_said_in_a_line(option: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        other = "--dashboard-port" if option == "--port" else "--port"
        line = refused("--work-dir", tmp_path, option, port, other, free_port())
    assert f"{option} {port} of 127.0.0.1: Address already in use; choose another port" in line


def test_two_servers_on_one_port_are_refused(tmp_path: Path) -> None:
    port = free_port()
    assert "that is MLflow's" in refused("--work-dir", tmp_path, "--port", port, "--dashboard-port", port)


FAMILY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""
WATCH = """
import sys, time
from pathlib import Path
from workspace.commands.serve import Server, started
with started(Server("a family", sys.argv[1:4], 0, Path(sys.argv[4]))) as process:
    print(process.pid, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("last", [signal.SIGKILL, signal.SIGINT])
def test_nothing_that_was_started_outlives_it(last: signal.Signals, tmp_path: Path) -> None:
    log = tmp_path / "log"
    family = (sys.executable, "-c", FAMILY)
    with subprocess.Popen(
        [sys.executable, "-c", WATCH, *family, str(log)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        parent = psutil.Process(int(process.stdout.readline()))
        while not log.read_text():
            time.sleep(0.05)
        started = [parent, *parent.children(recursive=True)]
        assert int(log.read_text()) in [child.pid for child in started]
        process.send_signal(last)
    _, left = psutil.wait_procs(started, timeout=30)
    assert [one for one in left if one.status() != psutil.STATUS_ZOMBIE] == []


@pytest.mark.slow
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_both_pages_answer_until_ctrl_c(host: str, tmp_path: Path) -> None:
    ports = free_port(), free_port()
    options = ["--work-dir", str(tmp_path), "--host", host, "--port", str(ports[0]), "--dashboard-port", str(ports[1])]
    process = subprocess.Popen([*SERVE, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    said = [process.stdout.readline() for _ in range(3)]
    assert said == [
        f"runs:    http://{host}:{ports[0]}\n",
        f"studies: http://{host}:{ports[1]}\n",
        "Ctrl-C ends both\n",
    ]
    assert get(ports[0], "health") == "OK"
    assert json.loads(get(ports[1], "api/studies")) == {"study_summaries": []}
    process.send_signal(signal.SIGINT)
    _, warnings = process.communicate(timeout=60)
    assert process.returncode == 0
    assert ("warning: --host 0.0.0.0: neither page asks for a password" in warnings) == (host == "0.0.0.0")
    assert "Traceback" not in warnings
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)


def get(port: int, path: str) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}/{path}", timeout=30) as answer:
        return str(answer.read().decode())

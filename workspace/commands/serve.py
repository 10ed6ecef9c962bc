"""``serve``: MLflow's and Optuna's pages over the stores of a work folder."""

import ipaddress
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import click

from workspace.cli import reporting_errors
from workspace.errors import UserError

_START_SECONDS = 120.0
_STOP_SECONDS = 10
_GUARD = f"read -r nothing; trap '' TERM; kill -TERM 0; sleep {_STOP_SECONDS}; kill -KILL 0"
"""For a shell: waits for the end of the one process that could write to it, and ends its group."""


@dataclass(frozen=True)
class Server:
    """A program that answers on a port; what it says goes to a file."""

    name: str
    command: Sequence[str]
    port: int
    log: Path


@click.command()
@click.option("--work-dir", type=click.Path(path_type=Path), default=Path("work"), show_default=True)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; another than this machine's own opens the stores to whoever reaches it.",
)
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True, help="Of MLflow.")
@click.option(
    "--dashboard-port", type=click.IntRange(1, 65535), default=8080, show_default=True, help="Of optuna-dashboard."
)
def serve(work_dir: Path, host: str, port: int, dashboard_port: int) -> None:
    """Show the runs in MLflow and the studies in optuna-dashboard, until Ctrl-C."""
    with reporting_errors():
        from workspace.search.storage import default_url, open_storage
        from workspace.tracking.store import connect, default_uri, explained

        if not work_dir.is_dir():
            raise UserError(f"--work-dir {work_dir}: no such folder; nothing was played there")
        for option, wanted in (("--port", port), ("--dashboard-port", dashboard_port)):
            _check_free(host, wanted, option)
        if port == dashboard_port:
            raise UserError(f"--dashboard-port {port}: that is MLflow's; choose another")
        if not _is_loopback(host):
            click.echo(
                f"warning: --host {host}: neither page asks for a password; whoever reaches this machine can read, "
                "change and delete runs and studies",
                err=True,
            )
        (work_dir / "mlflow").mkdir(exist_ok=True)
        logs = work_dir / "serve"
        logs.mkdir(exist_ok=True)
        uri, url = default_uri(work_dir), default_url(work_dir)
        with explained(uri):  # makes a store that is not there yet, and keeps telemetry out of what is started here
            connect(uri)
        open_storage(url)
        address = ("--host", host, "--port")
        runs = (sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, *address, str(port))
        artifacts = ("--artifacts-destination", str(work_dir.resolve() / "mlflow" / "artifacts"))
        studies = (str(Path(sys.executable).with_name("optuna-dashboard")), url, *address, str(dashboard_port))
        servers = (
            Server("MLflow", (*runs, *artifacts, "--workers", "1"), port, logs / "mlflow.log"),
            Server("optuna-dashboard", studies, dashboard_port, logs / "optuna-dashboard.log"),
        )
        with started(servers[0]) as mlflow, started(servers[1]) as dashboard, suppress(KeyboardInterrupt):
            processes = dict(zip(servers, (mlflow, dashboard), strict=True))
            for server, process in processes.items():
                _await_answer(host, server, process)
            for label, server in zip(("runs:   ", "studies:"), servers, strict=True):
                click.echo(f"{label} http://{_shown(host)}:{server.port}")
            click.echo("Ctrl-C ends both")
            while True:
                for server, process in processes.items():
                    _check_alive(server, process)
                time.sleep(0.5)


@contextmanager
def started(server: Server) -> Iterator[subprocess.Popen[bytes]]:
    """The program, which is ended with all that it started on leaving, and also when this process is killed."""
    env = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # workers for evaluating language models
    with server.log.open("wb") as log, _guarded_group() as group:
        process = subprocess.Popen(
            server.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, process_group=group
        )
        try:
            yield process
        finally:
            os.killpg(group, signal.SIGTERM)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(group, signal.SIGKILL)
                process.wait()


@contextmanager
def _guarded_group() -> Iterator[int]:
    """A process group that is gone on leaving, and soon after this process however that ends.

    A signal at the parent's death (prctl(2)) would reach a program alone, and not what it started in turn.
    """
    with subprocess.Popen(["sh", "-c", _GUARD], stdin=subprocess.PIPE, process_group=0) as guard:
        try:
            yield guard.pid
        finally:
            os.killpg(guard.pid, signal.SIGKILL)


def _await_answer(host: str, server: Server, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        _check_alive(server, process)
        with suppress(OSError), socket.create_connection((_reachable(host), server.port), timeout=1):
            return
        time.sleep(0.2)
    raise UserError(f"{server.name} did not answer within {_START_SECONDS:.0f} s; its log is {server.log}")


def _check_alive(server: Server, process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is not None:
        raise UserError(f"{server.name} ended by itself (exit code {process.returncode}); its log is {server.log}")


def _check_free(host: str, port: int, option: str) -> None:
    """A server that found its port taken would say so in a traceback."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that was just left counts as free
            probe.bind((host, port))
    except socket.gaierror as error:
        raise UserError(f"--host {host}: {error.strerror}") from error
    except OSError as error:
        raise UserError(f"{option} {port} of {host}: {error.strerror}; choose another port") from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host

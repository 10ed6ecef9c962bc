"""Tracking servers that are of no use: nobody listens, every answer is an error, or none ever comes."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

Breakdown = Literal["refuses", "fails", "hangs"]


class _Failing(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(500)

    do_POST = do_PATCH = do_PUT = do_GET  # noqa: N815  http.server calls them so

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def broken_server(how: Breakdown) -> Iterator[str]:
    """URI of such a server, for as long as the context lasts."""
    if how == "fails":
        with ThreadingHTTPServer(("127.0.0.1", 0), _Failing) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield f"http://127.0.0.1:{server.server_port}"
            server.shutdown()
        return
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        if how == "hangs":
            bound.listen(64)  # connections are made, and nobody ever accepts them
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"

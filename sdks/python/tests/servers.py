"""Servers for the tests: the one that the environment names, one that is started for them, and ones that do what a server shouldn't."""

from __future__ import annotations

import os
import shutil
import socket
import socketserver
import subprocess
import tempfile
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[3]
_PROGRAM = _ROOT / "dist" / "server" / "main.js"
_NODE = _ROOT / "node_modules" / ".bin" / "node"
_READY_S = 60

OPERATOR_KEY = os.environ.get("STARGUS_TEST_OPERATOR_KEY") or "sgk_" + "test" * 12


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def can_start() -> bool:
    return _PROGRAM.exists() and _NODE.exists()


class StartedServer:
    """A server of this repository's, on an SQLite database of its own."""

    def __init__(self, **env: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = tempfile.mkdtemp(prefix="stargus-python-")
        self._env = env
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        own = {name: value for name, value in os.environ.items() if not name.startswith("STARGUS")}
        env = {
            **own, "STARGUS_HOST": "127.0.0.1", "STARGUS_PORT": str(self.port), "STARGUS_DATABASE_URL": f"sqlite:{self._folder}/data.sqlite", **self._env,
        }
        self._process = subprocess.Popen(
            [str(_NODE), str(_PROGRAM)], cwd=_ROOT, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until = time.monotonic() + _READY_S
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/v1", timeout=2):
                    return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError("The server doesn't start.") from None
                time.sleep(0.05)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


def new_pool() -> str:
    return f"p{uuid.uuid4().hex[:12]}"


class _Threads(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    daemon_threads = True


ABOUT = b'{"name":"stargus","version":"9.9.9","apiVersion":"v1"}'


def answer(body: bytes, kind: str = "application/json", status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


def events(*told: str) -> bytes:
    """The head of a stream that has no end, and these events."""
    return b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n" + "".join(told).encode()


@contextmanager
def bad_server(reply: Callable[[str], bytes | Iterator[bytes]]) -> Iterator[str]:
    """A server that answers a request line by what `reply` makes of it, and closes the connection then. Gives its URL."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            try:
                line = self.rfile.readline().decode()
                length = 0
                while (header := self.rfile.readline()) not in (b"\r\n", b""):
                    if header.lower().startswith(b"content-length:"):
                        length = int(header.split(b":")[1])
                self.rfile.read(length)
                told = reply(line)
                for piece in [told] if isinstance(told, bytes) else told:
                    self.wfile.write(piece)
                    self.wfile.flush()
            except OSError:
                return

    server = _Threads(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="bad-server", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def until(holds: Callable[[], object], seconds: float = 10.0) -> None:
    """Waits until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "It doesn't come to hold."
        time.sleep(0.01)

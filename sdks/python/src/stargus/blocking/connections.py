"""
The connections of the synchronous client: those of one pool are known from when they are begun, so that all can be ended at once, from any thread;
and an answer is limited in time as a whole, in however many pieces it comes.
"""

from __future__ import annotations

import errno
import http.client
import io
import os
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

#: While a connection is being made it is looked so often whether it is still wanted: not everywhere can that be ended from another thread.
_LOOK_EVERY = 0.1

#: What a connection that takes its time says at first; the last one is Windows'.
_UNDER_WAY = frozenset({errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EAGAIN, 10035})


class Connections:
    """
    The sockets of one pool, and the way to end all of them.

    A socket counts until it is really closed: where an answer ends with its connection, http.client closes that as soon as it has read the head, and
    the body is still read from the socket.
    """

    def __init__(self) -> None:
        # Reentrant, for a feed that is collected as garbage takes it wherever its thread is just then.
        self._lock = threading.RLock()
        self._open: set[socket.socket] = set()
        self.is_ended = False

    def __len__(self) -> int:
        with self._lock:
            self._prune()
            return len(self._open)

    def add(self, sock: socket.socket) -> None:
        with self._lock:
            self._prune()
            self._open.add(sock)
            if not self.is_ended:
                return
        _shut(sock)

    def _prune(self) -> None:
        self._open = {sock for sock in self._open if sock.fileno() != -1}

    def end(self) -> None:
        """Whatever reads from one of them, now or later, finds it broken."""
        with self._lock:
            self.is_ended = True
            self._prune()
            socks = list(self._open)
        for sock in socks:
            _shut(sock)


def _shut(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


class TimelyReader(io.RawIOBase):
    """Reads from a socket, and not beyond `until`; None: its own timeout counts, which is for each piece."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, until: float) -> None:
        self._raw = raw
        self._sock = sock
        self.until: float | None = until
        # The timeout of the socket was set just now.
        self._is_first = True

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self.until is not None and not self._is_first:
            left = self.until - time.monotonic()
            if left <= 0:
                raise TimeoutError("the answer took too long")
            self._sock.settimeout(left)
        self._is_first = False
        return self._raw.readinto(buffer)

    def each_within(self, seconds: float | None) -> None:
        """From here on the answer goes on for ever, and each piece of it comes within this time; None: within the same as before."""
        self.until = None
        if seconds is not None:
            self._sock.settimeout(seconds)

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
            super().close()


def dial(host: str, port: int, timeout: float, options: Sequence[Any], connections: Connections) -> socket.socket:
    """A connection to one of the addresses of a host. Raises OSError; TimeoutError when the time is over."""
    until = time.monotonic() + timeout
    failure = OSError("It has no address.")
    try:
        addresses = socket.getaddrinfo(host.strip("[]"), port, 0, socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError("That is no name of a host.") from error
    for family, kind, protocol, _, address in addresses:
        sock = socket.socket(family, kind, protocol)
        try:
            for option in options:
                sock.setsockopt(*option)
            sock.setblocking(False)
            _connected(sock, address, until, connections)
            sock.settimeout(timeout)
            return sock
        except BaseException as error:
            sock.close()
            if not isinstance(error, OSError) or isinstance(error, TimeoutError) or connections.is_ended:
                raise
            failure = error
    raise failure


def _connected(sock: socket.socket, address: Any, until: float, connections: Connections) -> None:
    code = sock.connect_ex(address)
    if code in _UNDER_WAY:
        with selectors.DefaultSelector() as selector:
            selector.register(sock, selectors.EVENT_WRITE)
            while not selector.select(min(_LOOK_EVERY, max(0.0, until - time.monotonic()))):
                if connections.is_ended:
                    raise OSError("The connection was ended.")
                if time.monotonic() >= until:
                    raise TimeoutError("It doesn't answer.")
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))


def make_pool(base: str, connections: Connections, size: int, ssl_context: ssl.SSLContext | None) -> HTTPConnectionPool:
    """A pool of connections to one server, all of which are known to `connections`."""
    parts = urlsplit(base)
    host = parts.hostname or ""
    is_secure = parts.scheme == "https"
    kind: type[HTTPConnection] = HTTPSConnection if is_secure else HTTPConnection

    class Known(kind):  # type: ignore[valid-type, misc]
        """Tells of its socket from when it has one."""

        #: Of the answer that is being read.
        reader: TimelyReader | None = None

        def connect(self) -> None:
            if connections.is_ended:
                raise urllib3.exceptions.NewConnectionError(self, "The connection was ended.")
            self._beneath: socket.socket | None = None
            try:
                super().connect()
            finally:
                if self._beneath is not None:
                    self._beneath.close()
            connections.add(self.sock)

        def _new_conn(self) -> socket.socket:
            try:
                sock = dial(self._dns_host, self.port, self.timeout, self.socket_options or (), connections)
            except socket.gaierror as error:
                raise urllib3.exceptions.NameResolutionError(self.host, self, error) from error
            except TimeoutError as error:
                raise urllib3.exceptions.ConnectTimeoutError(self, f"no connection in {self.timeout:g} s") from error
            except OSError as error:
                raise urllib3.exceptions.NewConnectionError(self, str(error)) from error
            if is_secure:
                # TLS takes the socket away, and gives another one only when all is agreed on.
                self._beneath = sock.dup()
                connections.add(self._beneath)
            return sock

        def response_class(self, sock: socket.socket, *args: Any, **named: Any) -> http.client.HTTPResponse:
            answer = http.client.HTTPResponse(sock, *args, **named)
            self.reader = TimelyReader(answer.fp.detach(), sock, time.monotonic() + self.timeout)
            answer.fp = io.BufferedReader(self.reader)
            return answer

    pool: HTTPConnectionPool
    if is_secure:
        options: dict[str, Any] = {"ssl_context": ssl_context} if ssl_context is not None else {}
        pool = HTTPSConnectionPool(host, parts.port, maxsize=size, block=size > 1, **options)
    else:
        pool = HTTPConnectionPool(host, parts.port, maxsize=size, block=size > 1)
    pool.ConnectionCls = Known
    return pool

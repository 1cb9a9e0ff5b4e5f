"""
The world of the synchronous client: threads, and connections of urllib3.

Every connection is known, so that closing the client, or one stream of it, ends whatever waits for it at once, from any thread.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import urlsplit

import urllib3
from urllib3.connectionpool import HTTPConnectionPool

from ..engine.ports import Job, Line, NoAnswer, Request, Response, Signal, Stopped, Stream
from ..errors import ProtocolError
from ..limits import ANSWER_BYTES_MAX, CONNECTIONS_MAX
from .connections import Connections, TimelyReader, make_pool

T = TypeVar("T")

#: An answer that says that it has at most so much is read at once; what is larger, or doesn't say, piece by piece.
_READ_AT_ONCE_MAX = 1024 * 1024
_PIECE_BYTES = 256 * 1024


def drive(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine whose waiting blocks: it never suspends."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    work.close()
    raise RuntimeError("A coroutine of the synchronous client waited for something of asyncio.")


class ThreadSignal:
    """An event of threads."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        self._event.set()

    def clear(self) -> None:
        self._event.clear()

    def is_set(self) -> bool:
        return self._event.is_set()

    async def wait(self, timeout: float | None = None) -> bool:
        return self._event.wait(timeout)


class ThreadMutex:
    """A lock of threads, entered like one of asyncio."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    async def __aenter__(self) -> None:
        self._lock.acquire()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._lock.release()


class ThreadJob:
    """A thread."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        self._thread = threading.Thread(target=lambda: drive(work()), name=f"stargus-{name}", daemon=True)
        self._thread.start()

    async def join(self) -> None:
        if self._thread is not threading.current_thread():
            self._thread.join()

    def cancel(self) -> None:
        """A thread can't be interrupted: its line is aborted, and its signals set."""


class ThreadStream:
    """An answer whose body is read as it comes."""

    def __init__(self, response: urllib3.BaseHTTPResponse, line: ThreadLine) -> None:
        #: What the generated call hands over.
        self.response = response
        self.status = response.status
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in response.headers.items()}
        self._line = line
        self._timeout: float | None = None
        self._reader: TimelyReader | None = getattr(response.connection, "reader", None)

    def unread(self) -> urllib3.BaseHTTPResponse:
        """The answer itself, for who reads it for as long as they want."""
        if self._reader is not None:
            self._reader.each_within(None)
        return self.response

    async def read(self, timeout: float) -> bytes:
        if timeout != self._timeout and self._reader is not None:
            self._timeout = timeout
            self._reader.each_within(timeout)
        try:
            return self._read()
        except (urllib3.exceptions.HTTPError, OSError, ValueError, AttributeError) as error:
            if self._line.is_aborted:
                raise Stopped from None
            is_late = isinstance(error, (urllib3.exceptions.TimeoutError, TimeoutError))
            raise NoAnswer("nothing came any more" if is_late else f"the stream broke ({error})", was_sent=True, is_late=is_late) from error

    def _read(self) -> bytes:
        data = self.response.read1(_PIECE_BYTES)
        if not data and self._line.is_aborted:
            raise Stopped
        return data

    async def rest(self, timeout: float) -> bytes:
        try:
            return _body_of(self.response)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise NoAnswer(f"the answer broke off ({error})", was_sent=True) from error

    async def close(self) -> None:
        _give_up(self.response)
        self._line.closed(self)


class ThreadLine:
    """A connection of its own for one stream at a time."""

    def __init__(self, runtime: ThreadRuntime) -> None:
        self._runtime = runtime
        self._connections = Connections()
        self._pool = make_pool(runtime.base, self._connections, 1, runtime.ssl_context)
        self._stream: ThreadStream | None = None
        self.is_aborted = False
        runtime.lines.add(self)

    async def open(self, request: Request, timeout: float) -> Stream:
        if self.is_aborted:
            raise Stopped
        try:
            response = _exchange(self._pool, self._runtime.prefix, request, timeout)
        except NoAnswer:
            if self.is_aborted:
                raise Stopped from None
            raise
        self._stream = ThreadStream(response, self)
        return self._stream

    def closed(self, stream: ThreadStream) -> None:
        if self._stream is stream:
            self._stream = None

    def abort(self) -> None:
        self.is_aborted = True
        self._connections.end()

    async def close(self) -> None:
        self.abort()
        if self._stream is not None:
            await self._stream.close()
        self._pool.close()
        self._runtime.lines.discard(self)

    def __len__(self) -> int:
        return len(self._connections)


class ThreadRuntime:
    """Of one client."""

    def __init__(self, base: str, ssl_context: ssl.SSLContext | None) -> None:
        self.base = base
        #: Where a proxy has the server at a path: what all of its paths begin with.
        self.prefix = urlsplit(base).path
        self.ssl_context = ssl_context
        self.closing: Signal = ThreadSignal()
        self.lines: set[ThreadLine] = set()
        self._connections = Connections()
        self._pool = make_pool(base, self._connections, CONNECTIONS_MAX, ssl_context)
        self.now: Callable[[], float] = time.monotonic

    @property
    def sockets(self) -> int:
        """Connections that are open."""
        return len(self._connections) + sum(len(line) for line in list(self.lines))

    def signal(self) -> Signal:
        return ThreadSignal()

    def mutex(self) -> ThreadMutex:
        return ThreadMutex()

    def line(self) -> Line:
        return ThreadLine(self)

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> Job:
        return ThreadJob(work, name)

    def from_elsewhere(self, work: Callable[[], None]) -> None:
        work()

    def result(self, future: Future[T]) -> Awaitable[T]:
        async def wait() -> T:
            return future.result()

        return wait()

    async def send(self, request: Request, timeout: float) -> Response:
        pool, prefix = self._pool, self.prefix
        if request.base is not None and request.base != self.base:
            pool, prefix = make_pool(request.base, self._connections, 1, None), urlsplit(request.base).path
        try:
            response = _exchange(pool, prefix, request, timeout)
            try:
                body = _body_of(response)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                is_late = isinstance(error, (urllib3.exceptions.TimeoutError, TimeoutError))
                raise NoAnswer(f"the answer broke off ({error})", was_sent=True, is_late=is_late) from error
            return Response(response.status, {name.lower(): value for name, value in response.headers.items()}, body)
        finally:
            if pool is not self._pool:
                pool.close()

    def interrupt(self) -> None:
        self._connections.end()

    async def close(self) -> None:
        self.closing.set()
        self._connections.end()
        for line in list(self.lines):
            await line.close()
        self._pool.close()


def _exchange(pool: HTTPConnectionPool, prefix: str, request: Request, timeout: float) -> urllib3.BaseHTTPResponse:
    try:
        return pool.urlopen(
            request.method,
            prefix + request.path,
            body=request.body,
            headers=request.headers,
            retries=False,
            redirect=False,
            timeout=urllib3.Timeout(total=timeout),
            pool_timeout=timeout,  # type: ignore[arg-type]
            preload_content=False,
            decode_content=True,
        )
    except urllib3.exceptions.NewConnectionError as error:
        # Of this kind are refusals too, although it is one of urllib3's timeouts.
        raise NoAnswer(_reason(error), was_sent=False) from error
    except (urllib3.exceptions.ConnectTimeoutError, urllib3.exceptions.EmptyPoolError) as error:
        raise NoAnswer(_reason(error), was_sent=False, is_late=True) from error
    except urllib3.exceptions.ClosedPoolError as error:
        raise NoAnswer("the client was closed", was_sent=False) from error
    except (urllib3.exceptions.TimeoutError, TimeoutError) as error:
        raise NoAnswer(_reason(error), was_sent=True, is_late=True) from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise NoAnswer(_reason(error), was_sent=True) from error


def _reason(error: BaseException) -> str:
    cause = error.__cause__ or error.__context__
    return str(cause) if isinstance(cause, OSError) and str(cause) else str(error)


def _body_of(response: urllib3.BaseHTTPResponse) -> bytes:
    length = response.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and len(length) < 16 and int(length) <= _READ_AT_ONCE_MAX and "content-encoding" not in response.headers:
        return response.read()
    pieces: list[bytes] = []
    size = 0
    while piece := response.read(_PIECE_BYTES):
        size += len(piece)
        if size > ANSWER_BYTES_MAX:
            _give_up(response)
            raise ProtocolError(f"The answer has more than {ANSWER_BYTES_MAX} bytes.")
        pieces.append(piece)
    return b"".join(pieces)


def _give_up(response: urllib3.BaseHTTPResponse) -> None:
    """Closes the connection, and gives its place in the pool back."""
    response.close()
    response.release_conn()

"""
The world of the asyncio client: tasks, and connections of aiohttp.

Requests share connections that are kept; a stream has one of its own. Whatever waits is woken when its line is aborted or the client is closed.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import Future
from typing import Any, TypeVar

import aiohttp
from yarl import URL

from ..engine.ports import Job, Line, NoAnswer, Request, Response, Signal, Stopped, Stream
from ..errors import ProtocolError
from ..limits import ANSWER_BYTES_MAX, CONNECTIONS_MAX

T = TypeVar("T")

#: An answer that says that it has at most so much is read at once; what is larger, or doesn't say, piece by piece.
_READ_AT_ONCE_MAX = 1024 * 1024
_PIECE_BYTES = 256 * 1024

#: What aiohttp would add of itself. Answers aren't compressed: what is read from a connection couldn't be bounded.
_SKIPPED = frozenset({"User-Agent", "Content-Type", "Accept-Encoding", "Accept"})


class TaskSignal:
    """Something that happens, and is waited for. Used by tasks of one loop."""

    __slots__ = ("_is_set", "_waiting")

    def __init__(self) -> None:
        self._is_set = False
        self._waiting: set[asyncio.Future[bool]] = set()

    def set(self) -> None:
        self._is_set = True
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(True)
        self._waiting.clear()

    def clear(self) -> None:
        self._is_set = False

    def is_set(self) -> bool:
        return self._is_set

    async def wait(self, timeout: float | None = None) -> bool:
        if self._is_set:
            return True
        if timeout is not None and timeout <= 0:
            # Whoever asks in a loop lets others go on.
            await asyncio.sleep(0)
            return self._is_set
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[bool] = loop.create_future()
        self._waiting.add(waiting)
        timer = None if timeout is None else loop.call_later(timeout, _lapse, waiting)
        try:
            return await waiting or self._is_set
        finally:
            self._waiting.discard(waiting)
            if timer is not None:
                timer.cancel()


def _lapse(waiting: asyncio.Future[bool]) -> None:
    if not waiting.done():
        waiting.set_result(False)


class TaskJob:
    """A task."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        self._task = asyncio.get_running_loop().create_task(work(), name=f"stargus-{name}")

    async def join(self) -> None:
        if self._task is not asyncio.current_task():
            await asyncio.wait({self._task})
            if not self._task.cancelled():
                # What it failed by was told by itself.
                self._task.exception()

    def cancel(self) -> None:
        """Interrupts it."""
        if self._task is not asyncio.current_task():
            self._task.cancel()


class TaskStream:
    """An answer whose body is read as it comes."""

    def __init__(self, response: aiohttp.ClientResponse, line: TaskLine) -> None:
        #: What the generated call hands over.
        self.response = response
        self.status = response.status
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in response.headers.items()}
        self._line = line
        self._reading: asyncio.Future[bytes] | None = None

    async def read(self, timeout: float) -> bytes:
        # Who is cancelled leaves the reading to whoever reads next: what has come just then isn't lost.
        reading = self._reading = self._reading or asyncio.ensure_future(self.response.content.readany())
        await self._line.unless_aborted_first(reading, timeout)
        self._reading = None
        try:
            return reading.result()
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NoAnswer(f"the stream broke ({error})", was_sent=True) from error

    async def rest(self, timeout: float) -> bytes:
        try:
            return await self._line.unless_aborted(_body_of(self.response), timeout)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NoAnswer(f"the answer broke off ({error})", was_sent=True) from error

    async def close(self) -> None:
        self.response.close()
        reading, self._reading = self._reading, None
        if reading is not None:
            await _cancelled(reading)


class TaskLine:
    """A connection of its own for one stream at a time."""

    def __init__(self, runtime: TaskRuntime) -> None:
        self._runtime = runtime
        self._session: aiohttp.ClientSession | None = None
        self._stream: TaskStream | None = None
        self._aborted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        runtime.lines.add(self)

    async def open(self, request: Request, timeout: float) -> Stream:
        if self._aborted.done():
            raise Stopped
        if self._session is None:
            self._session = self._runtime.make_session()
        exchange = _exchange(self._session, self._runtime.base, request, aiohttp.ClientTimeout(total=None))
        response = await self.unless_aborted(exchange, timeout)
        self._stream = TaskStream(response, self)
        return self._stream

    async def unless_aborted(self, work: Coroutine[Any, Any, T], timeout: float | None) -> T:
        """Does it; raises Stopped when the line is aborted, NoAnswer when the time is over."""
        if self._aborted.done():
            work.close()
            raise Stopped
        task = asyncio.ensure_future(work)
        try:
            await self.unless_aborted_first(task, timeout)
        except BaseException:
            await _cancelled(task)
            raise
        return task.result()

    async def unless_aborted_first(self, task: asyncio.Future[Any], timeout: float | None) -> None:
        """As `unless_aborted`, of what is being done already; it goes on where this is cancelled."""
        both: set[asyncio.Future[Any]] = {task, self._aborted}
        await asyncio.wait(both, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if self._aborted.done():
            raise Stopped
        if not task.done():
            raise NoAnswer("nothing came any more", was_sent=True, is_late=True)

    def abort(self) -> None:
        if not self._aborted.done():
            self._aborted.set_result(None)

    async def close(self) -> None:
        self.abort()
        self._runtime.lines.discard(self)
        if self._stream is not None:
            await self._stream.close()
        if self._session is not None:
            await self._session.close()


async def _cancelled(task: asyncio.Future[Any]) -> None:
    """Interrupts it, and waits until it has ended; what it opened meanwhile is closed."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled() and task.exception() is None and isinstance(task.result(), aiohttp.ClientResponse):
        task.result().close()


class TaskRuntime:
    """Of one client, in one loop."""

    def __init__(self, base: str, ssl_context: ssl.SSLContext | None) -> None:
        self.base = base
        self.ssl_context = ssl_context
        self.closing: Signal = TaskSignal()
        self.lines: set[TaskLine] = set()
        self.now: Callable[[], float] = time.monotonic
        self._loop = asyncio.get_running_loop()
        self._session = self.make_session()
        # Not by aiohttp's own limit, which cancels who waits for a connection when it is closed.
        self._places = asyncio.Semaphore(CONNECTIONS_MAX)
        self._closed_session: asyncio.Task[None] | None = None
        self._timeouts: dict[float, aiohttp.ClientTimeout] = {}

    def make_session(self) -> aiohttp.ClientSession:
        """Connections without a bound, without cookies, by what the URL says only."""
        connector = aiohttp.TCPConnector(limit=0, ssl=self.ssl_context if self.ssl_context is not None else True)
        return aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False, auto_decompress=False, skip_auto_headers=_SKIPPED,
            read_bufsize=_PIECE_BYTES,
        )

    def signal(self) -> Signal:
        return TaskSignal()

    def mutex(self) -> asyncio.Lock:
        return asyncio.Lock()

    def line(self) -> Line:
        return TaskLine(self)

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> Job:
        return TaskJob(work, name)

    def from_elsewhere(self, work: Callable[[], None]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(work)

    def result(self, future: Future[T]) -> Awaitable[T]:
        # Shielded, for who gives up waiting must not have the work itself given up.
        return asyncio.shield(asyncio.wrap_future(future))

    async def send(self, request: Request, timeout: float) -> Response:
        limit = self._timeouts.get(timeout)
        if limit is None:
            limit = aiohttp.ClientTimeout(total=timeout)
            if len(self._timeouts) < 64:
                self._timeouts[timeout] = limit
        async with self._places:
            if self.closing.is_set():
                raise NoAnswer("the client was closed", was_sent=False)
            response = await _exchange(self._session, self.base, request, limit)
            try:
                body = await _body_of(response)
            except asyncio.TimeoutError as error:
                raise NoAnswer("the answer took too long", was_sent=True, is_late=True) from error
            except (aiohttp.ClientError, OSError, ValueError) as error:
                raise NoAnswer(f"the answer broke off ({error})", was_sent=True) from error
            finally:
                # Of what was read whole the connection is kept.
                if response.content.at_eof():
                    response.release()
                else:
                    response.close()
            return Response(response.status, {name.lower(): value for name, value in response.headers.items()}, body)

    def interrupt(self) -> None:
        if self._closed_session is None:
            # Closing the connections ends what is read from them.
            self._closed_session = self._loop.create_task(self._session.close(), name="stargus-close")

    async def close(self) -> None:
        self.closing.set()
        for line in list(self.lines):
            await line.close()
        self.interrupt()
        assert self._closed_session is not None
        await asyncio.wait({self._closed_session})


async def _exchange(session: aiohttp.ClientSession, base: str, request: Request, timeout: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
    try:
        return await session.request(
            request.method, URL((request.base or base) + request.path, encoded=True), data=request.body, headers=request.headers,
            allow_redirects=False, timeout=timeout,
        )
    except (aiohttp.ConnectionTimeoutError, aiohttp.ServerTimeoutError, asyncio.TimeoutError) as error:
        raise NoAnswer("no answer", was_sent=not isinstance(error, aiohttp.ConnectionTimeoutError), is_late=True) from error
    except aiohttp.ClientConnectorError as error:
        raise NoAnswer(str(error.os_error.strerror or error), was_sent=False) from error
    except (aiohttp.ClientError, OSError, ValueError, RuntimeError) as error:
        raise NoAnswer(str(error) or type(error).__name__, was_sent=True) from error


async def _body_of(response: aiohttp.ClientResponse) -> bytes:
    length = response.content_length
    if length is not None and length <= _READ_AT_ONCE_MAX:
        return await response.read()
    pieces: list[bytes] = []
    size = 0
    while piece := await response.content.readany():
        size += len(piece)
        if size > ANSWER_BYTES_MAX:
            raise ProtocolError(f"The answer has more than {ANSWER_BYTES_MAX} bytes.")
        pieces.append(piece)
    return b"".join(pieces)

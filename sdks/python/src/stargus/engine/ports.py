"""What the engine needs of the world: connections, time, waiting, and work beside. One implementation is threads', one asyncio's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class Request:
    """One request. `path` begins with `/` and has its query; `base` names another server than the client's."""

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    base: str | None = None


@dataclass(slots=True)
class Response:
    """An answer that was read. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class NoAnswer(Exception):
    """Nothing came back. `was_sent`: the server may have got the request. `is_late`: the time for it was over."""

    def __init__(self, message: str, *, was_sent: bool, is_late: bool = False) -> None:
        super().__init__(message)
        self.was_sent = was_sent
        self.is_late = is_late


class Stopped(Exception):
    """The line was aborted: whoever reads from it ends."""


class Signal(Protocol):
    """Something that happens, and is waited for."""

    def set(self) -> None: ...

    def clear(self) -> None: ...

    def is_set(self) -> bool: ...

    async def wait(self, timeout: float | None = None) -> bool:
        """Whether it is set, at once or within `timeout` seconds."""
        ...


class Stream(Protocol):
    """An answer whose body is read as it comes."""

    status: int
    headers: Mapping[str, str]

    async def read(self, timeout: float) -> bytes:
        """
        What has come; empty at the end.

        Raises NoAnswer when the connection broke or nothing came in time, Stopped when the line was aborted.
        """
        ...

    async def rest(self, timeout: float) -> bytes:
        """All of it, up to a bound, within the time that began when it was opened, or `timeout` seconds at most. Raises NoAnswer."""
        ...

    async def close(self) -> None: ...


class Line(Protocol):
    """A place for one stream at a time, with a connection of its own."""

    async def open(self, request: Request, timeout: float) -> Stream:
        """Raises NoAnswer, or Stopped when the line was aborted."""
        ...

    def abort(self) -> None:
        """Ends what is being opened or read, from wherever it is called; the line is of no use from then on."""
        ...

    async def close(self) -> None: ...


class Job(Protocol):
    """Work beside: a thread, or a task."""

    async def join(self) -> None:
        """Waits for its end; not when it is the caller's own."""
        ...

    def cancel(self) -> None:
        """Interrupts it, where that can be done."""
        ...


class Runtime(Protocol):
    """The world."""

    #: Set when the client is closed: whatever waits ends.
    closing: Signal

    def now(self) -> float:
        """The monotonic clock, in seconds."""
        ...

    def signal(self) -> Signal: ...

    def mutex(self) -> AbstractAsyncContextManager[Any]: ...

    def line(self) -> Line: ...

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> Job: ...

    def from_elsewhere(self, work: Callable[[], None]) -> None:
        """Does something that a thread of the library's own asks for where the client's callbacks are called."""
        ...

    def result(self, future: Future[T]) -> Awaitable[T]:
        """What a thread of the library's own comes to."""
        ...

    async def send(self, request: Request, timeout: float) -> Response:
        """One attempt. Raises NoAnswer."""
        ...

    def interrupt(self) -> None:
        """Ends all requests that are under way: the client is being closed."""
        ...

    async def close(self) -> None: ...


class StreamCall(Protocol):
    """Opens a stream: the generated call that belongs to it, bound to its parameters."""

    def __call__(self, line: Line, parameters: Mapping[str, Any]) -> Awaitable[Stream]: ...


class StreamCalls(Protocol):
    """The generated calls that open streams. Each raises as `Pipeline.open` does."""

    def attach(self, line: Line, pool: str, collection: str, parameters: Mapping[str, Any]) -> Awaitable[Stream]: ...

    def changes(self, line: Line, pool: str, parameters: Mapping[str, Any]) -> Awaitable[Stream]: ...

    def session(self, line: Line, pool: str, session: str, parameters: Mapping[str, Any]) -> Awaitable[Stream]: ...

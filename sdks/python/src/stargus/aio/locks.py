"""A lock that is held, for asyncio: when it is lost, the body of its block is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from types import TracebackType
from typing import Any, TypeVar

from ..engine.calls import Calls
from ..engine.held_locks import HeldLock
from ..engine.ports import Signal
from ..errors import LockLost
from .writing import Writes

T = TypeVar("T")


class Lost:
    """Is set when the lock is lost."""

    def __init__(self, signal: Signal) -> None:
        self._signal = signal

    def is_set(self) -> bool:
        """Whether it is lost, as far as the client knows."""
        return self._signal.is_set()

    async def wait(self) -> None:
        """Waits for the loss."""
        await self._signal.wait()


class Lock(Writes):
    """A lock that is held. What is written through it carries its proof: after it was lost each write raises LockLost."""

    def __init__(self, calls: Calls, held: HeldLock) -> None:
        super().__init__(calls)
        self._held = held
        #: Set when it is lost.
        self.lost = Lost(held.lost)

    @property
    def id(self) -> str:
        """Its name on the server."""
        return self._held.lock

    @property
    def fence(self) -> int:
        """The rising number that was given with the grant."""
        return self._held.fence

    def check(self) -> None:
        """Raises LockLost once it was lost, as far as the client knows."""
        self._held.check()

    async def release(self) -> None:
        """Gives it back. May be called more than once, and after it was lost."""
        await self._held.release()

    def _proof(self) -> str | None:
        return self._held.proof

    def _batch_proof(self) -> list[Mapping[str, Any]] | None:
        return self._held.proof_of_batch

    async def _send(self, send: Callable[[], Awaitable[T]]) -> T:
        return await self._held.writing(send)


class Locking:
    """
    What `client.lock` answers: `async with` it, and the lock is given back when the block ends; or await it, and release it yourself.

    When the lock is lost, the task is cancelled within the block, and LockLost raised from it, as `asyncio.timeout` does it. Who cancels the task
    for another reason still does.
    """

    def __init__(self, calls: Calls, ask: Callable[[], Coroutine[Any, Any, HeldLock]]) -> None:
        self._calls = calls
        self._ask = ask
        self._lock: HeldLock | None = None
        self._task: asyncio.Task[Any] | None = None
        self._cancelled_before = 0
        self._has_cancelled = False

    def __await__(self) -> Generator[Any, None, Lock]:
        return self._acquired().__await__()

    async def _acquired(self) -> Lock:
        return Lock(self._calls, await self._ask())

    async def __aenter__(self) -> Lock:
        if self._lock is not None:
            raise RuntimeError("Ask the client for another lock: this one was entered before.")
        held = self._lock = await self._ask()
        self._task = asyncio.current_task()
        self._cancelled_before = _cancelling(self._task)
        held.on_lost = self._cancel
        if held.error is not None:
            self._cancel()
        return Lock(self._calls, held)

    def _cancel(self) -> None:
        if self._task is not None and not self._task.done():
            self._has_cancelled = True
            self._task.cancel()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        held = self._lock
        assert held is not None
        held.on_lost = None
        was_released = held.is_released
        task, self._task = self._task, None
        is_cancelled = kind is not None and issubclass(kind, asyncio.CancelledError)
        if self._has_cancelled:
            if not is_cancelled:
                # The body had ended before the cancellation came: it comes now.
                try:
                    await asyncio.sleep(0)
                except asyncio.CancelledError:
                    pass
            is_cancelled_by_others = _uncancel(task) > self._cancelled_before
            await held.release()
            if is_cancelled_by_others and kind is None:
                raise asyncio.CancelledError
            if not is_cancelled_by_others and (kind is None or is_cancelled):
                raise _lost(held) from error
            return
        await held.release()
        if kind is None and not was_released:
            held.check()


def _lost(held: HeldLock) -> LockLost:
    try:
        held.check()
    except LockLost as error:
        return error
    return LockLost("The lock was lost.")


def _cancelling(task: asyncio.Task[Any] | None) -> int:
    # Python 3.10 doesn't count.
    return task.cancelling() if task is not None and hasattr(task, "cancelling") else 0


def _uncancel(task: asyncio.Task[Any] | None) -> int:
    return task.uncancel() if task is not None and hasattr(task, "uncancel") else 0

"""A lock that is held, for programs that wait."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from types import TracebackType
from typing import Any, TypeVar

from ..engine.calls import Calls
from ..engine.held_locks import HeldLock
from ..engine.ports import Signal
from .runtime import drive
from .writing import Writes

T = TypeVar("T")


class Lost:
    """Is set when the lock is lost."""

    def __init__(self, signal: Signal) -> None:
        self._signal = signal

    def is_set(self) -> bool:
        """Whether it is lost, as far as the client knows."""
        return self._signal.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Waits for the loss, for `timeout` seconds at most. Answers whether it is lost."""
        return drive(_wait(self._signal, timeout))


async def _wait(signal: Signal, timeout: float | None) -> bool:
    return await signal.wait(timeout)


class Lock(Writes):
    """
    A lock that is held; a context manager that gives it back. What is written through it carries its proof.

    A thread can't be interrupted, so a long body asks from time to time: by `check()`, which raises LockLost, or by `lost`. Every write through the lock
    raises LockLost after it was lost, and so does the end of the block, unless the body raised something else.
    """

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

    def release(self) -> None:
        """Gives it back. May be called more than once, and after it was lost."""
        drive(self._held.release())

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        was_released = self._held.is_released
        self.release()
        if kind is None and not was_released:
            self.check()

    def _proof(self) -> str | None:
        return self._held.proof

    def _batch_proof(self) -> list[Mapping[str, Any]] | None:
        return self._held.proof_of_batch

    def _send(self, send: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return drive(self._held.writing(send))

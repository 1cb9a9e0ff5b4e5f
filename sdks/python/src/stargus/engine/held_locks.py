"""
A lock that is held. What is written through it carries its proof, so the server refuses it after the lock was lost, whatever is believed here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import LockLost

if TYPE_CHECKING:
    from .locking import LockSession

T = TypeVar("T")


class HeldLock:
    """A lock that is held."""

    def __init__(self, session: LockSession, lock: str, fence: int) -> None:
        self._session = session
        self.lock = lock
        self.fence = fence
        #: Set when it is lost.
        self.lost = session.client.runtime.signal()
        self.error: LockLost | None = None
        self.is_released = False
        #: Told of the loss, at once.
        self.on_lost: Callable[[], None] | None = None

    @property
    def proof(self) -> str:
        """What writes carry."""
        return f"{self.lock};fence={self.fence}"

    @property
    def proof_of_batch(self) -> list[Mapping[str, Any]]:
        """What a batch carries."""
        return [{"lock": self.lock, "fence": self.fence}]

    def lose(self, error: LockLost) -> None:
        """It is known to be lost."""
        if self.error is not None or self.is_released:
            return
        self.error = error
        self.lost.set()
        if self.on_lost is not None:
            self.on_lost()

    def check(self) -> None:
        """Raises LockLost where it is known to be."""
        error = self.error
        if error is not None:
            raise LockLost(str(error), problem=error.problem, status=error.status)

    async def writing(self, send: Callable[[], Awaitable[T]]) -> T:
        """Sends a write with its proof, and learns from the answer."""
        self.check()
        try:
            return await send()
        except LockLost as error:
            self._session.forget(self.lock)
            self.lose(error)
            raise

    async def release(self) -> None:
        """Gives it back. May be called more than once, and after it was lost."""
        if self.is_released:
            return
        self.is_released = True
        self._session.forget(self.lock)
        if self.error is None:
            await self._session.give_back(self.lock)

"""The feed of commits, for asyncio."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import TracebackType

from ..engine.feeds import FeedEngine
from ..items import Commit


class Feed(AsyncIterator[Commit]):
    """The commits of a pool, one after the other, each once and in order. Close it when you leave its loop; it is an async context manager."""

    def __init__(self, engine: FeedEngine) -> None:
        self._engine = engine

    def __aiter__(self) -> Feed:
        return self

    async def __anext__(self) -> Commit:
        commit = await self._engine.next()
        if commit is None:
            raise StopAsyncIteration
        return commit

    async def aclose(self) -> None:
        """Ends it."""
        await self._engine.close()

    close = aclose

    async def __aenter__(self) -> Feed:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()

"""The feed of commits, for programs that wait."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType

from ..engine.feeds import FeedEngine
from ..items import Commit
from .runtime import drive


class Feed(Iterator[Commit]):
    """The commits of a pool, one after the other, each once and in order. Close it when you leave its loop; it is a context manager."""

    def __init__(self, engine: FeedEngine) -> None:
        self._engine = engine

    def __iter__(self) -> Feed:
        return self

    def __next__(self) -> Commit:
        commit = drive(self._engine.next())
        if commit is None:
            raise StopIteration
        return commit

    def close(self) -> None:
        """Ends it."""
        drive(self._engine.close())

    def __enter__(self) -> Feed:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_engine"):
            self.close()

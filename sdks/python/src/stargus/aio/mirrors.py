"""A live mirror, for asyncio: a mapping that a task of the library's keeps true."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, ItemsView, Iterator, KeysView, Mapping, ValuesView
from types import TracebackType
from typing import Any

from ..engine.mirrors import Listener, MirrorEngine
from ..errors import ProblemError, StargusError
from ..items import Change, Item


class Changes(AsyncIterator[Change]):
    """
    The changes of a mirror, one by one, from when it was made. Ends when it or the mirror is closed; raises why the mirror ended by itself.

    When 10,000 wait they are replaced by one with the op `reset`: look at the whole mirror.
    """

    def __init__(self, engine: MirrorEngine) -> None:
        self._engine = engine
        self._listener: Listener = engine.listen()

    def __aiter__(self) -> Changes:
        return self

    async def __anext__(self) -> Change:
        change = await self._engine.next_change(self._listener)
        if change is None:
            raise StopAsyncIteration
        return change

    def close(self) -> None:
        """No more are wanted."""
        self._engine.unlisten(self._listener)

    async def aclose(self) -> None:
        """As `close`, for `contextlib.aclosing`."""
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_listener"):
            self.close()


class Mirror(Mapping[str, Item]):
    """
    A read-only mapping from keys to items that follows a collection. It shows one state of the collection at a time: iterating, `items()` and the
    like go over the state of that moment. Close it when you are done; it is an async context manager.

    In a sparse mirror (`values="none"`) the items have no attributes: `await mirror.fetch(key)` gets them.
    """

    def __init__(self, engine: MirrorEngine) -> None:
        self._engine = engine

    # What it shows

    def __getitem__(self, key: str) -> Item:
        item = self._engine.state.shown(key)
        if item is None:
            raise KeyError(key)
        return item

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._engine.state.shown(key) is not None

    def __len__(self) -> int:
        return self._engine.state.count()

    def __iter__(self) -> Iterator[str]:
        return iter(self.snapshot())

    def keys(self) -> KeysView[str]:
        """Of this moment."""
        return self.snapshot().keys()

    def values(self) -> ValuesView[Item]:
        """Of this moment."""
        return self.snapshot().values()

    def items(self) -> ItemsView[str, Item]:
        """Of this moment."""
        return self.snapshot().items()

    def snapshot(self) -> dict[str, Item]:
        """A copy of what it shows now."""
        return self._engine.state.all()

    async def fetch(self, key: str) -> Item | None:
        """The item with its values; from the server where a sparse mirror hasn't got them. Never older than what the mirror knows of."""
        return await self._engine.values.fetch(key)

    @property
    def kept(self) -> tuple[int, int]:
        """How many values a sparse mirror has in memory, and how many bytes of JSON they are."""
        return self._engine.values.kept

    @property
    def revision(self) -> int:
        """Of the state that it shows."""
        return self._engine.state.view.revision

    @property
    def is_live(self) -> bool:
        """Whether it is connected and complete now."""
        return self._engine.state.view.is_live

    @property
    def error(self) -> StargusError | None:
        """Why it ended by itself."""
        return self._engine.error

    async def ready(self, timeout: float | None = None) -> Mirror:
        """
        Waits until it shows the collection as it is, for `timeout` seconds at most, and answers itself.

        Raises Timeout, or why it ended.
        """
        await self._engine.wait_ready(timeout)
        return self

    async def reached(self, revision: int, timeout: float | None = None) -> int:
        """Waits until it shows the state of a revision, and answers its own. Raises Timeout, or why it ended."""
        return await self._engine.wait_revision(revision, timeout)

    # Who hears of it

    def on_change(self, callback: Callable[[Change], object]) -> Callable[[], None]:
        """
        Calls it with each change from now on, in the order of commits, one at a time, after the mirror shows it. Answers what ends that.

        It is called by the loop and mustn't wait. What it raises is told to `on_problem`.
        """
        return self._engine.on_change(callback)

    def on_denied(self, callback: Callable[[ProblemError], object]) -> Callable[[], None]:
        """Calls it with each refusal of a write through the mirror, where `on_denied` of the attachment is `event`. Answers what ends that."""
        return self._engine.on_denied(callback)

    def changes(self) -> Changes:
        """An async iterator over the changes from now on."""
        return Changes(self._engine)

    # What is written through it

    async def set(
        self, key: str, attributes: Mapping[str, Any], *, if_revision: int | None = None, idempotency_key: str | None = None
    ) -> Item | None:
        """Replaces all attributes: shows at once, and is sent. None where it was denied and `on_denied` isn't `error`."""
        return await self._engine.writes.set(key, attributes, if_revision, idempotency_key)

    async def merge(
        self, key: str, attributes: Mapping[str, Any], *, if_revision: int | None = None, idempotency_key: str | None = None
    ) -> Item | None:
        """A merge patch: what is named is set, None removes. Otherwise as `set`."""
        return await self._engine.writes.merge(key, attributes, if_revision, idempotency_key)

    async def delete(self, key: str, *, if_revision: int | None = None, idempotency_key: str | None = None) -> bool | None:
        """Whether there was one. Otherwise as `set`."""
        return await self._engine.writes.delete(key, if_revision, idempotency_key)

    # Its end

    async def close(self) -> None:
        """Ends it; what it shows stays as it is. Iterators over its changes end."""
        await self._engine.close()

    async def __aenter__(self) -> Mirror:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"<Mirror of {self._engine.about.collection} at {self.revision}{'' if self.is_live else ', not live'}>"

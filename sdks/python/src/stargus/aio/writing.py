"""The writes that a client and a lock have in common."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from ..engine.calls import Calls
from ..items import BatchAnswer, Item

T = TypeVar("T")


class Writes:
    """
    Writes into the client's pool. Each is repeated where it got no answer, and applied once, by its idempotency key: a UUID where none is given.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def _proof(self) -> str | None:
        return None

    def _batch_proof(self) -> list[Mapping[str, Any]] | None:
        return None

    async def _send(self, send: Callable[[], Awaitable[T]]) -> T:
        return await send()

    async def set(
        self, collection: str, key: str, attributes: Mapping[str, Any], *, if_revision: int | None = None, idempotency_key: str | None = None
    ) -> Item:
        """Replaces all attributes. `if_revision`: only if the item has that revision, 0: only if there is none; else PreconditionFailed."""
        return await self._send(lambda: self._calls.set(collection, key, attributes, if_revision, idempotency_key, self._proof()))

    async def merge(
        self, collection: str, key: str, attributes: Mapping[str, Any], *, if_revision: int | None = None, idempotency_key: str | None = None
    ) -> Item:
        """A merge patch: what is named is set, None removes."""
        return await self._send(lambda: self._calls.merge(collection, key, attributes, if_revision, idempotency_key, self._proof()))

    async def create(
        self, collection: str, attributes: Mapping[str, Any], key: str | None = None, *, idempotency_key: str | None = None
    ) -> Item:
        """A new item; raises Conflict where there is one. Without a key the server makes one."""
        return await self._send(lambda: self._calls.create(collection, attributes, key, idempotency_key, self._proof()))

    async def delete(self, collection: str, key: str, *, if_revision: int | None = None, idempotency_key: str | None = None) -> bool:
        """Deletes an item, and answers whether there was one."""
        return (await self._send(lambda: self._calls.delete(collection, key, if_revision, idempotency_key, self._proof())))[0]

    async def increment(
        self, collection: str, key: str, attribute: str, by: float = 1, *, minimum: float | None = None, maximum: float | None = None,
        idempotency_key: str | None = None,
    ) -> float:
        """Adds to a number, and answers the new value. Past a bound: Conflict."""
        return await self._send(
            lambda: self._calls.increment(collection, key, attribute, by, minimum, maximum, idempotency_key, self._proof())
        )

    async def batch(
        self, ops: Sequence[Mapping[str, Any]], conditions: Sequence[Mapping[str, Any]] | None = None, *, idempotency_key: str | None = None
    ) -> BatchAnswer:
        """All or nothing in one commit. `stargus.ops` makes ops and conditions."""
        return await self._send(lambda: self._calls.batch(ops, conditions, idempotency_key, self._batch_proof()))

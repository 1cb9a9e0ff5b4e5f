"""Reading and writing: the hot calls, which build and read their JSON themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..core.canonical import query_of, quoted
from ..errors import NotFound, ProtocolError
from ..items import BatchAnswer, Item, item_of
from ..where import Filter, filter_of
from .pipeline import Pipeline


class Calls:
    """The calls of one pool. `proof` is that of a lock, which all writes then carry."""

    def __init__(self, pipeline: Pipeline, pool: str) -> None:
        self.pipeline = pipeline
        self.pool = pool
        self._base = f"/v1/pools/{quoted(pool)}"

    def collection(self, collection: str) -> str:
        """The path of a collection."""
        return f"{self._base}/collections/{quoted(collection)}"

    def item(self, collection: str, key: str) -> str:
        """The path of an item."""
        return f"{self._base}/collections/{quoted(collection)}/items/{quoted(key)}"

    async def get(self, collection: str, key: str, min_revision: int | None = None, fields: Sequence[str] | None = None) -> Item | None:
        path = self.item(collection, key)
        if fields is not None:
            path = f"{path}?{query_of({'fields': ','.join(fields)})}"
        headers = {} if min_revision is None else {"Stargus-Min-Revision": str(min_revision)}
        try:
            return _item(await self.pipeline.call("GET", path, None, headers))
        except NotFound:
            return None

    async def set(
        self, collection: str, key: str, attributes: Mapping[str, Any], if_revision: int | None, idempotency_key: str | None, proof: str | None = None
    ) -> Item:
        headers = _conditions(if_revision, idempotency_key, proof)
        return _item(await self.pipeline.call("PUT", self.item(collection, key), {"attributes": _plain(attributes)}, headers))

    async def merge(
        self, collection: str, key: str, attributes: Mapping[str, Any], if_revision: int | None, idempotency_key: str | None, proof: str | None = None
    ) -> Item:
        headers = _conditions(if_revision, idempotency_key, proof)
        return _item(await self.pipeline.call("PATCH", self.item(collection, key), {"attributes": _plain(attributes)}, headers))

    async def create(
        self, collection: str, attributes: Mapping[str, Any], key: str | None, idempotency_key: str | None, proof: str | None = None
    ) -> Item:
        body: dict[str, Any] = {"attributes": _plain(attributes)}
        if key is not None:
            body["key"] = key
        path = f"{self.collection(collection)}/items"
        return _item(await self.pipeline.call("POST", path, body, _conditions(None, idempotency_key, proof)))

    async def delete(
        self, collection: str, key: str, if_revision: int | None, idempotency_key: str | None, proof: str | None = None
    ) -> tuple[bool, int]:
        """Whether there was one, and the revision."""
        answer = await self.pipeline.call("DELETE", self.item(collection, key), None, _conditions(if_revision, idempotency_key, proof))
        try:
            return bool(answer["existed"]), int(answer["revision"])
        except (KeyError, TypeError) as error:
            raise _senseless(error) from error

    async def increment(
        self, collection: str, key: str, attribute: str, by: float, minimum: float | None, maximum: float | None, idempotency_key: str | None,
        proof: str | None = None,
    ) -> float:
        body: dict[str, Any] = {"attribute": attribute, "by": by}
        if minimum is not None:
            body["min"] = minimum
        if maximum is not None:
            body["max"] = maximum
        answer = await self.pipeline.call("POST", f"{self.item(collection, key)}/increment", body, _conditions(None, idempotency_key, proof))
        try:
            return answer["value"]  # type: ignore[no-any-return]
        except (KeyError, TypeError) as error:
            raise _senseless(error) from error

    async def batch(
        self, ops: Sequence[Mapping[str, Any]], conditions: Sequence[Mapping[str, Any]] | None, idempotency_key: str | None,
        locks: Sequence[Mapping[str, Any]] | None = None,
    ) -> BatchAnswer:
        body: dict[str, Any] = {"ops": [dict(op) for op in ops]}
        if conditions:
            body["if"] = [_condition(condition) for condition in conditions]
        if locks:
            body["locks"] = locks
        answer = await self.pipeline.call("POST", f"{self._base}/batch", body, _conditions(None, idempotency_key, None))
        try:
            return BatchAnswer(answer["revision"], answer["cursor"], tuple(answer.get("results") or ()))
        except (KeyError, TypeError) as error:
            raise _senseless(error) from error

    async def page(self, collection: str, query: Mapping[str, Any], page_token: str | None) -> tuple[list[Item], str | None]:
        """A page of a query, and where the next one begins."""
        body = dict(query) if page_token is None else {**query, "pageToken": page_token}
        answer = await self.pipeline.call("POST", f"{self.collection(collection)}/query", body)
        try:
            return [item_of(item) for item in answer["items"]], answer.get("nextPageToken")
        except (KeyError, TypeError) as error:
            raise _senseless(error) from error

    async def count(self, collection: str, query: Mapping[str, Any]) -> int:
        body = {**query, "limit": 1, "count": "exact"}
        answer = await self.pipeline.call("POST", f"{self.collection(collection)}/query", body)
        try:
            return int(answer["count"])
        except (KeyError, TypeError) as error:
            raise _senseless(error) from error


def query_body(
    where: Filter | Mapping[str, Any] | None, prefix: str | None, start: str | None, end: str | None, order: str | Sequence[str] | None,
    fields: Sequence[str] | None, page_size: int | None,
) -> dict[str, Any]:
    """The body of a query."""
    given: dict[str, Any] = {
        "where": None if where is None else filter_of(where),
        "prefix": prefix,
        "start": start,
        "end": end,
        "order": [order] if isinstance(order, str) else None if order is None else list(order),
        "fields": None if fields is None else list(fields),
        "limit": page_size,
    }
    return {name: value for name, value in given.items() if value is not None}


def _plain(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return attributes if type(attributes) is dict else dict(attributes)


def _condition(condition: Mapping[str, Any]) -> dict[str, Any]:
    plain = dict(condition)
    if "where" in plain:
        plain["where"] = filter_of(plain["where"])
    return plain


def _conditions(if_revision: int | None, idempotency_key: str | None, proof: str | None) -> dict[str, str]:
    headers: dict[str, str] = {}
    if if_revision is not None:
        if if_revision == 0:
            headers["If-None-Match"] = "*"
        else:
            headers["If-Match"] = f'"{if_revision}"'
    if idempotency_key is not None:
        headers["Idempotency-Key"] = idempotency_key
    if proof is not None:
        headers["Stargus-Lock"] = proof
    return headers


def _item(answer: Any) -> Item:
    try:
        return item_of(answer)
    except (KeyError, TypeError, AttributeError) as error:
        raise _senseless(error) from error


def _senseless(error: BaseException) -> ProtocolError:
    return ProtocolError(f"The server's answer makes no sense: {error!r} is missing or wrong.")

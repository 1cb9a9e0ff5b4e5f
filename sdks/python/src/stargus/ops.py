"""The operations of a batch (docs/API.md, Batches), each by a function of its name. Each takes `condition`: what must hold of its own item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .where import Filter, filter_of

Op = dict[str, Any]


def _op(name: str, collection: str, key: str | None, condition: Mapping[str, Any] | None, **members: Any) -> Op:
    op: Op = {"op": name, "collection": collection}
    if key is not None:
        op["key"] = key
    op.update(members)
    if condition is not None:
        op["if"] = dict(condition)
    return op


def put(collection: str, key: str, attributes: Mapping[str, Any], *, condition: Mapping[str, Any] | None = None) -> Op:
    """Replaces all attributes."""
    return _op("put", collection, key, condition, attributes=dict(attributes))


def create(collection: str, attributes: Mapping[str, Any], key: str | None = None, *, condition: Mapping[str, Any] | None = None) -> Op:
    """Makes an item; `conflict` where there is one. Without a key the server makes one."""
    return _op("create", collection, key, condition, attributes=dict(attributes))


def merge(collection: str, key: str, attributes: Mapping[str, Any], *, condition: Mapping[str, Any] | None = None) -> Op:
    """A merge patch: what is named is set, None removes."""
    return _op("merge", collection, key, condition, attributes=dict(attributes))


def unset(collection: str, key: str, names: Sequence[str], *, condition: Mapping[str, Any] | None = None) -> Op:
    """Removes attributes."""
    return _op("unset", collection, key, condition, names=list(names))


def delete(collection: str, key: str, *, condition: Mapping[str, Any] | None = None) -> Op:
    """Deletes the item."""
    return _op("delete", collection, key, condition)


def increment(collection: str, key: str, attribute: str, by: float = 1, *, minimum: float | None = None, maximum: float | None = None,
              condition: Mapping[str, Any] | None = None) -> Op:
    """Adds to a number; `conflict` past a bound."""
    bounds = {name: value for name, value in (("min", minimum), ("max", maximum)) if value is not None}
    return _op("increment", collection, key, condition, attribute=attribute, by=by, **bounds)


def append(collection: str, key: str, attribute: str, value: Any, *, condition: Mapping[str, Any] | None = None) -> Op:
    """Adds to the end of an array; a missing one counts as empty."""
    return _op("append", collection, key, condition, attribute=attribute, value=value)


def remove(collection: str, key: str, attribute: str, value: Any, *, condition: Mapping[str, Any] | None = None) -> Op:
    """Takes every equal element out of an array."""
    return _op("remove", collection, key, condition, attribute=attribute, value=value)


def condition(collection: str, key: str, *, revision: int | None = None, exists: bool | None = None,
              where: Filter | Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A condition of a batch. `revision=0`: there is no such item."""
    given = {"collection": collection, "key": key, "revision": revision, "exists": exists, "where": None if where is None else filter_of(where)}
    return {name: value for name, value in given.items() if value is not None}

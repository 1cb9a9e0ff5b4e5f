"""What the clients' methods of both kinds make of their arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .core.json_values import sorted_text_of
from .where import Filter, filter_of

Where = Filter | Mapping[str, Any]
Scope = Mapping[str, Any]


def scopes_of(
    collection: str | None, key: str | None, prefix: str | None, start: str | None, end: str | None, attributes: Sequence[str] | None, also: Sequence[Scope]
) -> list[dict[str, Any]]:
    """The parts of the pool that a lock covers, as the API has them."""
    first = {
        "collection": collection, "key": key, "prefix": prefix, "start": start, "end": end, "attributes": None if attributes is None else list(attributes),
    }
    return [{name: value for name, value in scope.items() if value is not None} for scope in (first, *also)]


def feed_parameters(
    collection: str | None, where: Where | None, key: str | None, prefix: str | None, start: str | None, end: str | None, fields: Sequence[str] | None,
    values: str | None,
) -> dict[str, str]:
    """The query parameters of a feed."""
    given = {
        "collection": collection, "where": None if where is None else sorted_text_of(filter_of(where)), "key": key, "prefix": prefix, "start": start,
        "end": end, "fields": None if fields is None else ",".join(fields), "values": values,
    }
    return {name: value for name, value in given.items() if value is not None}


def notifier_of(
    events: Sequence[str], webhook_url: str | None, session: str | None, collection: str | None, prefix: str | None, where: Where | None,
    values: str | None, since: str | None, description: str | None,
) -> dict[str, Any]:
    """The definition of a notifier, as the API has it. Raises ValueError."""
    if (webhook_url is None) == (session is None):
        raise ValueError("A notifier delivers to one place: give webhook_url or session.")
    given: dict[str, Any] = {
        "events": list(events), "collection": collection, "prefix": prefix, "where": None if where is None else filter_of(where), "values": values,
        "since": since, "description": description,
    }
    target = {"webhook": {"url": webhook_url}} if webhook_url is not None else {"session": session}
    return {**{name: value for name, value in given.items() if value is not None}, "target": target}

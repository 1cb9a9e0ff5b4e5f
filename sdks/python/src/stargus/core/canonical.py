"""What names the same thing must be the same text: paths, query strings, and the name of what a cache holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from .json_values import sorted_text_of

#: Options of an attachment that say what is seen. Others say how it is told.
_SEEN = ("end", "fields", "key", "prefix", "start", "values", "where")


def quoted(text: str) -> str:
    """Percent-encoded, all but RFC 3986's unreserved characters."""
    return quote(text, safe="-._~")


def query_of(parameters: Mapping[str, str]) -> str:
    """`name=value` joined by `&`, names sorted."""
    return "&".join(f"{quoted(name)}={quoted(value)}" for name, value in sorted(parameters.items()))


def attachment_parameters(
    *, where: Mapping[str, Any] | None, prefix: str | None, start: str | None, end: str | None, key: str | None,
    fields: Sequence[str] | None, values: str,
) -> dict[str, str]:
    """The query parameters of `attach`: of a full mirror without `values`, for what changed is enough to keep one."""
    given: dict[str, str | None] = {
        "where": None if where is None else sorted_text_of(where),
        "prefix": prefix,
        "start": start,
        "end": end,
        "key": key,
        "fields": None if fields is None else ",".join(fields),
        "values": "none" if values == "none" else None,
    }
    return {name: value for name, value in given.items() if value is not None}


def view_name(url: str, pool: str, subject: str, collection: str, parameters: Mapping[str, str]) -> list[str]:
    """Names what a cache holds."""
    return [url, pool, subject, collection, query_of({name: value for name, value in parameters.items() if name in _SEEN})]

"""
The generated layer, bound to a client: every call of the API with its types, by the same connection as the rest, so that it is authenticated and
repeated alike, and its refusals are the errors of this library.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .engine.ports import Request

if TYPE_CHECKING:
    from .generated import api as sync_api
    from .generated.aio import api as aio_api

#: The paths whose answers are streams, which are handed over unread.
_STREAMS = re.compile(r"/(attach|changes/stream|sessions/[^/]+/events)$")

_JSON = re.compile(r"application/(?:[^+;]+\+)?json\s*(;.*)?", re.IGNORECASE)

_GROUPS = (
    "attributes", "auth", "changes", "collections", "identities", "items", "locks", "notifiers", "operations", "policy", "pools", "queues", "scripts",
    "sessions", "system", "transfer",
)


class _Groups:
    """Makes a group of calls when it is asked for: they are many, and loading one takes time."""

    _module = ""

    def __init__(self, api_client: Any) -> None:
        #: What the generated functions that open streams take: `stargus.generated.streams` (`…generated.aio.streams`).
        self.client = api_client

    def __getattr__(self, name: str) -> Any:
        if name not in _GROUPS:
            raise AttributeError(f"The API has no calls of {name!r}; there are {', '.join(_GROUPS)}.")
        module = importlib.import_module(f"{self._module}.{name}_api")
        calls = getattr(module, f"{name.capitalize()}Api")(self.client)
        self.__dict__[name] = calls
        return calls

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *_GROUPS]


class Api(_Groups):
    """Leads to the generated calls: `client.api.items.list_items("pool", "rooms")`."""

    _module = "stargus.generated.api"
    if TYPE_CHECKING:
        attributes: sync_api.AttributesApi
        auth: sync_api.AuthApi
        changes: sync_api.ChangesApi
        collections: sync_api.CollectionsApi
        identities: sync_api.IdentitiesApi
        items: sync_api.ItemsApi
        locks: sync_api.LocksApi
        notifiers: sync_api.NotifiersApi
        operations: sync_api.OperationsApi
        policy: sync_api.PolicyApi
        pools: sync_api.PoolsApi
        queues: sync_api.QueuesApi
        scripts: sync_api.ScriptsApi
        sessions: sync_api.SessionsApi
        system: sync_api.SystemApi
        transfer: sync_api.TransferApi


class AsyncApi(_Groups):
    """Leads to the generated calls: `await client.api.items.list_items("pool", "rooms")`."""

    _module = "stargus.generated.aio.api"
    if TYPE_CHECKING:
        attributes: aio_api.AttributesApi
        auth: aio_api.AuthApi
        changes: aio_api.ChangesApi
        collections: aio_api.CollectionsApi
        identities: aio_api.IdentitiesApi
        items: aio_api.ItemsApi
        locks: aio_api.LocksApi
        notifiers: aio_api.NotifiersApi
        operations: aio_api.OperationsApi
        policy: aio_api.PolicyApi
        pools: aio_api.PoolsApi
        queues: aio_api.QueuesApi
        scripts: aio_api.ScriptsApi
        sessions: aio_api.SessionsApi
        system: aio_api.SystemApi
        transfer: aio_api.TransferApi


def request_of(method: str, url: str, headers: Mapping[str, Any] | None, body: Any) -> Request:
    """What a generated call wants to send; `url` is a path, for the generated client has no host."""
    given = {str(name): str(value) for name, value in (headers or {}).items() if value is not None}
    data: bytes | None = None
    if body is None:
        given.pop("Content-Type", None)
    elif isinstance(body, (str, bytes)) and not _JSON.fullmatch(given.get("Content-Type", "application/json")):
        data = body.encode() if isinstance(body, str) else body
    else:
        data = json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
        given.setdefault("Content-Type", "application/json")
    return Request(method, url, given, data)


def is_stream(request: Request) -> bool:
    """Whether the answer is a stream of events."""
    return request.method == "GET" and _STREAMS.search(request.path.partition("?")[0]) is not None

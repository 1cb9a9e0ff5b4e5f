"""
Client of Stargus: shared, persistent, watchable state over plain HTTP.

    import stargus

    with stargus.connect("http://127.0.0.1:8080", "demo") as client:
        client.set("rooms", "hall", {"light": "on"})

`stargus.aio` is the same for asyncio. Names and behaviour are those of docs/CLIENTS.md.
"""

from . import errors, ops, where
from .blocking.client import Client, connect
from .blocking.feeds import Feed
from .blocking.locks import Lock
from .blocking.mirrors import Changes, Mirror
from .discovery import FoundServer, discover
from .errors import *  # noqa: F403
from .errors import ProblemError, StargusError
from .items import BatchAnswer, Change, Commit, Item
from .version import VERSION as __version__
from .webhooks import WebhookEvent, verify_webhook

__all__ = [
    "BatchAnswer", "Change", "Changes", "Client", "Commit", "Feed", "FoundServer", "Item", "Lock", "Mirror", "ProblemError", "StargusError",
    "WebhookEvent", "__version__", "connect", "discover", "errors", "ops", "verify_webhook", "where",
]
__all__ += errors.__all__

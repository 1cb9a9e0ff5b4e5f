"""
The client for asyncio, on aiohttp, which `pip install stargus[aio]` brings.

    from stargus import aio

    async with aio.connect("http://127.0.0.1:8080", "demo") as client:
        await client.set("rooms", "hall", {"light": "on"})
"""

try:
    import aiohttp as _aiohttp  # noqa: F401
except ImportError as error:
    raise ImportError("The asyncio client needs aiohttp: pip install 'stargus[aio]'.") from error

from .client import Client, Connecting, connect
from .discovering import discover
from .feeds import Feed
from .locks import Lock, Locking
from .mirrors import Changes, Mirror

__all__ = ["Changes", "Client", "Connecting", "Feed", "Lock", "Locking", "Mirror", "connect", "discover"]

"""Finds servers without stopping the loop."""

from __future__ import annotations

import asyncio

from ..discovery import FoundServer
from ..discovery import discover as _discover


async def discover(timeout: float = 2.0) -> list[FoundServer]:
    """As `stargus.discover`: it listens in a thread."""
    return await asyncio.to_thread(_discover, timeout)

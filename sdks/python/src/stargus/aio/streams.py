"""
The streams of the asyncio client: the generated calls that open them, by a line of the client's. They are loaded with the first stream, for that
takes longer than all the rest, and many programs open none; in a thread, so that the loop goes on meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from ..engine.logins import in_thread
from ..engine.pipeline import Pipeline
from ..engine.ports import Line, Stream

_STREAMS = "stargus.generated.aio.streams"
_BINDING = "stargus.aio.generated_calls"


class TaskStreamCalls:
    """The generated calls that open streams."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._loaded: tuple[Any, Any] | None = None

    async def attach(self, line: Line, pool: str, collection: str, parameters: Mapping[str, Any]) -> Stream:
        streams, client = await self._bound(line)
        return await streams.attach_collection(client, pool, collection, **parameters)  # type: ignore[no-any-return]

    async def changes(self, line: Line, pool: str, parameters: Mapping[str, Any]) -> Stream:
        streams, client = await self._bound(line)
        return await streams.stream_changes(client, pool, **parameters)  # type: ignore[no-any-return]

    async def session(self, line: Line, pool: str, session: str, parameters: Mapping[str, Any]) -> Stream:
        streams, client = await self._bound(line)
        return await streams.stream_session(client, pool, session, **parameters)  # type: ignore[no-any-return]

    async def _bound(self, line: Line) -> tuple[Any, Any]:
        if self._loaded is None:
            loading = asyncio.ensure_future(in_thread(self._pipeline.runtime, _load))
            try:
                self._loaded = await asyncio.shield(loading)
            except asyncio.CancelledError:
                # No thread is left behind.
                await asyncio.wait({loading})
                raise
        streams, binding = self._loaded
        return streams, binding.BoundApiClient(self._pipeline, line)


def _load() -> tuple[Any, Any]:
    return import_module(_STREAMS), import_module(_BINDING)

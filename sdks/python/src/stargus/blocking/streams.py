"""
The streams of the client that waits: the generated calls that open them, by a line of the client's. They are loaded with the first stream, for
that takes longer than all the rest, and many programs open none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..engine.pipeline import Pipeline
from ..engine.ports import Line, Stream


class ThreadStreamCalls:
    """The generated calls that open streams."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    async def attach(self, line: Line, pool: str, collection: str, parameters: Mapping[str, Any]) -> Stream:
        streams, client = self._bound(line)
        return streams.attach_collection(client, pool, collection, **parameters)  # type: ignore[no-any-return]

    async def changes(self, line: Line, pool: str, parameters: Mapping[str, Any]) -> Stream:
        streams, client = self._bound(line)
        return streams.stream_changes(client, pool, **parameters)  # type: ignore[no-any-return]

    async def session(self, line: Line, pool: str, session: str, parameters: Mapping[str, Any]) -> Stream:
        streams, client = self._bound(line)
        return streams.stream_session(client, pool, session, **parameters)  # type: ignore[no-any-return]

    def _bound(self, line: Line) -> tuple[Any, Any]:
        from ..generated import streams
        from .generated_calls import BoundApiClient

        return streams, BoundApiClient(self._pipeline, line)

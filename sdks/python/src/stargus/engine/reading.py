"""Reads one stream: its events as they come, until it ends, is silent for too long, or says `bye`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ..core.repetition import seconds_of
from ..core.sse import SseParser
from ..errors import ProtocolError
from ..limits import HEARTBEAT, HEARTBEATS_MISSED
from .ports import Stream


class Event(NamedTuple):
    """One event. `size` is that of its data."""

    name: str
    data: Mapping[str, Any]
    id: str | None
    size: int


#: What takes an event: its name, its data, its id, the size of its data. True: that was the last one.
Taking = Callable[[str, Mapping[str, Any], "str | None", int], bool]


class EventReader:
    """Of one connection. Events whose names aren't known are passed over."""

    def __init__(self, stream: Stream, event_bytes_max: int, known: frozenset[str]) -> None:
        self._stream = stream
        self._known = known
        self._parser = SseParser(event_bytes_max)
        self._silence = HEARTBEAT * HEARTBEATS_MISSED

    async def events(self) -> list[Event] | None:
        """
        Those that are complete with what has come; None at the end of the stream.

        Raises NoAnswer, Stopped, EventTooLarge, and ProtocolError for data that is no JSON object.
        """
        chunk = await self._stream.read(self._silence)
        if not chunk:
            return None
        return [self._event(event.name, event.data, event.id) for event in self._parser.feed(chunk) if event.name in self._known]

    def _event(self, name: str, text: str, event_id: str | None) -> Event:
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ProtocolError(f"The stream told an event `{name}` that is no JSON.") from error
        if not isinstance(data, dict):
            raise ProtocolError(f"The stream told an event `{name}` that is no object.")
        if name == "hello":
            beat = seconds_of(data.get("heartbeatMs"))
            if beat > 0:
                self._silence = beat * HEARTBEATS_MISSED
        return Event(name, data, event_id, len(text))


async def read_stream(stream: Stream, event_bytes_max: int, known: frozenset[str], take: Taking) -> None:
    """Hands each event of a known name over. Returns at the end of the stream, or when `take` says so. Raises what `EventReader` does."""
    reader = EventReader(stream, event_bytes_max, known)
    while (events := await reader.events()) is not None:
        for event in events:
            if take(*event):
                return

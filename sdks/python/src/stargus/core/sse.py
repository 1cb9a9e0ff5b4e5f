"""
Server-Sent Events: bytes in, cut anywhere, and events out (WHATWG HTML, 9.2.6).

Lines end in LF, CR LF or CR. A byte order mark counts at the very start only. An event at the end without its blank line is none. What is kept
of an event that isn't complete is bounded while it comes, so that one without an end fills no memory.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import EventTooLarge

_BOM = b"\xef\xbb\xbf"


@dataclass(slots=True)
class SseEvent:
    """One event. `id` is None where it had no such field, and empty where it resets what the stream resumes from."""

    name: str
    data: str
    id: str | None


class SseParser:
    """Of one connection. `retry` is the last reconnection time in ms that the stream named."""

    def __init__(self, event_bytes_max: int) -> None:
        self.event_bytes_max = event_bytes_max
        self.retry: int | None = None
        self._is_first = True
        self._skips_line_feed = False
        # The last line, as far as it has come; in pieces, so that a long one costs no more than its length.
        self._pieces: list[bytes] = []
        self._pieces_bytes = 0
        # The event so far.
        self._bytes = 0
        self._name = b""
        self._data: list[bytes] = []
        self._id: str | None = None

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """
        The events that are complete with this.

        Raises EventTooLarge: after that, the stream is of no use.
        """
        if self._is_first:
            chunk = b"".join(self._pieces) + chunk
            if len(chunk) < len(_BOM) and _BOM.startswith(chunk):
                self._pieces = [chunk]
                return []
            self._pieces = []
            self._is_first = False
            if chunk.startswith(_BOM):
                chunk = chunk[len(_BOM):]
        if self._skips_line_feed and chunk:
            self._skips_line_feed = False
            if chunk[0] == 10:
                chunk = chunk[1:]
        if not chunk:
            return []
        if b"\r" in chunk:
            self._skips_line_feed = chunk[-1] == 13
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = chunk.split(b"\n")
        rest = lines.pop()
        events: list[SseEvent] = []
        if lines and self._pieces:
            self._pieces.append(lines[0])
            lines[0] = b"".join(self._pieces)
            self._pieces = []
            self._pieces_bytes = 0
        for line in lines:
            if not line:
                event = self._dispatch()
                if event is not None:
                    events.append(event)
            else:
                self._take(line)
        if rest:
            self._pieces.append(rest)
            self._pieces_bytes += len(rest)
            self._check(self._pieces_bytes)
        return events

    def _check(self, more: int) -> None:
        if self._bytes + more > self.event_bytes_max:
            raise EventTooLarge(
                f"An event of the stream is larger than {self.event_bytes_max} bytes. Attach a part of what is large, or raise event_bytes_max."
            )

    def _take(self, line: bytes) -> None:
        self._check(len(line))
        name, _, value = line.partition(b":")
        if not name:
            return
        self._bytes += len(line)
        if value[:1] == b" ":
            value = value[1:]
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._name = value
        elif name == b"id":
            if b"\0" not in value:
                self._id = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit() and value.isascii() and len(value) < 16:
            self.retry = int(value)

    def _dispatch(self) -> SseEvent | None:
        name, data, event_id = self._name, self._data, self._id
        self._bytes = 0
        self._name = b""
        self._data = []
        self._id = None
        if not data:
            return None
        return SseEvent(name.decode("utf-8", "replace") or "message", b"\n".join(data).decode("utf-8", "replace"), event_id)

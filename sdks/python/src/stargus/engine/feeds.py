"""
The feed of a pool's commits: each once and in order, read as fast as it is asked for. It comes back by itself where it was; where commits are
missing it fails.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..core.canonical import query_of, quoted
from ..core.repetition import may_be_repeated, seconds_of, stream_wait
from ..errors import Closed, CursorExpired, EventTooLarge, ProblemError, ProtocolError, StargusError, Timeout, Unreachable, problem_error
from ..items import Commit
from ..limits import COMMIT_BYTES_MAX, FEED_PAGE_MAX
from .ports import NoAnswer, Stopped, Stream, StreamCall
from .reading import Event, EventReader

if TYPE_CHECKING:
    from .clients import ClientEngine

_EVENTS = frozenset({"hello", "live", "changes", "bookmark", "reset", "problem", "bye"})

START = "start"
NOW = "now"


class FeedEngine:
    """One feed, with one reader. `cursor` is the place after what was given out, None while it isn't known where the pool is now."""

    def __init__(self, client: ClientEngine, parameters: Mapping[str, str], since: str | None, follow: bool, stream_call: StreamCall) -> None:
        self._client = client
        self._runtime = client.runtime
        self._parameters = dict(parameters)
        self._follows = follow
        self._stream_call = stream_call
        self._line = client.runtime.line()
        self._stopping = client.runtime.signal()
        self.cursor: str | None = None if since in (None, NOW) else since
        self._revision = 0
        self._ready: deque[Commit] = deque()
        self._parts: list[Mapping[str, Any]] = []
        self._parts_bytes = 0
        self._parts_revision: object = None
        self._stream: Stream | None = None
        self._reader: EventReader | None = None
        self._was_live = True
        self._failures = 0
        self._not_before = 0.0
        self._is_reset = False
        self._is_up_to_date = False
        self._error: StargusError | None = None

    async def begin(self) -> None:
        """Finds out where the pool is now, unless a place was given. Raises what is in the way after the time for repetitions."""
        if self.cursor is not None:
            return
        if not self._follows:
            self.cursor = str((await self._page(NOW))["cursor"])
            return
        until = self._runtime.now() + self._client.pipeline.retry_for
        try:
            while self.cursor is None and not self._ready:
                failure = await self._advance()
                if failure is not None and self._runtime.now() >= until:
                    raise failure
        except Stopped:
            raise Closed("The feed was closed.") from None
        except BaseException:
            await self.close()
            raise

    async def next(self) -> Commit | None:
        """The next one; None where it was closed, or has caught up and doesn't follow. Raises why it ends by itself."""
        if self._error is not None:
            raise self._error
        try:
            if self.cursor is None:
                await self.begin()
            while not self._ready:
                if self._stopping.is_set():
                    self._client.check_open()
                    return None
                if self._follows:
                    await self._advance()
                elif self._is_up_to_date:
                    await self.close()
                    return None
                else:
                    await self._read_page()
        except Stopped:
            self._client.check_open()
            return None
        except StargusError as error:
            self._error = error
            await self.close()
            raise
        return self._ready.popleft()

    async def close(self) -> None:
        """Ends it."""
        self.abandon()
        await self._line.close()

    def abandon(self) -> None:
        """Nobody reads it any more."""
        self._stopping.set()
        self._line.abort()
        self._client.feeds.discard(self)

    # Page by page

    async def _page(self, since: str) -> Mapping[str, Any]:
        sent = {**self._parameters, "since": since, "limit": str(FEED_PAGE_MAX)}
        answer = await self._client.pipeline.call("GET", f"/v1/pools/{quoted(self._client.pool)}/changes?{query_of(sent)}")
        if not isinstance(answer, dict) or not isinstance(answer.get("cursor"), str):
            raise ProtocolError("The server's answer has no cursor.")
        return answer

    async def _read_page(self) -> None:
        assert self.cursor is not None
        page = await self._page(self.cursor)
        try:
            self._ready.extend(_commit(commit, commit["changes"], commit["cursor"]) for commit in page["commits"])
            self.cursor = page["cursor"]
            self._is_up_to_date = bool(page["upToDate"])
        except (KeyError, TypeError) as error:
            raise ProtocolError("The server told a commit that makes no sense.") from error

    # Live

    async def _advance(self) -> StargusError | None:
        """Takes what comes next. Answers what was in the way, if that may pass; what doesn't is raised."""
        failure: StargusError
        try:
            await self._read()
            if self._is_reset:
                raise await self._expired()
            return None
        except NoAnswer as error:
            failure = Unreachable(f"{self._client.url} can't be reached: {error}.")
        except (Unreachable, Timeout) as error:
            failure = error
        except ProblemError as error:
            if not may_be_repeated(error):
                raise
            self._not_before = error.retry_after or 0.0
            failure = error
        await self._disconnect()
        return failure

    async def _read(self) -> None:
        if self._reader is None:
            self._failures = 0 if self._was_live else self._failures + 1
            if await self._stopping.wait(stream_wait(self._failures, self._not_before)):
                raise Stopped
            self._was_live = False
            self._not_before = 0.0
            sent: dict[str, Any] = dict(self._parameters)
            if self.cursor is not None:
                # Not as Last-Event-ID, for then a place that is too old would be passed over in silence.
                sent["since"] = self.cursor
            self._stream = await self._stream_call(self._line, sent)
            self._reader = EventReader(self._stream, self._client.event_bytes_max, _EVENTS)
        events = await self._reader.events()
        if events is None:
            raise NoAnswer("the stream ended", was_sent=True)
        for event in events:
            self._take(event)

    async def _disconnect(self) -> None:
        stream, self._stream, self._reader = self._stream, None, None
        self._parts = []
        self._parts_bytes = 0
        if stream is not None:
            await stream.close()

    def _take(self, event: Event) -> None:
        name, data = event.name, event.data
        if name in ("live", "bookmark"):
            self._was_live = self._was_live or name == "live"
            if event.id:
                self.cursor = event.id
        elif name == "changes":
            self._changes(event)
        elif name == "reset":
            self._is_reset = True
        elif name == "problem":
            raise problem_error(data, data.get("status"))
        elif name == "bye":
            self._not_before = seconds_of(data.get("retryMs"))
            raise NoAnswer("the stream was ended", was_sent=True)

    def _changes(self, event: Event) -> None:
        data = event.data
        try:
            revision, changes = data["revision"], data["changes"]
            if self._parts and revision != self._parts_revision:
                raise ProtocolError(f"The stream told commit {revision} in the middle of commit {self._parts_revision}.")
            if data.get("more") is True or self._parts:
                self._parts_revision = revision
                self._parts_bytes += event.size
                if self._parts_bytes > COMMIT_BYTES_MAX:
                    raise EventTooLarge(f"Commit {revision} has more than {COMMIT_BYTES_MAX} bytes.")
                self._parts.extend(changes)
                if data.get("more") is True:
                    return
                changes, self._parts, self._parts_bytes = self._parts, [], 0
            if revision <= self._revision:
                return
            cursor = event.id or self.cursor or ""
            self._ready.append(_commit(data, changes, cursor))
        except (KeyError, TypeError) as error:
            raise ProtocolError("The stream told a commit that makes no sense.") from error
        self._revision = revision
        self.cursor = cursor

    async def _expired(self) -> StargusError:
        """A reset doesn't say how far the log reaches: that is asked for."""
        if self.cursor is not None and self.cursor != START:
            try:
                await self._page(self.cursor)
            except CursorExpired as error:
                return error
            except StargusError:
                pass
        return CursorExpired("Commits are missing: more has changed of what may be seen than is told.")


def _commit(told: Mapping[str, Any], changes: Any, cursor: str) -> Commit:
    return Commit(told["revision"], cursor, str(told.get("time", "")), str(told.get("subject", "")), tuple(changes))

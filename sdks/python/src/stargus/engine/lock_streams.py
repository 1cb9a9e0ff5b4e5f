"""
The stream of the session that holds locks: open while one is held or waited for, and a little longer. It comes back for as long as that, and tells
the session what becomes of its locks; while it is down they are asked for.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..core.repetition import may_be_repeated, seconds_of, stream_wait
from ..errors import Closed, Forbidden, NotFound, ProblemError, SessionFenced, StargusError, Timeout, Unreachable, problem_error
from ..limits import LOCK_STREAM_LINGER
from .ports import Line, NoAnswer, Stopped
from .reading import read_stream

if TYPE_CHECKING:
    from .locking import LockSession

_EVENTS = frozenset({"hello", "live", "changes", "bookmark", "reset", "lock", "problem", "bye"})

#: The server knows the session no more, or gave it to somebody else.
SESSION_OVER = (SessionFenced, NotFound)


class LockStream:
    """Of one session. `_guard` guards its state; nothing is waited for while it is held."""

    def __init__(self, session: LockSession) -> None:
        self._session = session
        self._client = session.client
        self._runtime = session.client.runtime
        self._guard = threading.Lock()
        self._users = 0
        self._idle_since = self._runtime.now()
        self._line: Line | None = None
        self._cursor: str | None = None
        self._is_ended = False
        #: Whether it tells all that happens.
        self.is_heard = False

    def use(self, by: int) -> None:
        """Counts who needs it, and opens it for the first."""
        line: Line | None = None
        with self._guard:
            self._users += by
            if self._users == 0:
                self._idle_since = self._runtime.now()
            elif self._line is None and not self._is_ended:
                line = self._line = self._runtime.line()
        if line is not None:
            self._client.spawn(lambda: self._hear(line), "locks")
        if by < 0:
            self._session.lease.nudge.set()

    def idle_at(self) -> float | None:
        """When it should be closed, unless it is needed again until then."""
        with self._guard:
            return self._idle_since + LOCK_STREAM_LINGER if self._users == 0 and self._line is not None else None

    def close_idle(self) -> None:
        """Closes it if nobody has needed it for a while."""
        line: Line | None = None
        with self._guard:
            if self._users == 0 and self._line is not None and self._runtime.now() >= self._idle_since + LOCK_STREAM_LINGER:
                line, self._line = self._line, None
                self.is_heard = False
        if line is not None:
            line.abort()

    def end(self) -> None:
        """It isn't opened any more."""
        with self._guard:
            self._is_ended = True
            line, self._line = self._line, None
        if line is not None:
            line.abort()

    async def _hear(self, line: Line) -> None:
        try:
            await self._hear_always(line)
        except (Stopped, Closed):
            pass
        except (*SESSION_OVER, Forbidden) as error:
            self._session.over(f"The session of the lock has ended: {error.detail}")
        except StargusError as error:
            # From here on locks are asked for.
            self._client.tell_problem(error)
        finally:
            self._unheard(line)
            with self._guard:
                if self._line is line:
                    self._line = None
            await line.close()

    async def _hear_always(self, line: Line) -> None:
        failures = 0
        stopping = self._session.stopping
        while not stopping.is_set():
            not_before = 0.0
            was_live = False

            def take(name: str, data: Mapping[str, Any], event_id: str | None, size: int) -> bool:
                nonlocal not_before, was_live
                if name == "bye":
                    not_before = seconds_of(data.get("retryMs"))
                    if data.get("reason") == "deleted":
                        self._session.over("The session of the lock has ended.")
                    return True
                if name == "problem":
                    raise problem_error(data, data.get("status"))
                if event_id:
                    self._cursor = event_id
                if name == "live":
                    was_live = True
                    self._heard(line)
                elif name == "reset":
                    self._cursor = None
                    self._session.look_at_all()
                elif name == "lock":
                    self._session.tell(data)
                return stopping.is_set()

            parameters: dict[str, Any] = {"renew": False, "stargus_session": self._session.headers()["Stargus-Session"]}
            if self._cursor:
                parameters["last_event_id"] = self._cursor
            try:
                stream = await self._client.streams.session(line, self._client.pool, self._session.id, parameters)
                try:
                    await read_stream(stream, self._client.event_bytes_max, _EVENTS, take)
                finally:
                    await stream.close()
            except (NoAnswer, Unreachable, Timeout):
                pass
            except ProblemError as problem:
                if not may_be_repeated(problem):
                    raise
                not_before = problem.retry_after or 0.0
            self._unheard(line)
            failures = 0 if was_live else failures + 1
            # An aborted line ends the waiting by what it raises when it is opened next; a short wait is enough.
            await stopping.wait(stream_wait(failures, not_before))

    def _heard(self, line: Line) -> None:
        with self._guard:
            if self._line is not line:
                return
            self.is_heard = True
        # What happened before this connection was told to nobody.
        self._session.look_at_all()

    def _unheard(self, line: Line) -> None:
        with self._guard:
            if self._line is not line:
                return
            self.is_heard = False
        self._session.wake_all()

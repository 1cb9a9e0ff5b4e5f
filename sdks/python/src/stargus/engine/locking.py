"""
Locks: a client has one session for them, made when the first is asked for and ended with the client. It is renewed at a third of its lease. While a
lock is held or waited for, the session's stream tells what becomes of it; only where that is down it is asked for.

What is written through a lock carries its proof, so the server refuses it after the lock was lost, whatever is believed here. When a lease runs out
is reckoned from when the last renewal that was answered was sent.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ..core.canonical import quoted
from ..core.repetition import may_be_repeated, seconds_of, stream_wait
from ..errors import (
    Closed,
    Deadlock,
    Forbidden,
    LockConflict,
    LockLost,
    NotFound,
    ProblemError,
    ProtocolError,
    SessionFenced,
    StargusError,
    Timeout,
    Unreachable,
    problem_error,
)
from ..limits import FAREWELL_TIMEOUT, LOCK_NEWS_MAX, LOCK_POLL, LOCK_RETURN_EVERY, LOCK_STREAM_LINGER, LOCK_WAIT_MAX, LOCK_WORD_LATE
from .ports import Line, NoAnswer, Stopped
from .reading import read_stream

if TYPE_CHECKING:
    from .clients import ClientEngine

T = TypeVar("T")
_EVENTS = frozenset({"hello", "live", "changes", "bookmark", "reset", "lock", "problem", "bye"})

#: The server knows the session no more, or gave it to somebody else.
_SESSION_OVER = (SessionFenced, NotFound)


class HeldLock:
    """A lock that is held."""

    def __init__(self, session: LockSession, lock: str, fence: int) -> None:
        self._session = session
        self.lock = lock
        self.fence = fence
        #: Set when it is lost.
        self.lost = session.client.runtime.signal()
        self.error: LockLost | None = None
        self.is_released = False
        #: Told of the loss, at once.
        self.on_lost: Callable[[], None] | None = None

    @property
    def proof(self) -> str:
        """What writes carry."""
        return f"{self.lock};fence={self.fence}"

    @property
    def proof_of_batch(self) -> list[Mapping[str, Any]]:
        """What a batch carries."""
        return [{"lock": self.lock, "fence": self.fence}]

    def lose(self, error: LockLost) -> None:
        """It is known to be lost."""
        if self.error is not None or self.is_released:
            return
        self.error = error
        self.lost.set()
        if self.on_lost is not None:
            self.on_lost()

    def check(self) -> None:
        """Raises LockLost where it is known to be."""
        error = self.error
        if error is not None:
            raise LockLost(str(error), problem=error.problem, status=error.status)

    async def writing(self, send: Callable[[], Awaitable[T]]) -> T:
        """Sends a write with its proof, and learns from the answer."""
        self.check()
        try:
            return await send()
        except LockLost as error:
            self._session.forget(self.lock)
            self.lose(error)
            raise

    async def release(self) -> None:
        """Gives it back. May be called more than once, and after it was lost."""
        if self.is_released:
            return
        self.is_released = True
        self._session.forget(self.lock)
        if self.error is None:
            await self._session.give_back(self.lock)


class _Tracked:
    """What becomes of one lock. Altered under the session's guard."""

    def __init__(self, session: LockSession) -> None:
        self.signal = session.client.runtime.signal()
        self.fence: int | None = None
        self.lost: LockLost | None = None
        self.is_over = False
        self.error: ProblemError | None = None
        self.held: HeldLock | None = None


async def acquire(
    client: ClientEngine, scopes: Sequence[Mapping[str, Any]], mode: str, wait: float, lease: float, note: str | None
) -> HeldLock:
    """Waits for its turn. Raises LockConflict when the time is over, Deadlock when it would be for ever."""
    is_again = False
    while True:
        session = await _session_of(client, lease)
        try:
            return await session.lock(scopes, mode, wait, note)
        except _SESSION_OVER as error:
            # It ended without our knowing: another one asks once more.
            session.over(f"The session of the lock has ended: {error.detail}")
            if is_again:
                raise
            is_again = True


async def _session_of(client: ClientEngine, lease: float) -> LockSession:
    async with client.making_locks:
        client.check_open()
        session = client.locks
        if session is None or session.is_over:
            session = await LockSession.begin(client, lease)
            client.locks = session
    if client.is_closed:
        await session.end()
        client.check_open()
    return session


class LockSession:
    """One session of the server's. `_guard` guards its state; nothing is waited for while it is held."""

    def __init__(self, client: ClientEngine, session: str, epoch: int, lease: float, sent_at: float) -> None:
        self.client = client
        self._id = session
        self._epoch = epoch
        self._lease = lease
        self._lease_until = sent_at + lease
        self._renew_at = sent_at + lease / 3
        self._is_renewing = False
        self._base = f"/v1/pools/{quoted(client.pool)}"
        self._guard = threading.Lock()
        self._tracked: dict[str, _Tracked] = {}
        # What came of locks whose request isn't answered yet.
        self._news: dict[str, list[Mapping[str, Any]]] = {}
        self._asking = 0
        self._users = 0
        self._idle_since = sent_at
        self._line: Line | None = None
        self._is_heard = False
        self._cursor: str | None = None
        self.is_over = False
        self._why: StargusError | None = None
        self._stopping = client.runtime.signal()
        self._nudge = client.runtime.signal()
        client.spawn(self._keep, "lease")

    @staticmethod
    async def begin(client: ClientEngine, lease: float) -> LockSession:
        """Makes a session."""
        sent_at = client.runtime.now()
        told = await client.pipeline.call("POST", f"/v1/pools/{quoted(client.pool)}/sessions", {"ttlMs": round(lease * 1000)})
        try:
            return LockSession(client, str(told["session"]), int(told["epoch"]), seconds_of(told.get("ttlMs")) or lease, sent_at)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ProtocolError("The server told a session that makes no sense.") from error

    def _headers(self) -> dict[str, str]:
        return {"Stargus-Session": f"{self._id};epoch={self._epoch}"}

    # One lock

    async def lock(self, scopes: Sequence[Mapping[str, Any]], mode: str, wait: float, note: str | None) -> HeldLock:
        """Asks for a lock, and waits until it is granted."""
        wait = min(max(0.0, wait), LOCK_WAIT_MAX)
        until = self.client.runtime.now() + wait
        body: dict[str, Any] = {
            "session": self._id, "epoch": self._epoch, "mode": mode, "scopes": list(scopes), "waitMs": round(wait * 1000), "requestId": str(uuid.uuid4()),
        }
        if note is not None:
            body["note"] = note
        key = str(uuid.uuid4())
        with self._guard:
            self._asking += 1
        self._use(1)
        tracked = _Tracked(self)
        is_kept = False
        try:
            lock = await self._ask(body, key, tracked)
            try:
                while (fence := tracked.fence) is None:
                    await self._wait_for_news(lock, tracked, until, wait)
                held = HeldLock(self, lock, fence)
                with self._guard:
                    tracked.held = held
                    is_kept = self._tracked.get(lock) is tracked and tracked.lost is None
                    lost = tracked.lost
                if not is_kept:
                    # Granted, and lost before anybody had it.
                    raise lost or self._over_why()
                return held
            except BaseException:
                with self._guard:
                    was_there = self._tracked.pop(lock, None) is not None and not tracked.is_over and tracked.lost is None
                if was_there:
                    # Given up, it mustn't be in the way of others.
                    self.client.spawn(lambda: self._return_for_sure(lock), "unlock")
                raise
        finally:
            if not is_kept:
                self._use(-1)

    async def _ask(self, body: Mapping[str, Any], key: str, tracked: _Tracked) -> str:
        """Asks; from here on what is told of the lock counts."""
        try:
            told = await self.client.pipeline.call("POST", f"{self._base}/locks", body, {**self._headers(), "Idempotency-Key": key})
            lock = str(told["lock"])
            fence = int(told["fence"]) if told.get("state") != "waiting" else None
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            self._asked()
            raise ProtocolError("The server told a lock that makes no sense.") from error
        except StargusError:
            self._asked()
            raise
        except BaseException:
            self._asked()
            # Who asked has given up, and whether it was granted isn't known: the same request tells, and changes nothing.
            self.client.spawn(lambda: self._undo(body, key), "unlock")
            raise
        with self._guard:
            tracked.fence = fence
            self._tracked[lock] = tracked
            news = self._news.pop(lock, [])
            if self.is_over:
                del self._tracked[lock]
                tracked.is_over = True
        self._asked()
        for one in news:
            self._tell(one)
        return lock

    def _asked(self) -> None:
        with self._guard:
            self._asking -= 1
            if self._asking == 0:
                self._news.clear()

    async def _undo(self, body: Mapping[str, Any], key: str) -> None:
        try:
            told = await self.client.pipeline.call("POST", f"{self._base}/locks", body, {**self._headers(), "Idempotency-Key": key})
            lock = str(told["lock"])
        except (StargusError, KeyError, TypeError):
            return
        await self._return_for_sure(lock)

    async def _wait_for_news(self, lock: str, tracked: _Tracked, until: float, wait: float) -> None:
        """Until something may have changed: by the stream where it is up, by asking where it isn't."""
        if self.is_over:
            raise self._over_why()
        if tracked.error is not None:
            raise tracked.error
        if tracked.is_over or tracked.lost is not None:
            raise _too_late(wait)
        left = until + LOCK_WORD_LATE - self.client.runtime.now()
        if self._is_heard and left > 0:
            await tracked.signal.wait(left)
            tracked.signal.clear()
            return
        try:
            await self._look(lock, tracked, min(LOCK_POLL, left) if left > 0 else 0.0)
        except (Unreachable, Timeout):
            pass
        except ProblemError as error:
            if not may_be_repeated(error):
                raise
        if left <= 0 and tracked.fence is None:
            raise _too_late(wait)

    async def _look(self, lock: str, tracked: _Tracked, wait: float) -> None:
        """Asks the server what became of a lock; with `wait` it answers when that is known, or after that time."""
        path = f"{self._base}/locks/{quoted(lock)}"
        if wait > 0:
            path += f"?waitMs={max(1, round(wait * 1000))}"
        try:
            told = await self.client.pipeline.call("GET", path)
        except NotFound:
            self._gone(lock, tracked, "The lock is there no more.")
            return
        if isinstance(told, dict) and told.get("state") != "waiting" and isinstance(told.get("fence"), int):
            self._granted(lock, tracked, told["fence"])

    def _granted(self, lock: str, tracked: _Tracked, fence: int) -> None:
        with self._guard:
            if tracked.fence is None:
                tracked.fence = fence
            is_anothers = tracked.fence != fence
        if is_anothers:
            # A fence rises when the session was resumed: who did it has the lock.
            self._gone(lock, tracked, "It was granted anew to who resumed the session.")
        tracked.signal.set()

    def _gone(self, lock: str, tracked: _Tracked, why: str) -> None:
        with self._guard:
            tracked.is_over = True
            was_there = self._tracked.get(lock) is tracked
            if was_there:
                del self._tracked[lock]
            held = tracked.held
            if tracked.fence is not None and tracked.lost is None:
                tracked.lost = LockLost(f"The lock was lost. {why}")
            lost = tracked.lost
        tracked.signal.set()
        if held is not None and lost is not None and was_there:
            held.lose(lost)
            self._use(-1)

    def forget(self, lock: str) -> None:
        """It is given back, or lost: nobody needs to be told of it any more."""
        with self._guard:
            was_there = self._tracked.pop(lock, None) is not None
        if was_there:
            self._use(-1)

    async def give_back(self, lock: str) -> None:
        """Gives it back. What is in the way is told, and it is tried again beside: the session that has it lives on."""
        try:
            await self._return(lock)
        except StargusError as error:
            self.client.tell_problem(error)
            self.client.spawn(lambda: self._return_for_sure(lock), "unlock")
        except BaseException:
            self.client.spawn(lambda: self._return_for_sure(lock), "unlock")
            raise

    async def _return(self, lock: str) -> None:
        try:
            await self.client.pipeline.call("DELETE", f"{self._base}/locks/{quoted(lock)}", None, self._headers())
        except (*_SESSION_OVER, Forbidden, LockLost, Closed):
            # It is gone already, or goes with the session.
            return

    async def _return_for_sure(self, lock: str) -> None:
        while not self._stopping.is_set():
            try:
                await self._return(lock)
                return
            except StargusError:
                await self._stopping.wait(LOCK_RETURN_EVERY)

    # Its lease

    async def _keep(self) -> None:
        """Renews the lease, knows when it has run out, and closes the stream when nobody has needed it for a while."""
        runtime = self.client.runtime
        while True:
            now = runtime.now()
            wake_at = self._lease_until if self._is_renewing else min(self._renew_at, self._lease_until)
            with self._guard:
                if self._users == 0 and self._line is not None:
                    wake_at = min(wake_at, self._idle_since + LOCK_STREAM_LINGER)
            await self._nudge.wait(max(0.0, wake_at - now))
            self._nudge.clear()
            if self._stopping.is_set():
                return
            self._close_idle()
            now = runtime.now()
            if now >= self._lease_until:
                self.over("The lease ran out: no renewal was answered in time.")
                return
            if now >= self._renew_at and not self._is_renewing:
                # Beside, for it may wait for a new token for longer than the lease lasts.
                self._is_renewing = True
                self.client.spawn(self._renew, "renew")

    def _close_idle(self) -> None:
        line: Line | None = None
        with self._guard:
            if self._users == 0 and self._line is not None and self.client.runtime.now() >= self._idle_since + LOCK_STREAM_LINGER:
                line, self._line = self._line, None
                self._is_heard = False
        if line is not None:
            line.abort()

    async def _renew(self) -> None:
        runtime = self.client.runtime
        pipeline = self.client.pipeline
        sent_at = runtime.now()
        left = max(0.1, self._lease_until - sent_at)
        try:
            # Not for longer than the lease: whatever would be answered then comes too late.
            await pipeline.call(
                "POST", f"{self._base}/sessions/{quoted(self._id)}/renew", None, self._headers(), timeout=min(left, pipeline.request_timeout), retry_for=0
            )
            self._lease_until = sent_at + self._lease
            self._renew_at = sent_at + self._lease / 3
        except _SESSION_OVER as error:
            self.over(f"The session of the lock has ended: {error.detail}")
        except StargusError:
            # Soon again, as long as there is time.
            self._renew_at = runtime.now() + self._lease / 20
        finally:
            self._is_renewing = False
            self._nudge.set()

    # Its end

    def over(self, why: str, error: StargusError | None = None) -> None:
        """The session has ended: all its locks are lost."""
        with self._guard:
            if self.is_over:
                return
            self.is_over = True
            self._why = error or LockLost(f"The lock was lost. {why}")
            tracked = list(self._tracked.values())
            self._tracked.clear()
            line, self._line = self._line, None
            for one in tracked:
                one.is_over = True
                if one.fence is not None:
                    one.lost = LockLost(f"The lock was lost. {why}")
        if self.client.locks is self:
            self.client.locks = None
        self._stopping.set()
        self._nudge.set()
        if line is not None:
            line.abort()
        for one in tracked:
            one.signal.set()
            if one.held is not None and one.lost is not None:
                one.held.lose(one.lost)

    def _over_why(self) -> StargusError:
        why = self._why
        if isinstance(why, Closed):
            return Closed(str(why))
        return LockLost(str(why or "The session of the lock has ended."))

    async def end(self) -> None:
        """The client closes: the server is told, so that others needn't wait for the lease."""
        if self.is_over:
            return
        self.over("The client was closed.", Closed("The client was closed."))
        try:
            await self.client.pipeline.call(
                "DELETE", f"{self._base}/sessions/{quoted(self._id)}", None, self._headers(), timeout=FAREWELL_TIMEOUT, retry_for=0
            )
        except StargusError:
            return

    # Its stream

    def _use(self, by: int) -> None:
        """Counts who needs the stream, and opens it for the first."""
        line: Line | None = None
        with self._guard:
            self._users += by
            if self._users == 0:
                self._idle_since = self.client.runtime.now()
            elif self._line is None and not self.is_over:
                line = self._line = self.client.runtime.line()
        if line is not None:
            self._listen(line)
        if by < 0:
            self._nudge.set()

    def _listen(self, line: Line) -> None:
        self.client.spawn(lambda: self._hear(line), "locks")

    async def _hear(self, line: Line) -> None:
        try:
            await self._hear_always(line)
        except (Stopped, Closed):
            pass
        except (*_SESSION_OVER, Forbidden) as error:
            self.over(f"The session of the lock has ended: {error.detail}")
        except StargusError as error:
            # From here on locks are asked for.
            self.client.tell_problem(error)
        finally:
            self._unheard(line)
            with self._guard:
                if self._line is line:
                    self._line = None
            await line.close()

    async def _hear_always(self, line: Line) -> None:
        failures = 0
        while not self._stopping.is_set():
            not_before = 0.0
            was_live = False

            def take(name: str, data: Mapping[str, Any], event_id: str | None, size: int) -> bool:
                nonlocal not_before, was_live
                if name == "bye":
                    not_before = seconds_of(data.get("retryMs"))
                    if data.get("reason") == "deleted":
                        self.over("The session of the lock has ended.")
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
                    self._look_at_all()
                elif name == "lock":
                    self._tell(data)
                return self._stopping.is_set()

            parameters: dict[str, Any] = {"renew": False, "stargus_session": self._headers()["Stargus-Session"]}
            if self._cursor:
                parameters["last_event_id"] = self._cursor
            try:
                stream = await self.client.stream_calls().session(line, self.client.pool, self._id, parameters)
                try:
                    await read_stream(stream, self.client.event_bytes_max, _EVENTS, take)
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
            await self._stopping.wait(stream_wait(failures, not_before))

    def _heard(self, line: Line) -> None:
        with self._guard:
            if self._line is not line:
                return
            self._is_heard = True
        # What happened before this connection was told to nobody.
        self._look_at_all()

    def _unheard(self, line: Line) -> None:
        with self._guard:
            if self._line is not line:
                return
            self._is_heard = False
            tracked = list(self._tracked.values())
        for one in tracked:
            one.signal.set()

    def _look_at_all(self) -> None:
        with self._guard:
            tracked = dict(self._tracked)
        if tracked:
            self.client.spawn(lambda: self._look_at(tracked), "locks-look")

    async def _look_at(self, tracked: Mapping[str, _Tracked]) -> None:
        for lock, one in tracked.items():
            if self._stopping.is_set():
                return
            try:
                await self._look(lock, one, 0.0)
            except StargusError:
                # The stream goes on telling; and at the latest the next write does.
                continue

    def _tell(self, data: Mapping[str, Any]) -> None:
        """News of a lock."""
        lock, kind, fence = data.get("lock"), data.get("type"), data.get("fence")
        if not isinstance(lock, str):
            return
        with self._guard:
            tracked = self._tracked.get(lock)
            if tracked is None:
                if self._asking > 0 and len(self._news) < LOCK_NEWS_MAX:
                    self._news.setdefault(lock, []).append(data)
                return
        if kind == "granted" and isinstance(fence, int):
            self._granted(lock, tracked, fence)
        elif kind == "deadlock":
            tracked.error = Deadlock("To wait for this lock would be for ever. Give back what is held, and begin again.")
            tracked.signal.set()
        elif kind == "broken":
            self._gone(lock, tracked, "Somebody broke it.")
        elif kind == "lost" and (fence is None or tracked.fence is None):
            self._gone(lock, tracked, f"The server says so: {data.get('reason', 'lost')}.")


def _too_late(wait: float) -> LockConflict:
    return LockConflict(f"The lock wasn't granted within {wait:g} s: others hold it. Ask again later, or wait longer.")

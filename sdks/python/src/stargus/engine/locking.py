"""
Locks: a client has one session for them, made when the first is asked for and ended with the client. It has a lease, and while a lock is held or
waited for a stream that tells what becomes of it; only where that is down it is asked for.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..core.canonical import quoted
from ..core.repetition import may_be_repeated, seconds_of
from ..errors import (
    Closed,
    Deadlock,
    Forbidden,
    LockConflict,
    LockLost,
    NotFound,
    ProblemError,
    ProtocolError,
    StargusError,
    Timeout,
    Unreachable,
)
from ..limits import FAREWELL_TIMEOUT, LOCK_NEWS_MAX, LOCK_POLL, LOCK_RETURN_EVERY, LOCK_WAIT_MAX, LOCK_WORD_LATE
from .held_locks import HeldLock
from .leases import Lease
from .lock_streams import SESSION_OVER, LockStream

if TYPE_CHECKING:
    from .clients import ClientEngine


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
        except SESSION_OVER as error:
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
        self.id = session
        self._epoch = epoch
        self._base = f"/v1/pools/{quoted(client.pool)}"
        self.path = f"{self._base}/sessions/{quoted(session)}"
        self._guard = threading.Lock()
        self._tracked: dict[str, _Tracked] = {}
        # What came of locks whose request isn't answered yet.
        self._news: dict[str, list[Mapping[str, Any]]] = {}
        self._asking = 0
        self.is_over = False
        self._why: StargusError | None = None
        #: Set when it is over.
        self.stopping = client.runtime.signal()
        self.stream = LockStream(self)
        self.lease = Lease(self, lease, sent_at)
        client.spawn(self.lease.keep, "lease")

    @staticmethod
    async def begin(client: ClientEngine, lease: float) -> LockSession:
        """Makes a session."""
        sent_at = client.runtime.now()
        told = await client.pipeline.call("POST", f"/v1/pools/{quoted(client.pool)}/sessions", {"ttlMs": round(lease * 1000)})
        try:
            return LockSession(client, str(told["session"]), int(told["epoch"]), seconds_of(told.get("ttlMs")) or lease, sent_at)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ProtocolError("The server told a session that makes no sense.") from error

    def headers(self) -> dict[str, str]:
        """What says in whose name something is asked."""
        return {"Stargus-Session": f"{self.id};epoch={self._epoch}"}

    # One lock

    async def lock(self, scopes: Sequence[Mapping[str, Any]], mode: str, wait: float, note: str | None) -> HeldLock:
        """Asks for a lock, and waits until it is granted."""
        wait = min(max(0.0, wait), LOCK_WAIT_MAX)
        until = self.client.runtime.now() + wait
        body: dict[str, Any] = {
            "session": self.id, "epoch": self._epoch, "mode": mode, "scopes": list(scopes), "waitMs": round(wait * 1000), "requestId": str(uuid.uuid4()),
        }
        if note is not None:
            body["note"] = note
        key = str(uuid.uuid4())
        with self._guard:
            self._asking += 1
        self.stream.use(1)
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
                self.stream.use(-1)

    async def _ask(self, body: Mapping[str, Any], key: str, tracked: _Tracked) -> str:
        """Asks; from here on what is told of the lock counts."""
        try:
            told = await self.client.pipeline.call("POST", f"{self._base}/locks", body, {**self.headers(), "Idempotency-Key": key})
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
            self.tell(one)
        return lock

    def _asked(self) -> None:
        with self._guard:
            self._asking -= 1
            if self._asking == 0:
                self._news.clear()

    async def _undo(self, body: Mapping[str, Any], key: str) -> None:
        try:
            told = await self.client.pipeline.call("POST", f"{self._base}/locks", body, {**self.headers(), "Idempotency-Key": key})
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
        if self.stream.is_heard and left > 0:
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
            self.stream.use(-1)

    def forget(self, lock: str) -> None:
        """It is given back, or lost: nobody needs to be told of it any more."""
        with self._guard:
            was_there = self._tracked.pop(lock, None) is not None
        if was_there:
            self.stream.use(-1)

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
            await self.client.pipeline.call("DELETE", f"{self._base}/locks/{quoted(lock)}", None, self.headers())
        except (*SESSION_OVER, Forbidden, LockLost, Closed):
            # It is gone already, or goes with the session.
            return

    async def _return_for_sure(self, lock: str) -> None:
        while not self.stopping.is_set():
            try:
                await self._return(lock)
                return
            except StargusError:
                await self.stopping.wait(LOCK_RETURN_EVERY)

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
            for one in tracked:
                one.is_over = True
                if one.fence is not None:
                    one.lost = LockLost(f"The lock was lost. {why}")
        if self.client.locks is self:
            self.client.locks = None
        self.stopping.set()
        self.lease.nudge.set()
        self.stream.end()
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
                "DELETE", self.path, None, self.headers(), timeout=FAREWELL_TIMEOUT, retry_for=0
            )
        except StargusError:
            return

    # What its stream tells

    def wake_all(self) -> None:
        """Whoever waits for a lock looks what to do now."""
        with self._guard:
            tracked = list(self._tracked.values())
        for one in tracked:
            one.signal.set()

    def look_at_all(self) -> None:
        """What was told of the locks may have been missed: they are asked for."""
        with self._guard:
            tracked = dict(self._tracked)
        if tracked:
            self.client.spawn(lambda: self._look_at(tracked), "locks-look")

    async def _look_at(self, tracked: Mapping[str, _Tracked]) -> None:
        for lock, one in tracked.items():
            if self.stopping.is_set():
                return
            try:
                await self._look(lock, one, 0.0)
            except StargusError:
                # The stream goes on telling; and at the latest the next write does.
                continue

    def tell(self, data: Mapping[str, Any]) -> None:
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

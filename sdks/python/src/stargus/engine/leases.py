"""
The lease of the session that holds locks: renewed at a third of it. When it runs out is reckoned from when the last renewal that was answered was
sent, whatever the renewal that is under way waits for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import StargusError
from .lock_streams import SESSION_OVER

if TYPE_CHECKING:
    from .locking import LockSession


class Lease:
    """Of one session, which was asked for at `sent_at`."""

    def __init__(self, session: LockSession, seconds: float, sent_at: float) -> None:
        self._session = session
        self._seconds = seconds
        self._until = sent_at + seconds
        self._renew_at = sent_at + seconds / 3
        self._is_renewing = False
        #: Set when there may be something to do earlier.
        self.nudge = session.client.runtime.signal()

    async def keep(self) -> None:
        """Renews the lease, knows when it has run out, and closes the stream when nobody has needed it for a while."""
        session = self._session
        runtime = session.client.runtime
        while True:
            now = runtime.now()
            wake_at = self._until if self._is_renewing else min(self._renew_at, self._until)
            idle_at = session.stream.idle_at()
            await self.nudge.wait(max(0.0, (wake_at if idle_at is None else min(wake_at, idle_at)) - now))
            self.nudge.clear()
            if session.stopping.is_set():
                return
            session.stream.close_idle()
            now = runtime.now()
            if now >= self._until:
                session.over("The lease ran out: no renewal was answered in time.")
                return
            if now >= self._renew_at and not self._is_renewing:
                # Beside, for it may wait for a new token for longer than the lease lasts.
                self._is_renewing = True
                session.client.spawn(self._renew, "renew")

    async def _renew(self) -> None:
        session = self._session
        runtime = session.client.runtime
        pipeline = session.client.pipeline
        sent_at = runtime.now()
        left = max(0.1, self._until - sent_at)
        try:
            # Not for longer than the lease: whatever would be answered then comes too late.
            await pipeline.call(
                "POST", f"{session.path}/renew", None, session.headers(), timeout=min(left, pipeline.request_timeout), retry_for=0
            )
            self._until = sent_at + self._seconds
            self._renew_at = sent_at + self._seconds / 3
        except SESSION_OVER as error:
            session.over(f"The session of the lock has ended: {error.detail}")
        except StargusError:
            # Soon again, as long as there is time.
            self._renew_at = runtime.now() + self._seconds / 20
        finally:
            self._is_renewing = False
            self.nudge.set()

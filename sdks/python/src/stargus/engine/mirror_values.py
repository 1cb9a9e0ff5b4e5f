"""
The values of a sparse mirror: fetched when they are wanted, once for all who want them just then, and kept until they change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.json_values import text_of
from ..core.lru import FetchedValues
from ..core.view import Step
from ..errors import Conflict, StargusError
from ..items import Item
from ..limits import FETCHES_MAX
from .ports import Signal
from .turns import Turn

if TYPE_CHECKING:
    from .mirrors import MirrorEngine


class _Flight:
    """A value that is being fetched, for all who want it."""

    def __init__(self, signal: Signal) -> None:
        self.signal = signal
        self.item: Item | None = None
        self.error: BaseException | None = None
        #: The item was altered meanwhile, and its revision doesn't say so.
        self.is_stale = False


class MirrorValues:
    """Of one mirror, whose lock guards their state."""

    def __init__(self, mirror: MirrorEngine) -> None:
        self._mirror = mirror
        self._client = mirror.client
        self._about = mirror.about
        self._fetched = FetchedValues(mirror.about.memory_max)
        self._flights: dict[str, _Flight] = {}

    @property
    def kept(self) -> tuple[int, int]:
        """How many are in memory, and how many bytes of JSON they are."""
        with self._mirror.lock:
            return len(self._fetched), self._fetched.bytes

    def forget(self, step: Step) -> None:
        """Values that may be others now. Of an item whose revision isn't the commit's more may be shown than before, at the same revision."""
        if step.is_whole:
            self._fetched.clear()
            for flight in self._flights.values():
                flight.is_stale = True
        commit = self._mirror.state.view.revision
        for altered in step.altered:
            is_older = altered.item is not None and altered.item.revision != commit
            kept = self._fetched.get(altered.key)
            if kept is not None and (altered.item is None or is_older or kept.revision < altered.item.revision):
                self._fetched.drop(altered.key)
            if is_older and altered.key in self._flights:
                self._flights[altered.key].is_stale = True

    async def fetch(self, key: str) -> Item | None:
        """The item with its values, never older than what the mirror knows of; None where it has none of this key."""
        for _ in range(FETCHES_MAX):
            own: _Flight | None = None
            turn: Turn | None = None
            flight: _Flight | None = None
            with self._mirror.lock:
                known = self._mirror.state.shown(key)
                least = self._mirror.state.view.revision
                if known is not None and not self._mirror.is_sparse:
                    return known
                if known is None and (self._mirror.is_ready or not self._mirror.is_sparse):
                    return None
                turn = self._mirror.writes.last_of(key)
                if known is not None and turn is None:
                    kept = self._fetched.get(key)
                    if kept is not None and kept.revision >= known.revision:
                        return kept
                    flight = self._flights.get(key)
                    if flight is None:
                        own = self._flights[key] = _Flight(self._mirror.runtime.signal())
            if known is None:
                await self._mirror.wait_ready(self._client.pipeline.request_timeout)
            elif turn is not None:
                # What is being written through the mirror is a part of what it knows.
                await turn.done.wait()
            elif own is not None:
                # The item may be older than what the mirror knows of it, as where a policy changed.
                item = await self._fly(own, key, max(known.revision, least))
                if not own.is_stale and self._is_present(key, known, item):
                    return item
            elif flight is not None:
                await flight.signal.wait()
                if isinstance(flight.error, StargusError):
                    raise flight.error
                # Another error is of who asked, who was cancelled: it says nothing of the value.
                if flight.error is None and not flight.is_stale and (flight.item is None or flight.item.revision >= known.revision):
                    return flight.item
        raise Conflict(f"The item {key} changes faster than it can be read.")

    def _is_present(self, key: str, known: Item, item: Item | None) -> bool:
        """Whether what was read is as new as what the mirror knows of by now. It was read at the revision that was known then, or a later one."""
        with self._mirror.lock:
            present = self._mirror.state.shown(key)
        return item is None or present is None or present.revision <= max(known.revision, item.revision)

    async def _fly(self, flight: _Flight, key: str, revision: int) -> Item | None:
        try:
            flight.item = await self._client.calls.get(self._about.collection, key, revision or None, self._about.fields)
        except BaseException as error:
            flight.error = error
            raise
        finally:
            with self._mirror.lock:
                del self._flights[key]
                known = self._mirror.state.shown(key)
                item = flight.item
                if item is not None and known is not None and not flight.is_stale and item.revision >= known.revision:
                    self._fetched.put(item, len(text_of(item.as_dict())))
            flight.signal.set()
        return flight.item

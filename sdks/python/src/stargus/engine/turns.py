"""
The order of the writes through a mirror: so many at once at most, the others in the order in which they came; and those of one item are sent one
after the other. Who gives up leaves the order of the others as it is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ..core.mirrored import PendingWrite
from ..limits import WRITES_WAITING_MAX
from .ports import Signal


class Turn:
    """One write's."""

    def __init__(self, write: PendingWrite, signal: Callable[[], Signal]) -> None:
        self.write = write
        self.has_place = False
        #: Set when it has a place among the writes that may be shown, or there will be none.
        self.placed = signal()
        #: Set when it is the first of its item's.
        self.is_first = signal()
        #: Set when its outcome is known, or it was given up.
        self.done = signal()


class Turns:
    """Of one mirror, whose lock is held by who calls. `begin` is called with each write that gets a place, in their order."""

    def __init__(self, signal: Callable[[], Signal], begin: Callable[[PendingWrite], None]) -> None:
        self._signal = signal
        self._begin = begin
        self._free = WRITES_WAITING_MAX
        self._without: deque[Turn] = deque()
        self._of: dict[str, deque[Turn]] = {}

    def ask(self, write: PendingWrite) -> Turn:
        """A turn; it must be left, whatever happens."""
        turn = Turn(write, self._signal)
        if self._free > 0:
            self._enter(turn)
        else:
            self._without.append(turn)
        return turn

    def _enter(self, turn: Turn) -> None:
        self._free -= 1
        turn.has_place = True
        self._begin(turn.write)
        queue = self._of.setdefault(turn.write.key, deque())
        queue.append(turn)
        if queue[0] is turn:
            turn.is_first.set()
        turn.placed.set()

    def leave(self, turn: Turn) -> None:
        """It is over. Its place is handed to who has waited longest, so that nobody who comes just then is before them."""
        turn.done.set()
        if not turn.has_place:
            if turn in self._without:
                self._without.remove(turn)
            return
        key = turn.write.key
        queue = self._of[key]
        queue.remove(turn)
        if queue:
            queue[0].is_first.set()
        else:
            del self._of[key]
        self._free += 1
        if self._without:
            self._enter(self._without.popleft())

    def end(self) -> None:
        """There are no more places: who waits for one is told."""
        for turn in self._without:
            turn.placed.set()
        self._without.clear()

    def last_of(self, key: str) -> Turn | None:
        """That of the newest write of an item, if one is under way."""
        queue = self._of.get(key)
        return queue[-1] if queue else None

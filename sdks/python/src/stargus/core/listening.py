"""Changes that wait for one iterator: in their order, and never more than a bound, beyond which they are one `reset`."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from ..items import Change
from ..limits import CHANGES_WAITING_MAX


class WaitingChanges:
    """Filled by the mirror, emptied by its reader."""

    def __init__(self, most: int = CHANGES_WAITING_MAX) -> None:
        self._most = most
        self._changes: deque[Change] = deque()

    def __len__(self) -> int:
        return len(self._changes)

    def add(self, changes: Sequence[Change], revision: int) -> None:
        """Adds them; `revision` is that of the mirror now."""
        if len(self._changes) + len(changes) > self._most:
            self._changes.clear()
            self._changes.append(Change("reset", "", (), (), None, None, None, revision))
        else:
            self._changes.extend(changes)

    def take(self) -> Change | None:
        """The oldest one."""
        return self._changes.popleft() if self._changes else None

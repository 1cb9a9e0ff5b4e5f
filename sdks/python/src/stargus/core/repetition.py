"""When what failed is tried again: for requests until a time is over, for streams for as long as they are wanted."""

from __future__ import annotations

import random
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from datetime import timezone

from ..errors import ProblemError
from ..limits import RETRY_WAIT_FIRST, RETRY_WAIT_MAX, STREAM_WAIT_FIRST, STREAM_WAIT_MAX, TOLD_TIME_MAX

Chance = Callable[[], float]

#: To ask for these again changes nothing: who holds or waits must act first, or the call has waited already.
_NOT_BY_WAITING = frozenset({"deadlock", "lockConflict"})

#: Of a server, or of a proxy before it, that will be back.
_STATUS_OF_THE_MOMENT = frozenset({408, 425, 429, 500, 502, 503, 504})


def may_be_repeated(problem: ProblemError) -> bool:
    """Whether the same request may succeed by itself a little later."""
    return problem.retryable and problem.code not in _NOT_BY_WAITING


def is_of_the_moment(status: int) -> bool:
    """Whether a status without a problem is worth another attempt."""
    return status in _STATUS_OF_THE_MOMENT


def wait_before(attempt: int, retry_after: float | None, time_left: float, chance: Chance = random.random) -> float | None:
    """
    Seconds to wait before the next attempt, or None to give up.

    `attempt` counts those that failed, from 1. `time_left` is what is left of the time for which it may be repeated.
    """
    if retry_after is not None:
        wait = retry_after
    else:
        wait = chance() * min(RETRY_WAIT_MAX, RETRY_WAIT_FIRST * 2.0 ** min(attempt - 1, 10))
    return wait if wait < time_left else None


def stream_wait(failures: int, not_before: float, chance: Chance = random.random) -> float:
    """
    Seconds to wait before a stream is opened again.

    `failures` counts attempts in a row that didn't become live: 0 after one that had been. `not_before` is what the server asked for.
    """
    if failures == 0:
        return not_before
    return max(not_before, chance() * min(STREAM_WAIT_MAX, STREAM_WAIT_FIRST * 2.0 ** min(failures - 1, 10)))


def retry_after_of(header: str | None, date: str | None) -> float | None:
    """Seconds that a `Retry-After` means; one that names a time is reckoned from the answer's own `Date`, whatever clock is here."""
    if not header:
        return None
    if header.strip().isdecimal() and header.isascii():
        return min(float(header), TOLD_TIME_MAX)
    try:
        until = parsedate_to_datetime(header)
        since = parsedate_to_datetime(date or "")
    except (TypeError, ValueError):
        return None
    return min(TOLD_TIME_MAX, max(0.0, (until.replace(tzinfo=until.tzinfo or timezone.utc) - since.replace(tzinfo=since.tzinfo or timezone.utc)).total_seconds()))


def seconds_of(milliseconds: object) -> float:
    """A time that the server tells, in seconds; 0 where it tells none."""
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, (int, float)) or not milliseconds > 0:
        return 0.0
    return min(milliseconds, TOLD_TIME_MAX * 1000) / 1000

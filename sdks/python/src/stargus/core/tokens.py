"""The life of a token: by a clock that nobody sets, from before it was asked for. And the server's time, as its answers tell it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from ..errors import ProtocolError
from ..limits import TOKEN_LIFE_USED


#: As good as for ever: what is longer no clock can be asked for.
_LIFE_MS_MAX = 1e15


@dataclass(frozen=True, slots=True)
class Token:
    """An access token and what renews it."""

    access: str
    kind: str
    refresh: str | None
    #: When it should be renewed, and when it is over, on the monotonic clock.
    renew_at: float
    over_at: float

    def __repr__(self) -> str:
        return f"Token({self.kind}, …)"


def token_of(answer: Mapping[str, Any], asked_at: float) -> Token:
    """What a token request answered. Raises ProtocolError."""
    try:
        life = min(answer["expiresInMs"], _LIFE_MS_MAX) / 1000
        refresh = answer.get("refreshToken")
        kind = str(answer.get("tokenType") or "Bearer")
        return Token(str(answer["accessToken"]), kind, refresh, asked_at + life * TOKEN_LIFE_USED, asked_at + life)
    except (KeyError, TypeError) as error:
        raise ProtocolError("The server's answer to the login has no token.") from error


class ServerTime:
    """What time it is at the server, reckoned from the last answer that told it."""

    def __init__(self) -> None:
        self._difference: float | None = None

    def told(self, date: str | None, now: float) -> None:
        """An answer said `Date`, at `now` of the monotonic clock."""
        try:
            self._difference = parsedate_to_datetime(date or "").timestamp() - now
        except (TypeError, ValueError):
            return

    def at(self, now: float) -> int:
        """Seconds since 1970. Raises ProtocolError where no answer has told it."""
        if self._difference is None:
            raise ProtocolError("The server's answers have no Date, so nothing can be signed for it.")
        return int(now + self._difference)

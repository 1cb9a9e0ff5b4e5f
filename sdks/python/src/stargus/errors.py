"""
The errors of this library. Each has a `code`; programs go by it or by the class, people by the message.

`StargusError` is the mother of all. `ProblemError` and its subclasses are what the server refused; the others are the library's own.
A code that this version doesn't know is a plain `ProblemError`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar


__all__ = [
    "BadRequest",
    "CacheFailed",
    "CacheInUse",
    "Closed",
    "Conflict",
    "CursorExpired",
    "Deadlock",
    "EventTooLarge",
    "Forbidden",
    "IdempotencyKeyReused",
    "IncompatibleServer",
    "Invalid",
    "InvalidCursor",
    "InvalidFilter",
    "InvalidName",
    "LockConflict",
    "LockLost",
    "Locked",
    "LoginFailed",
    "NotFound",
    "NotStargus",
    "NumberOutOfRange",
    "PreconditionFailed",
    "ProblemError",
    "ProtocolError",
    "ScanLimit",
    "SchemaViolation",
    "SequenceGap",
    "SessionFenced",
    "SignatureInvalid",
    "StargusError",
    "Timeout",
    "TooLarge",
    "TooManyRequests",
    "Unauthenticated",
    "Unavailable",
    "Unreachable",
]


class StargusError(Exception):
    """Something went wrong. `code` says what, in one word."""

    code: str = "unknown"


class ProblemError(StargusError):
    """
    The server refused a request (RFC 9457; docs/ERRORS.md lists the codes).

    `status` is the HTTP status, or None where the library refused in the server's stead. `problem` has all members of the answer.
    """

    default_code: ClassVar[str] = "unknown"

    def __init__(self, message: str | None = None, *, problem: Mapping[str, Any] | None = None, status: int | None = None,
                 retry_after: float | None = None) -> None:
        self.problem: Mapping[str, Any] = problem or {}
        self.code = str(self.problem.get("code") or self.default_code)
        #: The HTTP status of the answer.
        self.status: int | None = status
        #: What is wrong in this case.
        self.detail: str = str(self.problem.get("detail") or self.problem.get("title") or message or self.code)
        #: Whether the same request may succeed later.
        self.retryable: bool = self.problem.get("retryable") is True
        #: Names the request in the server's log.
        self.request_id: str | None = _text(self.problem.get("requestId"))
        #: The places that are wrong, as the server tells them: `{pointer, code, detail}`.
        self.errors: Sequence[Mapping[str, Any]] = self.problem.get("errors") or ()
        #: Seconds after which the server may be asked again, where it said so.
        self.retry_after = retry_after
        super().__init__(message or f"{self.detail} ({self.code})")


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


class BadRequest(ProblemError):
    """The request can't be understood; `errors` has the places."""

    default_code = "badRequest"


class InvalidName(ProblemError):
    """The name of a pool, a collection or an attribute, or an item's key, breaks the rules."""

    default_code = "invalidName"


class InvalidFilter(ProblemError):
    """A filter is malformed or too large."""

    default_code = "invalidFilter"


class InvalidCursor(ProblemError):
    """A cursor or page token didn't come from this server, or came from another query."""

    default_code = "invalidCursor"


class NumberOutOfRange(ProblemError):
    """A number can't be held exactly by an IEEE double; send such as strings."""

    default_code = "numberOutOfRange"


class Unauthenticated(ProblemError):
    """Who asks is not known: no token, or one that is over, revoked or forged."""

    default_code = "unauthenticated"


class Forbidden(ProblemError):
    """The request is understood and not allowed, mostly by a policy."""

    default_code = "forbidden"


class NotFound(ProblemError):
    """There is no such thing, or it is hidden."""

    default_code = "notFound"


class Conflict(ProblemError):
    """The present state stands against the request, such as an item that exists already."""

    default_code = "conflict"


class LockConflict(ProblemError):
    """Others hold what the lock would exclude, and it didn't become free in time. `problem["holders"]` may name them."""

    default_code = "lockConflict"


class Deadlock(ProblemError):
    """To wait for this lock would be for ever. Give back what is held, and begin again."""

    default_code = "deadlock"


class SessionFenced(ProblemError):
    """The session has ended, or another process resumed it."""

    default_code = "sessionFenced"


class SequenceGap(ProblemError):
    """A numbered batch doesn't follow the last one of its session; `problem["expected"]` does."""

    default_code = "sequenceGap"


class CursorExpired(ProblemError):
    """The log no longer reaches back to the cursor: commits are missing. `oldest` and `current` are cursors that can be used."""

    default_code = "cursorExpired"

    @property
    def oldest(self) -> str | None:
        """The oldest cursor from which the log can be read."""
        return _text(self.problem.get("oldest"))

    @property
    def current(self) -> str | None:
        """The cursor of the present state."""
        return _text(self.problem.get("current"))


class PreconditionFailed(ProblemError):
    """A condition doesn't hold, such as `if_revision`. Read again, decide again."""

    default_code = "preconditionFailed"


class LockLost(ProblemError):
    """
    A lock is no longer held. `status` is 412 where the server said so in answer to a write, and None where the library knows it otherwise:
    from the session's stream, or because the lease ran out.
    """

    default_code = "lockLost"


class TooLarge(ProblemError):
    """The body, or the item or commit that it would make, is too large."""

    default_code = "tooLarge"


class Invalid(ProblemError):
    """The request is well-formed but can't be carried out."""

    default_code = "invalid"


class SchemaViolation(ProblemError):
    """The item, as the write would make it, breaks the definition of its collection. `errors` has each place."""

    default_code = "schemaViolation"


class ScanLimit(ProblemError):
    """The query would have to examine too much. Declare an index, or narrow it."""

    default_code = "scanLimit"


class IdempotencyKeyReused(ProblemError):
    """The idempotency key was used for another request."""

    default_code = "idempotencyKeyReused"


class Locked(ProblemError):
    """Another session has locked what the request would write; `problem["locks"]` names its lock."""

    default_code = "locked"


class TooManyRequests(ProblemError):
    """Too much, or too much at once. `retry_after` says when to come back, where the server said so."""

    default_code = "tooManyRequests"


class Unavailable(ProblemError):
    """The server can't answer now."""

    default_code = "unavailable"


class Unreachable(StargusError, ConnectionError):
    """Nobody answered, or the connection broke, for as long as was tried."""

    code = "unreachable"


class Timeout(StargusError, TimeoutError):
    """No answer came in time."""

    code = "timeout"


class NotStargus(StargusError):
    """Who answered is no Stargus server: another program, or a proxy's page."""

    code = "notStargus"


class IncompatibleServer(StargusError):
    """The server has another major version of the API, or not this one."""

    code = "incompatibleServer"


class ProtocolError(StargusError):
    """The server said what the library can't understand, or more in one answer than it takes in."""

    code = "protocolError"


class EventTooLarge(StargusError):
    """An event of a stream is larger than `event_bytes_max`, or a commit larger than its bound."""

    code = "eventTooLarge"


class LoginFailed(StargusError):
    """Who one says to be couldn't be shown, or can't be any more."""

    code = "loginFailed"


class CacheInUse(StargusError):
    """Another process, or another mirror, has the cache file."""

    code = "cacheInUse"


class CacheFailed(StargusError):
    """The cache can't be opened or written."""

    code = "cacheFailed"


class SignatureInvalid(StargusError):
    """A webhook isn't signed by that secret, or is too old."""

    code = "signatureInvalid"


class Closed(StargusError):
    """The client or mirror was closed."""

    code = "closed"


_BY_CODE: Mapping[str, type[ProblemError]] = {
    kind.default_code: kind
    for kind in (
        BadRequest, InvalidName, InvalidFilter, InvalidCursor, NumberOutOfRange, Unauthenticated, Forbidden, NotFound, Conflict, LockConflict,
        Deadlock, SessionFenced, SequenceGap, CursorExpired, PreconditionFailed, LockLost, TooLarge, Invalid, SchemaViolation, ScanLimit,
        IdempotencyKeyReused, Locked, TooManyRequests, Unavailable,
    )
}


def problem_error(problem: Mapping[str, Any], status: int | None, retry_after: float | None = None) -> ProblemError:
    """The error of a problem, by its code."""
    kind = _BY_CODE.get(str(problem.get("code")), ProblemError)
    return kind(problem=problem, status=status, retry_after=retry_after)

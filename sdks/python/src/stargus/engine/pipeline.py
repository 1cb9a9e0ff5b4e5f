"""
The one way that all requests go: who asks is added, a write gets its idempotency key, what may succeed later is repeated, and what was refused
becomes an error of this library.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from typing import Any, Protocol

from .. import errors
from ..core.repetition import is_of_the_moment, may_be_repeated, retry_after_of, wait_before
from ..errors import Closed, NotStargus, ProblemError, ProtocolError, StargusError, Unauthenticated, problem_error
from ..version import USER_AGENT
from .ports import Line, NoAnswer, Request, Response, Runtime, Stream

#: Calls by POST that would do something twice, and take no idempotency key: they make a key, a pin or a secret, import, or send something.
_ONCE = re.compile(r"^/v1/(auth/keys|pins|pools/[^/]+/(import|notifiers/[^/]+/(test|rotateSecret|deliveries/[^/]+/redeliver)))$")

#: Others that take none: reads by POST, and what is the same if it is done twice.
_KEYLESS = re.compile(r"^/v1/(identities/[^/]+/envelope/unlock|pools/[^/]+/(collections/[^/]+/query|policy/(check|explain|preview)|sessions/[^/]+/renew))$")

#: Of these a proxy says that it didn't hand the request over.
_STATUS_OF_THE_UNDONE = frozenset({425, 429, 503})


class Credentials(Protocol):
    """Who asks."""

    async def headers(self, method: str, path: str) -> dict[str, str]:
        """What a request must have. `path` without its query. Raises LoginFailed."""
        ...

    async def refused(self, sent: Mapping[str, str], date: str | None) -> bool:
        """A request with these headers was answered 401: whether another attempt is worth while."""
        ...


def takes_key(method: str, path: str) -> bool:
    """Whether a request is a write that can be repeated under a key."""
    if method not in ("POST", "PUT", "PATCH", "DELETE"):
        return False
    path = path.partition("?")[0]
    return not path.startswith("/v1/auth/") and not (method == "POST" and (_KEYLESS.match(path) or _ONCE.match(path)))


def is_once(method: str, path: str) -> bool:
    """Whether a request would do something twice if it was repeated."""
    return method == "POST" and _ONCE.match(path.partition("?")[0]) is not None


class Pipeline:
    """Of one client."""

    def __init__(self, runtime: Runtime, url: str, request_timeout: float, retry_for: float) -> None:
        self.runtime = runtime
        self.url = url
        self.request_timeout = request_timeout
        self.retry_for = retry_for
        self.credentials: Credentials | None = None

    async def send(
        self, request: Request, *, timeout: float | None = None, retry_for: float | None = None, is_known: bool = True,
        unsure_is_final: bool = False,
    ) -> Response:
        """
        The answer, of a status below 400.

        `is_known`: says who asks. `unsure_is_final`: what may have been done isn't repeated. Raises the errors of this library.
        """
        runtime = self.runtime
        closing = runtime.closing
        if timeout is None:
            timeout = self.request_timeout
        until = runtime.now() + (self.retry_for if retry_for is None else retry_for)
        if takes_key(request.method, request.path) and "Idempotency-Key" not in request.headers:
            request.headers["Idempotency-Key"] = str(uuid.uuid4())
        request.headers.setdefault("User-Agent", USER_AGENT)
        once = is_once(request.method, request.path)
        attempt = 0
        was_refused = False
        while True:
            if closing.is_set():
                raise _closed()
            credentials = self.credentials if is_known else None
            added: dict[str, str] = {}
            failure: StargusError
            retry_after: float | None = None
            try:
                if credentials is not None:
                    path = request.path.partition("?")[0]
                    added = await credentials.headers(request.method, path)
                    response = await runtime.send(
                        Request(request.method, request.path, {**request.headers, **added}, request.body, request.base), timeout
                    )
                else:
                    response = await runtime.send(request, timeout)
            except NoAnswer as error:
                if closing.is_set():
                    raise _closed() from None
                failure = _unanswered(error, request.base or self.url)
                if (unsure_is_final or once) and error.was_sent:
                    raise failure from error
            else:
                verdict = judge(response.status, response.headers, response.body)
                if verdict is None:
                    return response
                failure = verdict
                if isinstance(failure, Unauthenticated) and credentials is not None and not was_refused:
                    was_refused = True
                    if await credentials.refused(added, response.headers.get("date")):
                        continue
                if isinstance(failure, ProblemError):
                    if not may_be_repeated(failure):
                        raise failure
                    retry_after = failure.retry_after
                elif not is_of_the_moment(response.status) or (once and response.status not in _STATUS_OF_THE_UNDONE):
                    raise failure
                else:
                    retry_after = retry_after_of(response.headers.get("retry-after"), response.headers.get("date"))
            attempt += 1
            wait = wait_before(attempt, retry_after, until - runtime.now())
            if wait is None:
                raise failure
            if await closing.wait(wait):
                raise _closed()

    async def call(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None, **how: Any
    ) -> Any:
        """Sends JSON, and answers what came back as JSON."""
        given = headers or {}
        data: bytes | None = None
        if body is not None:
            data = _encode(body).encode()
            given["Content-Type"] = "application/json"
        return parsed(await self.send(Request(method, path, given, data), **how))

    async def open(self, line: Line, request: Request) -> Stream:
        """
        One attempt at a stream.

        Raises NoAnswer and Stopped as they come, for whoever holds the stream comes back by rules of their own; else what was refused.
        """
        request.headers.setdefault("User-Agent", USER_AGENT)
        was_refused = False
        while True:
            if self.runtime.closing.is_set():
                raise _closed()
            added: dict[str, str] = {}
            if self.credentials is not None:
                added = await self.credentials.headers(request.method, request.path.partition("?")[0])
            stream = await line.open(
                Request(request.method, request.path, {**request.headers, **added}, request.body, request.base), self.request_timeout
            )
            if stream.status == 200 and _is_type(stream.headers.get("content-type"), "text/event-stream"):
                return stream
            try:
                body = await stream.rest(self.request_timeout)
            except NoAnswer:
                # A page without an end is enough to know by.
                kind = stream.headers.get("content-type")
                if _is_type(kind, "application/problem+json") or _is_type(kind, "application/json"):
                    raise
                body = b""
            finally:
                await stream.close()
            failure = judge(stream.status, stream.headers, body) or NotStargus(
                f"{self.url} answered something else than a stream of events. Is there a proxy before it?"
            )
            if isinstance(failure, Unauthenticated) and self.credentials is not None and not was_refused:
                was_refused = True
                if await self.credentials.refused(added, stream.headers.get("date")):
                    continue
            if not isinstance(failure, ProblemError) and is_of_the_moment(stream.status):
                raise NoAnswer(str(failure), was_sent=True)
            raise failure


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def parsed(response: Response) -> Any:
    """The body as JSON. Raises ProtocolError."""
    if not response.body:
        return None
    try:
        return json.loads(response.body)
    except (ValueError, RecursionError) as error:
        raise ProtocolError("The server's answer is no JSON.") from error


def judge(status: int, headers: Mapping[str, str], body: bytes) -> StargusError | None:
    """What is wrong with an answer."""
    kind = headers.get("content-type")
    if status < 400:
        if 300 <= status < 400 and status != 304:
            return NotStargus(f"The server sends elsewhere ({status} to {headers.get('location', 'nowhere')}). Connect to where it really is.")
        if kind is not None and kind.startswith("application/json"):
            return None
        if not body or _is_type(kind, "application/json") or _is_type(kind, "application/x-ndjson") or _is_type(kind, "application/problem+json"):
            return None
        return _no_stargus(status, kind)
    if not _is_type(kind, "application/problem+json") and not _is_type(kind, "application/json"):
        return _no_stargus(status, kind)
    try:
        problem = json.loads(body)
    except (ValueError, RecursionError):
        return ProtocolError(f"The server refused with {status}, and what it says is no JSON.")
    if not isinstance(problem, dict) or not isinstance(problem.get("code"), str):
        return _no_stargus(status, kind)
    return problem_error(problem, status, retry_after_of(headers.get("retry-after"), headers.get("date")))


def _no_stargus(status: int, kind: str | None) -> NotStargus:
    return NotStargus(
        f"Who answered is no Stargus server: status {status}, {kind or 'no type'}. Check the URL, and whether a proxy or a network's login page is in the way."
    )


def _is_type(given: str | None, wanted: str) -> bool:
    return given is not None and given.partition(";")[0].strip().lower() == wanted


def _unanswered(error: NoAnswer, url: str) -> StargusError:
    if error.is_late:
        return errors.Timeout(f"{url} gave no answer in time ({error}). Is it overloaded, or request_timeout too short?")
    return errors.Unreachable(f"{url} can't be reached: {error}. Is the server running, and the URL right?")


def _closed() -> Closed:
    return Closed("The client was closed.")

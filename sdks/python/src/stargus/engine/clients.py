"""A client: what belongs to it, from the first question to the last goodbye."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlsplit

from ..core.canonical import quoted
from ..errors import Closed, IncompatibleServer, NotStargus, ProblemError, StargusError
from .calls import Calls
from .feeds import FeedEngine
from .logins import told_subject
from .mirrors import Attachment, MirrorEngine
from .pipeline import Pipeline
from .ports import Job, Line, Runtime, Stream, StreamCalls

if TYPE_CHECKING:
    from .locking import LockSession

T = TypeVar("T")
API_VERSION = "v1"

#: Minor versions are the same API, with more in it.
_SAME_API = re.compile(rf"{API_VERSION}(\.[0-9]+)*")

_log = logging.getLogger("stargus")

OnProblem = Callable[[Exception], object]


class ClientEngine:
    """Of one pool of one server."""

    def __init__(
        self, runtime: Runtime, url: str, pool: str, request_timeout: float, retry_for: float, event_bytes_max: int, on_problem: OnProblem | None,
        make_streams: Callable[[Pipeline], StreamCalls],
    ) -> None:
        self.runtime = runtime
        self.url = url
        self.pool = pool
        self.event_bytes_max = event_bytes_max
        self.pipeline = Pipeline(runtime, url, request_timeout, retry_for)
        self.calls = Calls(self.pipeline, pool)
        self.mirrors: set[MirrorEngine] = set()
        self.feeds: set[FeedEngine] = set()
        #: The calls that open streams.
        self.streams = make_streams(self.pipeline)
        self.locks: LockSession | None = None
        self.making_locks = runtime.mutex()
        self._on_problem = on_problem
        self._subject: str | None = None
        self.is_closed = False
        self._jobs: set[Job] = set()
        self._jobs_lock = threading.Lock()

    async def greet(self) -> Mapping[str, Any]:
        """Asks the server who it is. Raises NotStargus, IncompatibleServer, Unreachable, Timeout."""
        try:
            about = await self.pipeline.call("GET", "/v1", is_known=False)
        except ProblemError as error:
            if error.status == 404:
                raise IncompatibleServer(f"{self.url} knows no API {API_VERSION}. Install the library of its version.") from error
            raise
        if not isinstance(about, dict) or about.get("name") != "stargus" or not isinstance(about.get("apiVersion"), str):
            raise NotStargus(f"At {self.url} is another program than a Stargus server. Check the URL.")
        if not _SAME_API.fullmatch(about["apiVersion"]):
            raise IncompatibleServer(
                f"{self.url} speaks version {about['apiVersion']} of the API, this library {API_VERSION}. Install the library of that version."
            )
        return about

    async def subject(self) -> str:
        """Who one is to the server."""
        if self.pipeline.credentials is None:
            return "anonymous"
        if self._subject is None:
            self._subject = await told_subject(self.pipeline)
        return self._subject

    def became(self, subject: str) -> None:
        """Who one is from now on."""
        self._subject = subject
        for mirror in list(self.mirrors):
            mirror.writes.forget_rules()

    async def effective_rules(self) -> Any:
        """The rules that hold for the caller."""
        return await self.pipeline.call("GET", f"/v1/pools/{quoted(self.pool)}/policy/effective")

    def tell_problem(self, problem: Exception) -> None:
        """Tells what reaches nobody's call; to the log, where nobody else wants to know."""
        if self._on_problem is None:
            # What the library raises says it all; another error came out of somebody's own code, and must be found there.
            _log.warning("Pool %s: %s", self.pool, problem, exc_info=None if isinstance(problem, StargusError) else problem)
            return
        try:
            self._on_problem(problem)
        except Exception:
            return

    def guarded(self, callback: Callable[[T], object], value: T) -> None:
        """Calls what somebody gave; what it throws is told, and stops nothing."""
        try:
            callback(value)
        except Exception as error:
            self.tell_problem(error)

    def check_open(self) -> None:
        """Raises Closed."""
        if self.is_closed:
            raise Closed("The client was closed.")

    def attach(self, about: Attachment) -> MirrorEngine:
        """A mirror, which begins at once."""
        self.check_open()

        async def call(line: Line, parameters: Mapping[str, Any]) -> Stream:
            return await self.streams.attach(line, self.pool, about.collection, parameters)

        mirror = MirrorEngine(self, about, call)
        self.mirrors.add(mirror)
        if mirror.is_ended:
            self.mirrors.discard(mirror)
        return mirror

    def changes(self, selection: Mapping[str, str], since: str | None, follow: bool) -> FeedEngine:
        """A feed, which begins when it is asked for something."""
        self.check_open()

        async def call(line: Line, parameters: Mapping[str, Any]) -> Stream:
            return await self.streams.changes(line, self.pool, parameters)

        feed = FeedEngine(self, selection, since, follow, call)
        self.feeds.add(feed)
        return feed

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        """Work beside that ends by itself, at the latest when `closing` is set; closing the client waits for it."""
        jobs: list[Job] = []

        async def run() -> None:
            try:
                await work()
            finally:
                with self._jobs_lock:
                    self._jobs.difference_update(jobs)

        with self._jobs_lock:
            job = self.runtime.spawn(run, name)
            jobs.append(job)
            self._jobs.add(job)

    async def put_notifier(self, name: str, definition: Mapping[str, Any]) -> str | None:
        """Makes a notifier or defines it anew; the secret where there was none."""
        answer = await self.pipeline.call("PUT", f"/v1/pools/{quoted(self.pool)}/notifiers/{quoted(name)}", dict(definition))
        secret = answer.get("secret") if isinstance(answer, dict) else None
        return secret if isinstance(secret, str) else None

    async def close(self) -> None:
        """Ends all that it opened, even if who closes it is cancelled meanwhile. Who closes it a second time waits for the same."""
        self.is_closed = True
        locks = self.locks
        try:
            if locks is not None:
                await locks.end()
        finally:
            self.runtime.closing.set()
            self.runtime.interrupt()
            try:
                for mirror in list(self.mirrors):
                    await mirror.close()
                for feed in list(self.feeds):
                    await feed.close()
                with self._jobs_lock:
                    jobs = list(self._jobs)
                for job in jobs:
                    await job.join()
            finally:
                await self.runtime.close()


#: What a path has besides letters and digits; what was percent-encoded stays so.
_OF_A_PATH = "/%-._~!$&'()*+,;=:@"


def plain_url(url: str) -> str:
    """The server's URL, which may have a path, without a slash at the end. Raises ValueError for what is none."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"The URL of a server begins with http:// or https://; {url!r} doesn't.")
    if parts.query or parts.fragment or parts.username is not None:
        raise ValueError("The URL of a server has no query, fragment or user.")
    return f"{parts.scheme}://{parts.netloc}{quote(parts.path, safe=_OF_A_PATH).rstrip('/')}"

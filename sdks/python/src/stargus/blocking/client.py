"""The client for programs that wait, and for threads."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from types import TracebackType
from typing import Any

from ..engine.calls import query_body
from ..engine.clients import ClientEngine, plain_url
from ..engine.locking import acquire
from ..engine.logins import log_in
from ..engine.mirrors import Attachment
from ..generated_api import Api
from ..items import Item
from ..limits import EVENT_BYTES_MAX, LOCK_LEASE, LOCK_WAIT, REQUEST_TIMEOUT, RETRY_FOR, SPARSE_BYTES_MAX
from ..options import Scope, Where, feed_parameters, notifier_of, scopes_of
from .feeds import Feed
from .locks import Lock
from .mirrors import Mirror
from .streams import ThreadStreamCalls
from .runtime import ThreadRuntime, drive
from .writing import Writes


def connect(
    url: str, pool: str, *, request_timeout: float = REQUEST_TIMEOUT, retry_for: float = RETRY_FOR, event_bytes_max: int = EVENT_BYTES_MAX,
    on_problem: Callable[[Exception], object] | None = None, ssl_context: ssl.SSLContext | None = None,
) -> Client:
    """
    Asks the server once who it is, and answers a client of the pool, which it doesn't make.

    `request_timeout`: seconds for one attempt at a request. `retry_for`: seconds for which one is repeated in all, 0: never. `event_bytes_max`: of one
    event of a stream. `on_problem` is told what happens in the background and reaches nobody's call;
    without it, the logger `stargus` is.

    Raises Unreachable, Timeout, NotStargus, IncompatibleServer; ValueError for what is no URL of a server.
    """
    at = plain_url(url)
    runtime = ThreadRuntime(at, ssl_context)
    engine = ClientEngine(runtime, at, pool, request_timeout, retry_for, event_bytes_max, on_problem, ThreadStreamCalls)
    try:
        about = drive(engine.greet())
    except BaseException:
        drive(engine.close())
        raise
    return Client(engine, str(about.get("version", "")))


class Client(Writes):
    """
    Speaks to one pool of one server; `connect` makes it. It may be used by many threads at once. Whoever made it closes it, and everything that it
    opened closes with it; it is a context manager.
    """

    def __init__(self, engine: ClientEngine, server_version: str) -> None:
        super().__init__(engine.calls)
        self._engine = engine
        #: The version of the server that answered `connect`.
        self.server_version = server_version

    @property
    def url(self) -> str:
        """The server's, as it was given to `connect`."""
        return self._engine.url

    @property
    def pool(self) -> str:
        """The pool's name."""
        return self._engine.pool

    @cached_property
    def api(self) -> Api:
        """The generated layer, which has every call of the API with its types, by this client's connection."""
        # Not before it is wanted: to load it, and pydantic, takes longer than all the rest.
        from .generated_calls import BoundApiClient

        return Api(BoundApiClient(self._engine.pipeline))

    def authenticate(
        self, *, api_key: str | None = None, token: str | None = None, key_file: str | os.PathLike[str] | Mapping[str, Any] | None = None,
        account: str | None = None, passphrase: str | None = None, recovery_code: str | None = None, one_time_key: bool = False,
        audience: str | None = None,
    ) -> str:
        """
        Logs in by one of: an API key; an access token; a key file (its path, or its content `{account, jwk}`); an account with its passphrase or
        recovery code. Answers the subject. From then on all requests and streams say who asks, and tokens are renewed.

        `one_time_key`: the tokens are bound to a key pair of this login's own, so that a stolen one is worthless. `audience`: the origin that the server
        is known as, where that isn't the URL's. Raises LoginFailed.
        """
        engine = self._engine
        subject = drive(
            log_in(
                engine.pipeline, api_key=api_key, token=token, key_file=key_file, account=account, passphrase=passphrase, recovery_code=recovery_code,
                one_time_key=one_time_key, audience=audience,
            )
        )
        engine.became(subject)
        return subject

    # Reading

    def get(self, collection: str, key: str) -> Item | None:
        """The item; None where there is none."""
        return drive(self._calls.get(collection, key))

    def query(
        self, collection: str, where: Where | None = None, *, order: str | Sequence[str] | None = None, prefix: str | None = None,
        start: str | None = None, end: str | None = None, fields: Sequence[str] | None = None, page_size: int | None = None,
    ) -> Iterator[Item]:
        """The items that match, one after the other. Pages of `page_size` (50 where it isn't given) are fetched as they are needed."""
        body = query_body(where, prefix, start, end, order, fields, page_size)
        token: str | None = None
        while True:
            items, token = drive(self._calls.page(collection, body, token))
            yield from items
            if token is None:
                return

    def count(
        self, collection: str, where: Where | None = None, *, prefix: str | None = None, start: str | None = None, end: str | None = None
    ) -> int:
        """How many match."""
        return drive(self._calls.count(collection, query_body(where, prefix, start, end, None, None, None)))

    # Following

    def attach(
        self, collection: str, *, where: Where | None = None, prefix: str | None = None, start: str | None = None, end: str | None = None,
        key: str | None = None, fields: Sequence[str] | None = None, values: str = "full", cache: str | os.PathLike[str] | None = None,
        memory_max: int = SPARSE_BYTES_MAX, on_denied: str = "error",
    ) -> Mirror:
        """
        A mirror of the collection, or of the part of it that `where`, `prefix`, `start` and `end`, or `key` say, and of it all attributes or `fields`.
        It begins at once; `wait_ready` waits until it is complete.

        `values="none"` makes it sparse: values are fetched when they are wanted, and kept up to `memory_max` bytes of JSON. `cache`: the file in which
        it is kept. `on_denied`: what the refusal of a write through it does: `error`, `event`, `ignore`.
        """
        about = Attachment(collection, where, prefix, start, end, key, fields, values, cache, memory_max, on_denied)
        return Mirror(self._engine.attach(about))

    def changes(
        self, since: str | None = None, *, follow: bool = True, collection: str | None = None, where: Where | None = None, key: str | None = None,
        prefix: str | None = None, start: str | None = None, end: str | None = None, fields: Sequence[str] | None = None, values: str | None = None,
    ) -> Feed:
        """
        The commits of the pool, one after the other, each once and in order, for ever, or with `follow=False` until it has caught up.

        `since` is a cursor, `start`, or now where it isn't given; then this call asks where the pool is. The others say what of the commits is
        told. Its iterator raises CursorExpired where the log no longer reaches back, so that commits are missing.
        """
        feed = self._engine.changes(feed_parameters(collection, where, key, prefix, start, end, fields, values), since, follow)
        drive(feed.begin())
        return Feed(feed)

    # Locks, notifiers

    def lock(
        self, collection: str | None = None, *, key: str | None = None, prefix: str | None = None, start: str | None = None, end: str | None = None,
        attributes: Sequence[str] | None = None, also: Sequence[Scope] = (), mode: str = "exclusive", wait: float = LOCK_WAIT, lease: float = LOCK_LEASE,
        note: str | None = None,
    ) -> Lock:
        """
        Waits for its turn, for `wait` seconds at most, and answers the lock, a context manager: `with client.lock("rooms", key="hall") as held:`.

        It covers a collection (the pool without one), of it `key`, or `prefix`, or from `start` on before `end`, and of these items all or some
        `attributes`; and `also` other parts, as the API has them. `mode`: `exclusive`, `update`, `shared`. `lease`: seconds that the client's locks outlive
        a client that died; what the first lock says counts for all.

        Raises LockConflict when the time is over, Deadlock when it would be for ever.
        """
        scopes = scopes_of(collection, key, prefix, start, end, attributes, also)
        return Lock(self._calls, drive(acquire(self._engine, scopes, mode, wait, lease, note)))

    def put_notifier(
        self, name: str, *, events: Sequence[str], webhook_url: str | None = None, session: str | None = None, collection: str | None = None,
        prefix: str | None = None, where: Where | None = None, values: str | None = None, since: str | None = None, description: str | None = None,
    ) -> str | None:
        """
        Makes a notifier, or defines one anew, and answers the secret by which its webhooks are signed. It is told once: None where the notifier was
        there already.

        `events`: at least one of `add`, `change`, `delete`, `attach`, `detach`, `lock`. It delivers to `webhook_url`, or to a session's queue.
        """
        definition = notifier_of(events, webhook_url, session, collection, prefix, where, values, since, description)
        return drive(self._engine.put_notifier(name, definition))

    # Its end

    @property
    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self._engine.is_closed

    def close(self) -> None:
        """Ends all that it opened. Calls that are under way raise Closed."""
        drive(self._engine.close())

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Client of {self.pool} at {self.url}{', closed' if self.is_closed else ''}>"

"""Servers that aren't what they should be: each has its error, and nothing hangs or is left behind. Both clients."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import stargus
from servers import ABOUT, answer, bad_server, events, until
from stargus import aio
from stargus.blocking.runtime import ThreadRuntime, drive
from stargus.engine import logins
from stargus.engine.ports import NoAnswer, Request, Stopped

#: Does the same with both clients: what to call, and with what.
Attempt = Callable[[str], Any]


def connected(url: str) -> None:
    stargus.connect(url, "p", retry_for=0.2, request_timeout=1).close()


def connected_aio(url: str) -> None:
    async def run() -> None:
        await (await aio.connect(url, "p", retry_for=0.2, request_timeout=1)).close()

    asyncio.run(run())


@pytest.mark.parametrize("attempt", [connected, connected_aio])
@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (answer(b"<html>Welcome to the hotel</html>", "text/html"), stargus.NotStargus),
        (answer(b'{"name":"other","apiVersion":"v1"}'), stargus.NotStargus),
        (answer(b"[1]"), stargus.NotStargus),
        (answer(b'{"name":"stargus","apiVersion":"v2"}'), stargus.IncompatibleServer),
        (answer(b'{"name":"stargus","apiVersion":"v11"}'), stargus.IncompatibleServer),
        (answer(b'{"code":"notFound","status":404}', "application/problem+json", "404 Not Found"), stargus.IncompatibleServer),
        (answer(b"{ no JSON"), stargus.ProtocolError),
        (answer(b"gone", "text/plain", "301 Moved"), stargus.NotStargus),
        (b"SSH-2.0-OpenSSH_9.2\r\n", stargus.Unreachable),
        (b"", stargus.Unreachable),
        (b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{", stargus.Unreachable),
    ],
)
def test_who_is_no_server(attempt: Attempt, reply: bytes, kind: type[stargus.StargusError]) -> None:
    with bad_server(lambda line: reply) as url, pytest.raises(kind):
        attempt(url)


@pytest.mark.parametrize("attempt", [connected, connected_aio])
def test_nobody_is_there(attempt: Attempt, nobody_url: str) -> None:
    with pytest.raises(stargus.Unreachable):
        attempt(nobody_url)


@pytest.mark.parametrize("attempt", [connected, connected_aio])
def test_no_answer_comes(attempt: Attempt) -> None:
    gate = threading.Event()

    def reply(line: str) -> bytes:
        gate.wait(10)
        return b""

    with bad_server(reply) as url:
        started = time.monotonic()
        with pytest.raises(stargus.Timeout):
            attempt(url)
        assert time.monotonic() - started < 5
        gate.set()


@pytest.mark.parametrize("attempt", [connected, connected_aio])
def test_an_answer_without_end(attempt: Attempt) -> None:
    def reply(line: str) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n"
        while True:
            yield b" " * 1_000_000

    with bad_server(reply) as url, pytest.raises((stargus.ProtocolError, stargus.Timeout)):
        attempt(url)


def trickling(text: bytes) -> Iterator[bytes]:
    for at in range(len(text)):
        yield text[at : at + 1]
        time.sleep(0.1)


@pytest.mark.parametrize("attempt", [connected, connected_aio])
@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 200\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n200\r\n", b"HTTP/1.1 200 OK\r\n",
    ],
)
def test_an_answer_that_trickles_is_limited_as_a_whole(attempt: Attempt, head: bytes) -> None:
    def reply(line: str) -> Iterator[bytes]:
        yield head
        yield from trickling(b"x-more: x" + b" " * 200)

    with bad_server(reply) as url:
        started = time.monotonic()
        with pytest.raises(stargus.Timeout):
            attempt(url)
        assert time.monotonic() - started < 6


def test_a_connection_that_is_being_made_is_ended_at_once() -> None:
    with socket.socket() as full, socket.socket() as silent, socket.socket() as filler:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        # With this one waiting to be accepted the system answers no other.
        filler.connect(full.getsockname())
        silent.bind(("127.0.0.1", 0))
        silent.listen(5)
        for scheme, sock in (("http", full), ("https", full), ("https", silent)):
            for streams in (True, False):
                runtime = ThreadRuntime(f"{scheme}://127.0.0.1:{sock.getsockname()[1]}", None)
                line = runtime.line()
                came: list[BaseException] = []

                def work(runtime: ThreadRuntime = runtime, line: Any = line, streams: bool = streams) -> None:
                    try:
                        drive(line.open(Request("GET", "/"), 20.0) if streams else runtime.send(Request("GET", "/"), 20.0))
                    except (NoAnswer, Stopped) as error:
                        came.append(error)

                thread = threading.Thread(target=work)
                thread.start()
                time.sleep(0.3)
                assert thread.is_alive()
                started = time.monotonic()
                line.abort() if streams else runtime.interrupt()
                thread.join(5)
                assert not thread.is_alive() and time.monotonic() - started < 3
                assert type(came[0]) is (Stopped if streams else NoAnswer)
                drive(runtime.close())
                assert runtime.sockets == 0


@pytest.mark.parametrize("account", ["https://[::1", "https://me:secret@h/id/me", "https://h:99999/id/me", "https:///id/me", "mailto:me", "http://h/id/me"])
def test_what_is_no_account(account: str) -> None:
    with bad_server(lambda line: answer(ABOUT)) as url, stargus.connect(url, "p") as client:
        with pytest.raises(stargus.LoginFailed) as told:
            client.authenticate(account=account, passphrase="pass phrase")
        assert "secret" not in str(told.value) and "pass phrase" not in str(told.value)


@pytest.mark.parametrize("told", [b"[]", b"{}", b'"me"'])
def test_a_server_that_does_not_say_who_one_is(told: bytes, tmp_path: Any) -> None:
    with bad_server(lambda line: answer(ABOUT if " /v1 " in line else told)) as url, stargus.connect(url, "p") as client:
        with pytest.raises(stargus.ProtocolError):
            client.authenticate(api_key="key")
        assert client._engine.pipeline.credentials is None


@pytest.mark.parametrize("url", ["ftp://x", "127.0.0.1:8080", "http://", "http://user:secret@h", "http://h?x=1", "http://h/path#x"])
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(ValueError) as told:
        stargus.connect(url, "p")
    assert "secret" not in str(told.value)


def with_aio(url: str, work: Callable[[Any], Any], **options: Any) -> None:
    async def run() -> None:
        async with aio.connect(url, "p", **options) as client:
            await work(client)

    asyncio.run(run())


@pytest.mark.parametrize("is_aio", [False, True])
@pytest.mark.parametrize(
    ("reply", "count", "kind"),
    [
        (b"", 1, stargus.Unreachable),
        (answer(b"Bad gateway", "text/plain", "502 Bad Gateway"), 1, stargus.NotStargus),
        (answer(b"Not now", "text/plain", "503 Unavailable\r\nretry-after: 0\r\nconnection: close"), 3, None),
        (answer(b'{"code":"unavailable","retryable":true}', "application/problem+json", "503 Unavailable\r\nretry-after: 0\r\nconnection: close"), 3, None),
    ],
)
def test_what_would_be_done_twice_is_not_repeated_where_the_answer_was_lost(is_aio: bool, reply: bytes, count: int, kind: Any) -> None:
    asked: list[str] = []

    def told(line: str) -> bytes:
        if " /v1 " in line:
            return answer(ABOUT, status="200 OK\r\nconnection: close")
        asked.append(line)
        return reply if len(asked) < 3 else answer(b'{"event":"e","ok":true,"durationMs":1}')

    async def by_task(client: Any) -> None:
        await client.api.notifiers.test_notifier("p", "n")

    def attempt(url: str) -> None:
        if is_aio:
            return with_aio(url, by_task, retry_for=5)
        with stargus.connect(url, "p", retry_for=5) as client:
            client.api.notifiers.test_notifier("p", "n")

    with bad_server(told) as url:
        if kind is None:
            attempt(url)
        else:
            with pytest.raises(kind):
                attempt(url)
    assert len(asked) == count


def test_proofs_are_for_the_server_itself_where_a_proxy_has_it_at_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    origin: list[str] = []
    proven: list[str] = []

    def reply(line: str) -> bytes:
        path = line.split(" ")[1]
        assert path.startswith("/behind/v1")
        if path.endswith("/challenges"):
            told = json.dumps({"nonce": "n", "audience": origin[0], "expiresInMs": 60000}).encode()
            return answer(told, status="200 OK\r\ndate: Sat, 01 Jan 2028 00:00:00 GMT")
        if path.endswith("/token"):
            return answer(b'{"accessToken":"a","tokenType":"DPoP","expiresInMs":60000,"refreshToken":"r"}')
        return answer(b'{"subject":"me"}' if path.endswith("/me") else ABOUT)

    really = logins.possession_proof

    def proof(key: Any, **about: Any) -> str:
        proven.append(about["url"])
        return really(key, **about)

    monkeypatch.setattr(logins, "possession_proof", proof)
    with bad_server(reply) as url:
        origin.append(url)
        with stargus.connect(f"{url}/behind/", "p") as client:
            assert client.url == f"{url}/behind"
            assert client.authenticate(key_file={"account": "https://x.example/id/me", "jwk": _jwk()}, one_time_key=True) == "me"
        assert proven == [f"{url}/v1/auth/token", f"{url}/v1/auth/me"]


def _jwk() -> dict[str, str]:
    def text(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    private = Ed25519PrivateKey.generate()
    return {"kty": "OKP", "crv": "Ed25519", "d": text(private.private_bytes_raw()), "x": text(private.public_key().public_bytes_raw())}


def test_what_nobody_is_told_of_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def fails(change: stargus.Change) -> None:
        raise RuntimeError("a fault of the listener's")

    with bad_server(lambda line: answer(ABOUT)) as url, stargus.connect(url, "p") as client:
        client._engine.guarded(fails, None)
        client._engine.tell_problem(stargus.CacheFailed("The disk is full."))
    assert [(record.name, record.levelname, record.exc_info is not None) for record in caplog.records] == [
        ("stargus", "WARNING", True), ("stargus", "WARNING", False),
    ]
    assert "The disk is full." in caplog.text and "a fault of the listener's" in caplog.text
    caplog.clear()
    told: list[Exception] = []
    with bad_server(lambda line: answer(ABOUT)) as url, stargus.connect(url, "p", on_problem=told.append) as client:
        client._engine.guarded(fails, None)
    assert len(told) == 1 and not caplog.records


# Streams


class Both:
    """Attaches by one of the clients, and says what the mirror came to."""

    @staticmethod
    def waiting(url: str, work: Callable[[Any], None], **options: Any) -> None:
        with stargus.connect(url, "p", retry_for=0.5, **options) as client, client.attach("c") as mirror:
            work(mirror)

    @staticmethod
    def asyncio(url: str, work: Callable[[Any], None], **options: Any) -> None:
        async def run() -> None:
            async with aio.connect(url, "p", retry_for=0.5, **options) as client, client.attach("c") as mirror:
                await asyncio.to_thread(work, mirror)

        asyncio.run(run())


both = pytest.mark.parametrize("attach", [Both.waiting, Both.asyncio])

HELLO = 'event: hello\ndata: {"pool":"p","epoch":"e","heartbeatMs":15000}\n\n'


def streams(*replies: bytes | Callable[[], Iterator[bytes]]) -> Callable[[str], bytes | Iterator[bytes]]:
    """Answers the question who it is; and each stream with the next of these, the last of them from then on."""
    left = list(replies)

    def reply(line: str) -> bytes | Iterator[bytes]:
        if " /v1 " in line:
            return answer(ABOUT)
        told = left.pop(0) if len(left) > 1 else left[0]
        return told if isinstance(told, bytes) else told()

    return reply


def ended(mirror: Any, kind: type[stargus.StargusError]) -> None:
    until(lambda: mirror.error is not None)
    assert isinstance(mirror.error, kind), repr(mirror.error)


@both
def test_an_event_of_100_mib(attach: Any) -> None:
    sent = 0

    def flood() -> Iterator[bytes]:
        nonlocal sent
        yield events(HELLO, "event: snapshot\ndata: ")
        for _ in range(100):
            sent += 1
            yield b"x" * 1024 * 1024

    with bad_server(streams(flood)) as url:
        attach(url, lambda mirror: ended(mirror, stargus.EventTooLarge))
    # What it kept was bounded while it came.
    assert sent < 30


@both
def test_a_smaller_bound(attach: Any) -> None:
    with bad_server(streams(events(HELLO, "data: ", "x" * 5_000, "\n\n"))) as url:
        attach(url, lambda mirror: ended(mirror, stargus.EventTooLarge), event_bytes_max=4_000)


@both
@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (answer(b"<html></html>", "text/html"), stargus.NotStargus),
        (answer(b"{}"), stargus.NotStargus),
        (answer(b'{"code":"forbidden","status":403}', "application/problem+json", "403 Forbidden"), stargus.Forbidden),
        (answer(b'{"code":"unauthenticated","status":401}', "application/problem+json", "401 Unauthorized"), stargus.Unauthenticated),
        (events(HELLO, "event: snapshot\ndata: no JSON\n\n"), stargus.ProtocolError),
        (events(HELLO, "event: snapshot\ndata: [1]\n\n"), stargus.ProtocolError),
        (events(HELLO, 'event: live\nid: e-1\ndata: {"revision":1}\n\n'), stargus.ProtocolError),
        (events(HELLO, 'event: problem\ndata: {"code":"forbidden","status":403}\n\n'), stargus.Forbidden),
    ],
)
def test_streams_that_make_no_sense(attach: Any, reply: bytes, kind: type[stargus.StargusError]) -> None:
    with bad_server(streams(reply)) as url:
        attach(url, lambda mirror: ended(mirror, kind))


@both
def test_a_page_without_end_in_place_of_a_stream(attach: Any) -> None:
    def page() -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n\r\n"
        yield from trickling(b"<p>" * 70)

    with bad_server(streams(page)) as url:
        attach(url, lambda mirror: ended(mirror, stargus.NotStargus), request_timeout=1)


@both
def test_a_stream_lives_longer_than_a_request_may_take(attach: Any) -> None:
    count = 0

    def slowly() -> Iterator[bytes]:
        nonlocal count
        count += 1
        yield events(HELLO, part(1, "a"), LIVE)
        for _ in range(6):
            time.sleep(0.25)
            yield b": beat\n\n"
        yield b'event: bookmark\nid: e-7\ndata: {"revision":7}\n\n'
        time.sleep(1)

    with bad_server(streams(slowly)) as url:
        attach(url, lambda mirror: until(lambda: mirror.revision == 7), request_timeout=0.5)
    assert count == 1


def item(key: str) -> dict[str, Any]:
    return {"collection": "c", "key": key, "revision": 1, "attributes": {"key": key}}


def part(number: int, *keys: str) -> str:
    told = {"view": "c", "revision": 1, "items": [item(key) for key in keys], "part": number}
    return f"event: snapshot\ndata: {json.dumps(told)}\n\n"


LIVE = 'event: live\nid: e-1\ndata: {"view":"c","revision":1}\n\n'


@both
def test_a_connection_that_closes_in_the_middle_of_a_snapshot(attach: Any) -> None:
    def whole() -> Iterator[bytes]:
        yield events(HELLO, part(1, "a"), part(2, "b"), LIVE)
        time.sleep(3)

    broken = events(HELLO, part(1, "a", "gone"))
    half = broken + events(part(2, "b"))[:-30]
    shown: list[set[str]] = []

    def work(mirror: Any) -> None:
        until(lambda: shown.append(set(mirror)) or mirror.is_live)
        assert set(mirror) == {"a", "b"}

    with bad_server(streams(broken, half, b"", whole)) as url:
        attach(url, work)
    # Never a part of a snapshot.
    assert all(one in (set(), {"a", "b"}) for one in shown)


@both
def test_a_stream_in_single_bytes_with_what_a_newer_server_says(attach: Any) -> None:
    def slowly() -> Iterator[bytes]:
        newer = 'event: fanfare\ndata: no JSON either\n\nevent: hello\ndata: {"more":[1]}\n\n'
        text = events(HELLO, newer, part(1, "a"), LIVE)
        for at in range(len(text)):
            yield text[at : at + 1]
        time.sleep(2)

    with bad_server(streams(slowly)) as url:
        attach(url, lambda mirror: until(lambda: mirror.is_live and mirror["a"]["key"] == "a"))


def test_a_stream_that_is_silent_is_dead() -> None:
    count = 0

    def silent() -> Iterator[bytes]:
        nonlocal count
        count += 1
        yield events('event: hello\ndata: {"heartbeatMs":100}\n\n', part(1, "a"), LIVE)
        time.sleep(5)

    with bad_server(streams(silent)) as url, stargus.connect(url, "p") as client, client.attach("c") as mirror:
        mirror.wait_ready(5)
        until(lambda: count >= 3)
        assert mirror.error is None and set(mirror) == {"a"}


@both
def test_bye_is_heeded(attach: Any) -> None:
    at: list[float] = []

    def bye() -> Iterator[bytes]:
        at.append(time.monotonic())
        yield events(HELLO, part(1, "a"), LIVE, 'event: bye\ndata: {"reason":"shutdown","retryMs":600}\n\n')

    with bad_server(streams(bye)) as url:
        attach(url, lambda mirror: until(lambda: len(at) >= 3))
    assert all(b - a >= 0.55 for a, b in zip(at, at[1:]))


def test_a_refusal_that_passes_is_repeated_and_the_idempotency_key_is_the_same() -> None:
    lines: list[str] = []
    keys: list[str] = []
    problem = answer(
        b'{"code":"unavailable","status":503,"retryable":true}', "application/problem+json", "503 Unavailable\r\nretry-after: 0"
    )

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            line = self.rfile.readline().decode()
            length = 0
            while (header := self.rfile.readline().decode()) not in ("\r\n", ""):
                name, _, value = header.partition(":")
                if name.lower() == "content-length":
                    length = int(value)
                if name.lower() == "idempotency-key":
                    keys.append(value.strip())
            self.rfile.read(length)
            lines.append(line)
            if " /v1 " in line:
                self.wfile.write(answer(ABOUT))
            elif len(keys) < 3:
                self.wfile.write(problem)
            else:
                self.wfile.write(answer(b'{"key":"k","revision":1,"attributes":{}}'))

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        with stargus.connect(f"http://127.0.0.1:{server.server_address[1]}", "p") as client:
            assert client.set("c", "k", {}).revision == 1
    finally:
        server.shutdown()
        server.server_close()
    assert len(keys) == 3 and len(set(keys)) == 1


@both
def test_a_policy_that_shows_more_of_an_item_is_seen_by_a_sparse_mirror(attach: Any) -> None:
    gate = threading.Event()
    asked: list[str] = []

    def stream() -> Iterator[bytes]:
        told = {"view": "c", "revision": 1, "items": [{"collection": "c", "key": "a", "revision": 1}], "part": 1}
        yield events(HELLO, f"event: snapshot\ndata: {json.dumps(told)}\n\n", LIVE)
        gate.wait(5)
        change = {"op": "change", "collection": "c", "key": "a", "changed": ["more"], "removed": [], "revision": 1}
        yield f"event: changes\nid: e-2\ndata: {json.dumps({'revision': 2, 'changes': [change]})}\n\n".encode()
        time.sleep(3)

    def reply(line: str) -> bytes | Iterator[bytes]:
        if " /v1 " in line:
            return answer(ABOUT)
        if "/attach" in line:
            return stream()
        asked.append(line)
        return answer(json.dumps({"key": "a", "revision": 1, "attributes": {"n": 1, **({"more": 2} if gate.is_set() else {})}}).encode())

    async def fetched(mirror: Any) -> None:
        for _ in range(2):
            assert await mirror.fetch("a") == {"n": 1}
        gate.set()
        await mirror.reached(2, 5)
        for _ in range(2):
            assert await mirror.fetch("a") == {"n": 1, "more": 2}

    def work(mirror: Any) -> None:
        mirror.wait_ready(5)
        for _ in range(2):
            assert mirror["a"] == {"n": 1}
        gate.set()
        mirror.wait_reached(2, 5)
        for _ in range(2):
            assert mirror["a"] == {"n": 1, "more": 2}

    with bad_server(reply) as url:
        if attach is Both.waiting:
            with stargus.connect(url, "p") as client, client.attach("c", values="none") as mirror:
                work(mirror)
        else:
            async def run() -> None:
                async with aio.connect(url, "p") as client, client.attach("c", values="none") as mirror:
                    await mirror.ready(5)
                    await fetched(mirror)

            asyncio.run(run())
    # It was asked for once before, and once after.
    assert len(asked) == 2

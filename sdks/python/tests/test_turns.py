"""The order of the writes through a mirror, whoever gives up and however many wait."""

from __future__ import annotations

import asyncio
import json
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import stargus
import stargus.engine.turns
from servers import ABOUT, answer, events
from stargus import aio
from stargus.core.mirrored import PendingWrite
from stargus.engine.turns import Turns


class Signal:
    def __init__(self) -> None:
        self.is_on = False

    def set(self) -> None:
        self.is_on = True


def test_places_are_handed_on_and_order_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stargus.engine.turns, "WRITES_WAITING_MAX", 2)
    begun: list[PendingWrite] = []
    turns = Turns(Signal, begun.append)  # type: ignore[arg-type]
    one, two, three, four, five = (turns.ask(PendingWrite("k", "set", {"n": n})) for n in range(5))
    assert [turn.has_place for turn in (one, two, three)] == [True, True, False]
    turns.leave(four)
    turns.leave(two)
    # Its place is another one's at once, and its turn nobody's: the first is still under way.
    assert three.has_place and not three.is_first.is_on  # type: ignore[attr-defined]
    turns.leave(one)
    assert three.is_first.is_on and five.has_place and not five.is_first.is_on  # type: ignore[attr-defined]
    assert not turns.ask(PendingWrite("k", "set", {})).has_place
    assert [write.attributes.get("n") for write in begun] == [0, 1, 2, 4]


@contextmanager
def recorder(gate: threading.Event) -> Iterator[tuple[str, list[str]]]:
    """A server that notes the order in which writes come, and answers them when the gate is open."""
    came: list[str] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            try:
                while line := self.rfile.readline().decode():
                    length = 0
                    while (header := self.rfile.readline()) not in (b"\r\n", b""):
                        if header.lower().startswith(b"content-length:"):
                            length = int(header.split(b":")[1])
                    body = self.rfile.read(length)
                    if line.startswith("PUT"):
                        attributes = json.loads(body)["attributes"]
                        came.append(attributes["n"])
                        gate.wait(10)
                        self.wfile.write(answer(json.dumps({"key": "k", "revision": 5, "attributes": attributes}).encode()))
                    elif "/attach" in line:
                        live = 'event: snapshot\ndata: {"revision":1,"items":[]}\n\nevent: live\nid: e-1\ndata: {"revision":1}\n\n'
                        self.wfile.write(events('event: hello\ndata: {"heartbeatMs":15000}\n\n', live))
                        gate.wait(10)
                        time.sleep(0.3)
                        return
                    else:
                        self.wfile.write(answer(ABOUT))
            except OSError:
                return

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", came
    finally:
        gate.set()
        server.shutdown()
        server.server_close()


def test_a_write_that_is_cancelled_lets_nobody_overtake() -> None:
    gate = threading.Event()

    async def run(url: str, came: list[str]) -> None:
        async with aio.connect(url, "p") as client, client.attach("c") as mirror:
            await mirror.ready(5)
            first, second, third = (asyncio.ensure_future(mirror.set("k", {"n": n})) for n in ("first", "second", "third"))
            while not came:
                await asyncio.sleep(0.01)
            second.cancel()
            with pytest.raises(asyncio.CancelledError):
                await second
            fourth = asyncio.ensure_future(mirror.set("k", {"n": "fourth"}))
            await asyncio.sleep(0.3)
            assert came == ["first"] and mirror["k"] == {"n": "fourth"}
            gate.set()
            await asyncio.gather(first, third, fourth)

    with recorder(gate) as (url, came):
        asyncio.run(asyncio.wait_for(run(url, came), 30))
    assert came == ["first", "third", "fourth"]


def test_writes_beyond_the_bound_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stargus.engine.turns, "WRITES_WAITING_MAX", 2)
    gate = threading.Event()

    async def run(url: str, came: list[str]) -> None:
        async with aio.connect(url, "p") as client, client.attach("c") as mirror:
            await mirror.ready(5)
            writes = [asyncio.ensure_future(mirror.set("k", {"n": f"{n}"})) for n in range(8)]
            # Each that ends is followed at once by one that would take its place.
            for n, write in enumerate(writes[:4]):
                write.add_done_callback(lambda _, n=n: writes.append(asyncio.ensure_future(mirror.set("k", {"n": f"{8 + n}"}))))  # type: ignore[misc]
            await asyncio.sleep(0.2)
            gate.set()
            while len(came) < 12:
                await asyncio.sleep(0.01)
            await asyncio.gather(*writes)

    with recorder(gate) as (url, came):
        asyncio.run(asyncio.wait_for(run(url, came), 30))
    assert came == [f"{n}" for n in range(12)]


def test_a_mirror_that_ends_tells_who_waits_for_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stargus.engine.turns, "WRITES_WAITING_MAX", 1)
    gate = threading.Event()

    async def run(url: str, came: list[str]) -> None:
        async with aio.connect(url, "p", retry_for=0) as client:
            mirror = client.attach("c", on_denied="ignore")
            await mirror.ready(5)
            writes = [asyncio.ensure_future(mirror.set(key, {"n": key})) for key in "abc"]
            await asyncio.sleep(0.2)
            await mirror.close()
            for write in writes[1:]:
                with pytest.raises(stargus.Closed):
                    await write
            gate.set()
            await writes[0]

    with recorder(gate) as (url, came):
        asyncio.run(asyncio.wait_for(run(url, came), 30))
    assert came == ["a"]

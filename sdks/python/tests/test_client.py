"""Both clients against a server: what the scenarios don't ask of every language. Leaks, cancellation, clocks, the README, the examples."""

from __future__ import annotations

import asyncio
import base64
import os
import random
import re
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import stargus
from servers import OPERATOR_KEY, new_pool, until
from stargus import aio
from stargus.aio.runtime import TaskLine, TaskStream

_FOLDER = Path(__file__).parents[1]
_ENV = {**os.environ, "PYTHONPATH": str(_FOLDER / "src")}


def sockets() -> int:
    count = 0
    for number in range(512):
        try:
            count += stat.S_ISSOCK(os.fstat(number).st_mode)
        except OSError:
            continue
    return count


def own_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("stargus")]


def test_nothing_is_left_of_a_client(url: str, tmp_path: Path) -> None:
    threads, before = own_threads(), sockets()
    for round_ in range(3):
        client = stargus.connect(url, new_pool())
        mirrors = [client.attach("c", cache=tmp_path / f"{round_}-{n}") for n in range(3)] + [client.attach("c", values="none")]
        for mirror in mirrors:
            mirror.wait_ready(10)
        feed = client.changes()
        client.lock("c", key="k")
        client.set("d", "k", {})
        assert next(feed).revision > 0
        started = time.monotonic()
        client.close()
        assert time.monotonic() - started < 3
        for call in (lambda: client.get("c", "k"), lambda: client.attach("c"), lambda: client.lock("c"), lambda: client.changes()):
            with pytest.raises(stargus.Closed):
                call()
        with pytest.raises(stargus.Closed):
            next(feed)
    until(lambda: own_threads() == threads)
    assert sockets() == before


def test_closing_ends_what_waits(url: str, pool: str) -> None:
    other = stargus.connect(url, pool)
    held = other.lock("c", key="k")
    client = stargus.connect(url, pool)
    mirror = client.attach("c")
    mirror.wait_ready(10)
    came: list[str] = []

    def waits(name: str, work: Any) -> threading.Thread:
        def run() -> None:
            try:
                came.append(f"{name}: {work()!r}")
            except stargus.StargusError as error:
                came.append(f"{name}: {error.code}")

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    waiting = [
        waits("lock", lambda: client.lock("c", key="k")),
        waits("changes", lambda: list(mirror.changes())),
        waits("feed", lambda: list(client.changes())),
        waits("revision", lambda: mirror.wait_reached(10**9)),
    ]
    time.sleep(0.5)
    client.close()
    for thread in waiting:
        thread.join(5)
    assert sorted(came) == ["changes: []", "feed: closed", "lock: closed", "revision: closed"]
    until(lambda: other.count("_locks") == 1)
    held.release()
    other.close()


def test_nothing_is_left_of_an_asyncio_client(url: str, tmp_path: Path) -> None:
    async def run() -> None:
        before = sockets()
        for round_ in range(3):
            client = await aio.connect(url, new_pool())
            mirrors = [client.attach("c", cache=tmp_path / f"{round_}-{n}") for n in range(3)] + [client.attach("c", values="none")]
            for mirror in mirrors:
                await mirror.ready(10)
            feed = client.changes("start")
            await client.lock("c", key="k")
            await client.set("d", "k", {})
            async for commit in feed:
                if any(change["key"] == "k" and change["collection"] == "d" for change in commit.changes):
                    break
            await client.close()
            with pytest.raises(stargus.Closed):
                await client.get("c", "k")
            with pytest.raises(stargus.Closed):
                await feed.__anext__()
        for _ in range(100):
            if asyncio.all_tasks() == {asyncio.current_task()} and not own_threads():
                break
            await asyncio.sleep(0.02)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert sockets() == before

    asyncio.run(run())
    assert not own_threads()


def test_nothing_is_left_where_closing_is_cancelled_or_done_twice(url: str, pool: str, tmp_path: Path) -> None:
    async def turns(count: int) -> None:
        for _ in range(count):
            await asyncio.sleep(0)

    async def run() -> None:
        before = sockets()
        for wait in range(12):
            client = await aio.connect(url, pool)
            mirror = await client.attach("c", cache=tmp_path / "cache").ready(10)
            await client.lock("c", key=f"{wait}")
            first = asyncio.ensure_future(mirror.close())
            await turns(wait)
            await mirror.close()
            await first
            mirror = await client.attach("c", cache=tmp_path / "cache").ready(10)
            closing = asyncio.ensure_future(client.close())
            await turns(wait)
            closing.cancel()
            await asyncio.wait({closing})
            if wait == 0:
                # It hadn't begun.
                await client.close()
            for _ in range(200):
                if asyncio.all_tasks() == {asyncio.current_task()} and not own_threads():
                    break
                await asyncio.sleep(0.02)
            assert asyncio.all_tasks() == {asyncio.current_task()} and not own_threads() and sockets() == before, wait

    asyncio.run(run())


def test_a_feed_that_is_left_in_the_middle_leaves_nothing(client: stargus.Client) -> None:
    client.set("c", "k", {})
    for _ in range(3):
        for commit in client.changes("start"):
            assert commit.revision > 0
            break
    runtime = client._engine.runtime
    assert not runtime.lines and not client._engine.feeds and runtime.sockets == 1  # type: ignore[attr-defined]


def test_a_reader_that_is_cancelled_loses_nothing_of_a_stream() -> None:
    class Content:
        """What has come of an answer, as aiohttp keeps it."""

        def __init__(self) -> None:
            self.came = asyncio.Queue[bytes]()

        async def readany(self) -> bytes:
            return await self.came.get()

    async def run() -> None:
        for wait in range(8):
            content = Content()
            response: Any = SimpleNamespace(status=200, headers={}, content=content, close=lambda: None)
            runtime: Any = SimpleNamespace(lines=set())
            line = TaskLine(runtime)
            stream = TaskStream(response, line)
            reading = asyncio.ensure_future(stream.read(5))
            await asyncio.sleep(0.01)
            content.came.put_nowait(b"one")
            for _ in range(wait):
                await asyncio.sleep(0)
            reading.cancel()
            read: list[bytes] = []
            try:
                read.append(await reading)
            except asyncio.CancelledError:
                pass
            content.came.put_nowait(b"two")
            while len(read) < 2:
                read.append(await stream.read(1))
            assert read == [b"one", b"two"], wait
            left = asyncio.ensure_future(stream.read(5))
            await asyncio.sleep(0.01)
            left.cancel()
            await asyncio.wait({left})
            await stream.close()
            await line.close()
            assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())


def test_an_iterator_that_is_left_in_the_middle_is_forgotten(url: str, pool: str) -> None:
    async def run() -> None:
        async with aio.connect(url, pool) as client, client.attach("c") as mirror:
            await mirror.ready(10)
            for n in range(3):
                changes = mirror.changes()
                await client.set("c", "k", {"n": n})
                async for _ in changes:
                    break
                del changes
            assert not mirror._engine._listeners

    asyncio.run(run())


def test_a_task_that_is_cancelled_leaves_no_lock(url: str, pool: str) -> None:
    async def run() -> None:
        async with aio.connect(url, pool) as client, aio.connect(url, pool) as other:
            held = await other.lock("c", key="k")
            for wait in (0.0, 0.005, 0.02, 0.3):
                task = asyncio.ensure_future(client.lock("c", key="k")._acquired())
                await asyncio.sleep(wait)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            await held.release()
            for wait in (0.001, 0.003, 0.01):
                task = asyncio.ensure_future(client.lock("c", key="k")._acquired())
                await asyncio.sleep(wait)
                task.cancel()
                try:
                    await (await task).release()
                except asyncio.CancelledError:
                    pass
            async with other.lock("c", key="k", wait=10):
                pass
            for _ in range(200):
                if await other.count("_locks") == 0:
                    return
                await asyncio.sleep(0.02)
            raise AssertionError("A lock was left.")

    asyncio.run(asyncio.wait_for(run(), 60))


async def broken(client: aio.Client, held: aio.Lock) -> None:
    from stargus.generated.models.lock_break import LockBreak

    await client.api.locks.break_lock(client.pool, held.id, lock_break=LockBreak())


def test_the_block_of_a_lost_lock_is_cancelled(url: str, pool: str) -> None:
    async def run() -> None:
        async with aio.connect(url, pool) as client, aio.connect(url, pool) as other:
            with pytest.raises(stargus.LockLost):
                async with client.lock("c", key="k") as held:
                    await broken(other, held)
                    await asyncio.sleep(30)
            task = asyncio.current_task()
            assert task is not None and (not hasattr(task, "cancelling") or task.cancelling() == 0)
            await asyncio.sleep(0)
            # A body that never waits again still ends with it.
            with pytest.raises(stargus.LockLost):
                async with client.lock("c", key="k") as held:
                    await broken(other, held)
                    try:
                        await asyncio.sleep(30)
                    except asyncio.CancelledError:
                        pass
            await asyncio.sleep(0.01)
            # What the body raises is not replaced.
            with pytest.raises(KeyError):
                async with client.lock("c", key="k") as held:
                    await broken(other, held)
                    try:
                        await asyncio.sleep(30)
                    finally:
                        raise KeyError("own")
            await asyncio.sleep(0.01)

            # A foreign cancellation stays one.
            async def body() -> None:
                async with client.lock("c", key="k"):
                    await asyncio.sleep(30)

            foreign = asyncio.ensure_future(body())
            await asyncio.sleep(0.3)
            foreign.cancel()
            with pytest.raises(asyncio.CancelledError):
                await foreign
            assert await other.count("_locks") == 0

    asyncio.run(asyncio.wait_for(run(), 60))


def test_the_block_of_a_lost_lock_that_waits(client: stargus.Client) -> None:
    from stargus.generated.models.lock_break import LockBreak

    with pytest.raises(stargus.LockLost):
        with client.lock("c", key="k") as held:
            client.api.locks.break_lock(client.pool, held.id, lock_break=LockBreak())
            assert held.lost.wait(10)
            with pytest.raises(stargus.LockLost):
                held.set("c", "k", {})
            with pytest.raises(stargus.LockLost):
                held.check()


def test_a_lease_runs_out_while_its_renewal_waits_for_a_token(client: stargus.Client) -> None:
    gate = threading.Event()

    class Hanging:
        async def headers(self, method: str, path: str) -> dict[str, str]:
            gate.wait(20)
            return {}

        async def refused(self, sent: Any, date: Any) -> bool:
            return False

    held = client.lock("c", key="k", lease=3)
    client._engine.pipeline.credentials = Hanging()
    try:
        assert held.lost.wait(6)
        with pytest.raises(stargus.LockLost):
            held.check()
    finally:
        gate.set()
        client._engine.pipeline.credentials = None


def test_a_lock_outlives_its_lease(client: stargus.Client) -> None:
    with client.lock("c", key="k", lease=3) as held:
        assert not held.lost.wait(4.5)
        held.set("c", "k", {})


def test_many_threads_under_one_lock(client: stargus.Client) -> None:
    client.set("c", "k", {"n": 0})

    def work() -> None:
        with client.lock("c", key="other"):
            pass
        for _ in range(20):
            client.increment("c", "k", "n")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert client.get("c", "k") == {"n": 160}
    assert client.count("_locks") == 0


def test_mirrors_that_are_written_through_at_once_converge(url: str, pool: str) -> None:
    with stargus.connect(url, pool) as client:
        mirrors = [client.attach("c", values=values) for values in ("full", "full", "full")]
        for mirror in mirrors:
            mirror.wait_ready(10)

        def work(mirror: stargus.Mirror, seed: int) -> None:
            chance = random.Random(seed)
            for _ in range(60):
                key = f"k{chance.randint(0, 4)}"
                what = chance.random()
                if what < 0.2:
                    mirror.delete(key)
                elif what < 0.5:
                    mirror.set(key, {"a": chance.randint(0, 9)})
                else:
                    mirror.merge(key, {chance.choice("abc"): chance.choice([None, 1, {"d": 2}])})

        heard: list[dict[str, Any]] = [dict(mirror.snapshot()) for mirror in mirrors]
        for mirror, copy in zip(mirrors, heard):
            def hear(change: stargus.Change, copy: dict[str, Any] = copy) -> None:
                if change.item is None:
                    copy.pop(change.key, None)
                else:
                    copy[change.key] = change.item
            mirror.on_change(hear)
        threads = [threading.Thread(target=work, args=(mirror, seed * 3 + number)) for seed in range(2) for number, mirror in enumerate(mirrors)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        last = client.set("c", "end", {}).revision
        state = {item.key: item.as_dict() for item in client.query("c")}
        for mirror, copy in zip(mirrors, heard):
            mirror.wait_reached(last, 10)
            until(lambda: {key: item.as_dict() for key, item in copy.items()} == state)
            assert {key: item.as_dict() for key, item in mirror.items()} == state
            assert not mirror._engine.state.pending


def test_a_wrong_clock_keeps_nobody_out(required_url: str, pool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    operator = OPERATOR_KEY

    def text(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    # A year ahead, wherever the time is asked for that somebody can set.
    really = time.time
    monkeypatch.setattr(time, "time", lambda: really() + 366 * 86400)
    with stargus.connect(required_url, pool) as client:
        with pytest.raises(stargus.Unauthenticated):
            client.get("c", "k")
        with pytest.raises(stargus.LoginFailed):
            client.authenticate(api_key="wrong")
        assert client.authenticate(api_key=operator)
        with client.attach("c") as mirror:
            mirror.wait_ready(10)
    private = Ed25519PrivateKey.generate()
    jwk = {"kty": "OKP", "crv": "Ed25519", "d": text(private.private_bytes_raw()), "x": text(private.public_key().public_bytes_raw())}
    with stargus.connect(required_url, pool) as client, pytest.raises(stargus.LoginFailed) as refused:
        client.authenticate(key_file={"account": "https://nowhere.invalid/id/me", "jwk": jwk})
    assert jwk["d"] not in str(refused.value)


def test_the_first_lines_of_the_readme_run(url: str) -> None:
    readme = (_FOLDER / "README.md").read_text(encoding="utf-8")
    found = re.search(r"```python\n(.*?)```", readme, re.DOTALL)
    assert found
    program = found[1].replace("http://127.0.0.1:8080", url).replace('"demo"', f'"{new_pool()}"')
    done = subprocess.run([sys.executable, "-c", program], env=_ENV, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == ["change hall ['light']", "off 1"]


def test_the_generated_layer_is_loaded_when_it_is_wanted(url: str) -> None:
    program = """
import sys, stargus, stargus.aio
def loaded(): return any(name == "pydantic" or name.startswith("stargus.generated.") for name in sys.modules)
with stargus.connect(sys.argv[1], "lazy") as client:
    client.set("rooms", "hall", {"n": 1})
    print(loaded(), client.api.system.get_about().name, loaded())
"""
    done = subprocess.run([sys.executable, "-c", program, url], env=_ENV, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["False", "stargus", "True"]


def test_tequila(url: str) -> None:
    done = subprocess.run([sys.executable, str(_FOLDER / "examples/tequila.py"), url], env=_ENV, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["this program set one, and reads 1", "another program sees one as 1"]


def test_the_whiteboard(url: str) -> None:
    with stargus.connect(url, "whiteboard") as client:
        try:
            client.api.pools.delete_pool("whiteboard")
        except stargus.NotFound:
            pass
    programs = [
        subprocess.Popen(
            [sys.executable, str(_FOLDER / "examples/whiteboard.py"), url, name, "3", "--expect", "6"], env=_ENV, stdout=subprocess.PIPE, text=True
        )
        for name in ("ann", "bob")
    ]
    said = [program.communicate(timeout=60)[0].splitlines() for program in programs]
    assert [program.returncode for program in programs] == [0, 0]
    assert [len(lines) for lines in said] == [3, 3]
    assert all(re.fullmatch(r"bob drew \w+ at \d+,\d+", line) for line in said[0])

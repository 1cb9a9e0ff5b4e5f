"""The Python clients, measured: PUTs of 16 callers beside raw HTTP, or a mirror. Prints a line of JSON. See suites/clients.mjs.

`--aio` measures the asyncio client.
"""

import asyncio
import json
import sys
import threading
import time

import stargus

CALLERS = 16


def attributes(n: int) -> dict:
    return {"n": n, "text": "x" * 180}


def memory_mb() -> float:
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1000
    return 0.0


def rate(seconds: float, put) -> float:
    """Of threads."""
    begun = time.monotonic()
    end = begun + seconds
    counts = [0] * CALLERS
    failed: list[Exception] = []

    def call(caller: int) -> None:
        n = 0
        try:
            while time.monotonic() < end:
                put(caller, n)
                n += 1
        except Exception as error:
            failed.append(error)
        counts[caller] = n

    threads = [threading.Thread(target=call, args=(caller,)) for caller in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return sum(counts) / (time.monotonic() - begun)


def puts(url: str, pool: str, seconds: float) -> dict:
    import urllib3

    http = urllib3.PoolManager(maxsize=CALLERS)

    def raw(caller: int, n: int) -> None:
        body = json.dumps({"attributes": attributes(n)}).encode()
        answer = http.request(
            "PUT", f"{url}/v1/pools/{pool}/collections/puts/items/raw{caller}-{n % 100}", body=body, headers={"content-type": "application/json"}
        )
        json.loads(answer.data)
        assert answer.status < 300

    raw_rate = rate(seconds, raw)
    with stargus.connect(url, pool) as client:
        own = rate(seconds, lambda caller, n: client.set("puts", f"own{caller}-{n % 100}", attributes(n)))
    return {"rawPerSecond": raw_rate, "clientPerSecond": own}


async def rate_of_tasks(seconds: float, put) -> float:
    begun = time.monotonic()
    end = begun + seconds

    async def call(caller: int) -> int:
        n = 0
        while time.monotonic() < end:
            await put(caller, n)
            n += 1
        return n

    counts = await asyncio.gather(*(call(caller) for caller in range(CALLERS)))
    return sum(counts) / (time.monotonic() - begun)


async def puts_of_tasks(url: str, pool: str, seconds: float) -> dict:
    import aiohttp

    import stargus.aio

    async with aiohttp.ClientSession() as http:

        async def raw(caller: int, n: int) -> None:
            body = json.dumps({"attributes": attributes(n)}).encode()
            address = f"{url}/v1/pools/{pool}/collections/puts/items/raw{caller}-{n % 100}"
            async with http.put(address, data=body, headers={"content-type": "application/json"}) as answer:
                json.loads(await answer.read())
                assert answer.status < 300

        raw_rate = await rate_of_tasks(seconds, raw)
    async with stargus.aio.connect(url, pool) as client:
        own = await rate_of_tasks(seconds, lambda caller, n: client.set("puts", f"own{caller}-{n % 100}", attributes(n)))
    return {"rawPerSecond": raw_rate, "clientPerSecond": own}


def told(begun: float, shown: float | None, ready: float, items: int, memory: float) -> dict:
    return {"shownMs": ((shown or ready) - begun) * 1000, "readyMs": (ready - begun) * 1000, "items": items, "memoryMb": memory}


def mirror(url: str, pool: str, collection: str, cache: str) -> dict:
    with stargus.connect(url, pool) as client:
        before = memory_mb()
        begun = time.monotonic()
        board = client.attach(collection, cache=cache or None)
        shown: list[float] = []

        def look() -> None:
            while not shown:
                if len(board) > 0:
                    shown.append(time.monotonic())
                time.sleep(0.001)

        threading.Thread(target=look, daemon=True).start()
        board.wait_ready(600)
        ready = time.monotonic()
        return told(begun, shown[0] if shown else None, ready, len(board), memory_mb() - before)


async def mirror_of_tasks(url: str, pool: str, collection: str, cache: str) -> dict:
    import stargus.aio

    async with stargus.aio.connect(url, pool) as client:
        before = memory_mb()
        begun = time.monotonic()
        board = client.attach(collection, cache=cache or None)
        shown: float | None = None

        async def look() -> None:
            nonlocal shown
            while shown is None:
                if len(board) > 0:
                    shown = time.monotonic()
                await asyncio.sleep(0.001)

        looking = asyncio.create_task(look())
        await board.ready()
        ready = time.monotonic()
        looking.cancel()
        return told(begun, shown, ready, len(board), memory_mb() - before)


words = [word for word in sys.argv[1:] if word != "--aio"]
is_aio = "--aio" in sys.argv
mode, url, pool, *rest = words
if mode == "puts":
    result = asyncio.run(puts_of_tasks(url, pool, float(rest[0]))) if is_aio else puts(url, pool, float(rest[0]))
else:
    cache = rest[1] if len(rest) > 1 else ""
    result = asyncio.run(mirror_of_tasks(url, pool, rest[0], cache)) if is_aio else mirror(url, pool, rest[0], cache)
print(json.dumps(result))

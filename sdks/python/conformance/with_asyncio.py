"""Drives the asyncio client: a task for each command."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Coroutine
from typing import Any

import stargus
from answers import LOCK, Command, chosen, commits_answer, found, sockets, told
from commands import Commands, Heard
from stargus import aio

_END_S = 4.5
_running: set[asyncio.Task[Any]] = set()


def start(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    task = asyncio.get_running_loop().create_task(work, name="driver")
    _running.add(task)
    task.add_done_callback(_running.discard)
    return task


class Watched(Heard):
    """A mirror, whose iterator a task reads."""

    def __init__(self, mirror: aio.Mirror, is_sparse: bool) -> None:
        super().__init__(mirror, is_sparse)
        start(self._read(mirror.changes()))

    async def _read(self, changes: aio.Changes) -> None:
        try:
            async for change in changes:
                self.iterator.append(told(change, self.is_sparse))
        except stargus.StargusError:
            return


class Read:
    """A feed that is being read."""

    def __init__(self, client: aio.Client, arguments: dict[str, Any]) -> None:
        self.commits: list[stargus.Commit] = []
        self.is_ended = False
        self.error: BaseException | None = None
        self.changed = asyncio.Event()
        start(self._read(client, arguments))

    async def _read(self, client: aio.Client, arguments: dict[str, Any]) -> None:
        try:
            async for commit in client.changes(**arguments):
                self.commits.append(commit)
                self.changed.set()
        except Exception as failed:
            self.error = failed
        self.is_ended = True
        self.changed.set()

    async def next(self, count: int, timeout: float) -> dict[str, Any]:
        until = asyncio.get_running_loop().time() + timeout
        while len(self.commits) < count and not self.is_ended:
            self.changed.clear()
            try:
                await asyncio.wait_for(self.changed.wait(), until - asyncio.get_running_loop().time())
            except asyncio.TimeoutError:
                break
        commits, self.commits = self.commits[:count], self.commits[count:]
        if len(commits) < count and self.error is not None:
            raise self.error
        return {"commits": commits_answer(commits), "ended": self.is_ended and not self.commits}


class Body:
    """The body of a lock's block: waits until it is told to end, or is cancelled."""

    def __init__(self, locking: aio.Locking) -> None:
        loop = asyncio.get_running_loop()
        self.granted: asyncio.Future[aio.Lock] = loop.create_future()
        self.lost: asyncio.Future[str] = loop.create_future()
        self.may_end = asyncio.Event()
        self.task = start(self._run(locking))

    async def _run(self, locking: aio.Locking) -> None:
        try:
            async with locking as held:
                self.granted.set_result(held)
                await self.may_end.wait()
        except BaseException as error:
            if not self.granted.done():
                self.granted.set_exception(error)
            elif isinstance(error, stargus.StargusError):
                self.lost.set_result(error.code)
            else:
                self.lost.set_result(f"not an error of the library's: {error!r}")


class Driver(Commands):
    library = aio

    def watched(self, mirror: aio.Mirror, is_sparse: bool) -> Heard:
        return Watched(mirror, is_sparse)

    def read(self, client: aio.Client, arguments: dict[str, Any]) -> Read:
        return Read(client, arguments)

    def held(self, lock: Body) -> aio.Lock:
        return lock.granted.result()

    async def keys(self, items: Any) -> list[str]:
        return [item.key async for item in items]

    async def do_lock(self, command: Command) -> Any:
        body = Body(self.client(command["on"]).lock(command.get("collection"), **chosen(command, LOCK)))
        held = await body.granted
        self.locks[command["lock"]] = body
        return {"fence": held.fence}

    async def do_lost(self, command: Command) -> Any:
        body: Body = found(self.locks, command["lock"], "lock")
        try:
            return {"code": await asyncio.wait_for(asyncio.shield(body.lost), command["timeoutMs"] / 1000)}
        except asyncio.TimeoutError:
            raise stargus.Timeout("The lock wasn't lost in that time.") from None

    async def do_unlock(self, command: Command) -> Any:
        body: Body = found(self.locks, command["lock"], "lock")
        body.may_end.set()
        await asyncio.wait({body.task})
        return {}

    async def do_open(self, command: Command) -> Any:
        tasks = [task for task in asyncio.all_tasks() if task.get_name() != "driver" and task not in _running]
        threads = [
            thread for thread in threading.enumerate()
            if thread is not threading.main_thread() and thread.name != "driver" and not thread.name.startswith("asyncio_")
        ]
        names = [*(repr(task) for task in tasks), *(thread.name for thread in threads)]
        return {"tasks": len(names), "sockets": sockets() - self.sockets_before, "names": names}

    async def close(self) -> None:
        closing = [start(client.close()) for client in self.clients.values()]
        if closing:
            await asyncio.wait(closing, timeout=_END_S)


async def _drive() -> None:
    driver = Driver()
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def read() -> None:
        # Lines end by \n only: U+2028 may be within one.
        for line in sys.stdin.buffer:
            if line.strip():
                loop.call_soon_threadsafe(lambda command=json.loads(line): start(driver.handle(command)))
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=read, name="driver", daemon=True).start()
    await ended.wait()
    await driver.close()


def run() -> int:
    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.set_name("driver")
        await _drive()

    asyncio.run(main())
    return 0

"""Drives the asyncio client: a task for each command."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from collections.abc import Coroutine
from typing import Any

import stargus
from answers import (
    ATTACH,
    AUTHENTICATE,
    CONNECT,
    FEED,
    LOCK,
    QUERY,
    WRITE,
    Command,
    Unknown,
    chosen,
    commits_answer,
    failure,
    found,
    item_answer,
    sockets,
    state_answer,
    told,
    verify,
    write_answer,
)
from stargus import aio

_END_S = 4.5
_running: set[asyncio.Task[Any]] = set()


def start(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    task = asyncio.get_running_loop().create_task(work, name="driver")
    _running.add(task)
    task.add_done_callback(_running.discard)
    return task


class Watched:
    """A mirror, and what was heard of it."""

    def __init__(self, mirror: aio.Mirror, is_sparse: bool) -> None:
        self.mirror = mirror
        self.is_sparse = is_sparse
        self.callback: list[Any] = []
        self.iterator: list[Any] = []
        self.denied: list[str] = []
        mirror.on_change(lambda change: self.callback.append(told(change, is_sparse)))
        mirror.on_denied(lambda error: self.denied.append(error.code))
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


class Driver:
    def __init__(self) -> None:
        self.clients: dict[str, aio.Client] = {}
        self.problems: dict[str, list[str]] = {}
        self.mirrors: dict[str, Watched] = {}
        self.locks: dict[str, Body] = {}
        self.feeds: dict[str, Read] = {}
        self.sockets_before = sockets()

    async def handle(self, command: Command) -> None:
        try:
            work = getattr(self, f"do_{command.get('do')}", None)
            if work is None:
                raise Unknown(f"There is no command {command.get('do')}.")
            write_answer(command, {"ok": True, "value": await work(command)})
        except Exception as error:
            write_answer(command, failure(error))

    def client(self, name: str) -> aio.Client:
        return found(self.clients, name, "client")

    def watched(self, command: Command) -> Watched:
        return found(self.mirrors, command["mirror"], "mirror")

    def writer(self, name: str) -> Any:
        body = self.locks.get(name)
        return self.client(name) if body is None else body.granted.result()

    async def do_connect(self, command: Command) -> Any:
        problems = self.problems[command["client"]] = []

        def heard(error: Exception) -> None:
            problems.append(error.code if isinstance(error, stargus.StargusError) else repr(error))

        self.clients[command["client"]] = await aio.connect(command["url"], command["pool"], on_problem=heard, **chosen(command, CONNECT))
        return {}

    async def do_authenticate(self, command: Command) -> Any:
        return {"subject": await self.client(command["client"]).authenticate(**chosen(command, AUTHENTICATE))}

    async def do_attach(self, command: Command) -> Any:
        mirror = self.client(command["client"]).attach(command["collection"], **chosen(command, ATTACH))
        self.mirrors[command["mirror"]] = Watched(mirror, command.get("values") == "none")
        return {}

    async def do_ready(self, command: Command) -> Any:
        return {"revision": (await self.watched(command).mirror.ready(command["timeoutMs"] / 1000)).revision}

    async def do_reached(self, command: Command) -> Any:
        return {"revision": await self.watched(command).mirror.reached(command["revision"], command["timeoutMs"] / 1000)}

    async def do_state(self, command: Command) -> Any:
        watched = self.watched(command)
        return state_answer(watched.mirror, watched.is_sparse)

    async def do_heard(self, command: Command) -> Any:
        watched = self.watched(command)
        callback, watched.callback[:] = watched.callback[:], []
        iterator, watched.iterator[:] = watched.iterator[:], []
        return {"callback": callback, "iterator": iterator}

    async def do_denied(self, command: Command) -> Any:
        watched = self.watched(command)
        codes, watched.denied[:] = watched.denied[:], []
        return {"codes": codes}

    async def do_fetch(self, command: Command) -> Any:
        item = await self.watched(command).mirror.fetch(command["key"])
        return {} if item is None else {"attributes": item.as_dict()}

    async def do_kept(self, command: Command) -> Any:
        items, size = self.watched(command).mirror.kept
        return {"items": items, "bytes": size}

    async def do_write(self, command: Command) -> Any:
        op, key, options = command["op"], command.get("key"), chosen(command, WRITE)
        watched = self.mirrors.get(command["on"])
        if watched is not None:
            if op == "delete":
                existed = await watched.mirror.delete(key, **options)
                return {} if existed is None else {"existed": existed}
            return item_answer(await getattr(watched.mirror, op)(key, command["attributes"], **options))
        writer, collection = self.writer(command["on"]), command["collection"]
        if op in ("set", "merge"):
            return item_answer(await getattr(writer, op)(collection, key, command["attributes"], **options))
        if op == "create":
            return item_answer(await writer.create(collection, command["attributes"], key, **options))
        if op == "delete":
            return {"existed": await writer.delete(collection, key, **options)}
        if op == "increment":
            return {"value": await writer.increment(collection, key, command["attribute"], command["by"], **options)}
        raise Unknown(f"There is no op {op}.")

    async def do_batch(self, command: Command) -> Any:
        return {"revision": (await self.writer(command["on"]).batch(command["ops"], command.get("conditions"))).revision}

    async def do_get(self, command: Command) -> Any:
        return item_answer(await self.client(command["on"]).get(command["collection"], command["key"]))

    async def do_query(self, command: Command) -> Any:
        return {"keys": [item.key async for item in self.client(command["on"]).query(command["collection"], **chosen(command, QUERY))]}

    async def do_count(self, command: Command) -> Any:
        return {"count": await self.client(command["on"]).count(command["collection"], command.get("where"))}

    async def do_changes(self, command: Command) -> Any:
        self.feeds[command["feed"]] = Read(self.client(command["on"]), chosen(command, FEED))
        return {}

    async def do_next(self, command: Command) -> Any:
        return await found(self.feeds, command["feed"], "feed").next(command["count"], command["timeoutMs"] / 1000)

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

    async def do_verify(self, command: Command) -> Any:
        return verify(command)

    async def do_discover(self, command: Command) -> Any:
        return {"urls": [server.url for server in await aio.discover(command["timeoutMs"] / 1000)]}

    async def do_api(self, command: Command) -> Any:
        client = self.client(command["on"])
        if command["call"] == "getAbout":
            return {"version": (await client.api.system.get_about()).version}
        if command["call"] == "listItems":
            return {"keys": [item.key for item in (await client.api.items.list_items(client.pool, command["collection"])).items]}
        raise Unknown(f"There is no call {command['call']}.")

    async def do_close(self, command: Command) -> Any:
        if "client" in command:
            await self.client(command["client"]).close()
        else:
            await self.watched(command).mirror.close()
        return {}

    async def do_open(self, command: Command) -> Any:
        tasks = [task for task in asyncio.all_tasks() if task.get_name() != "driver" and task not in _running]
        threads = [
            thread for thread in threading.enumerate()
            if thread is not threading.main_thread() and thread.name != "driver" and not thread.name.startswith("asyncio_")
        ]
        names = [*(repr(task) for task in tasks), *(thread.name for thread in threads)]
        return {"tasks": len(names), "sockets": sockets() - self.sockets_before, "names": names}

    async def do_problems(self, command: Command) -> Any:
        problems = found(self.problems, command["client"], "client")
        codes, problems[:] = problems[:], []
        return {"codes": codes}

    async def do_exit(self, command: Command) -> Any:
        os._exit(9)

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

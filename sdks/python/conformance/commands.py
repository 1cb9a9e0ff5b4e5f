"""
What both drivers do for a command. Each is a coroutine: one of the client that waits never suspends, for what it awaits has blocked already. What
differs, they do themselves.
"""

from __future__ import annotations

import inspect
import os
from typing import Any

import stargus
from answers import (
    ATTACH,
    AUTHENTICATE,
    CONNECT,
    FEED,
    QUERY,
    WRITE,
    Command,
    Unknown,
    chosen,
    failure,
    found,
    item_answer,
    sockets,
    state_answer,
    told,
    verify,
    write_answer,
)


async def settled(value: Any) -> Any:
    """What a call of either client comes to."""
    return await value if inspect.isawaitable(value) else value


def taken(heard: list[Any]) -> list[Any]:
    """What was heard since the last time; more may come meanwhile."""
    some = heard[:]
    del heard[: len(some)]
    return some


class Heard:
    """A mirror, and what was heard of it. The iterator is read by the driver."""

    def __init__(self, mirror: Any, is_sparse: bool) -> None:
        self.mirror = mirror
        self.is_sparse = is_sparse
        self.callback: list[Any] = []
        self.iterator: list[Any] = []
        self.denied: list[str] = []
        mirror.on_change(lambda change: self.callback.append(told(change, is_sparse)))
        mirror.on_denied(lambda error: self.denied.append(error.code))


class Commands:
    """The commands, and what they are done with. A driver has `library`, `ready`, `reached`, and what it does its own way."""

    library: Any
    ready = "ready"
    reached = "reached"

    def __init__(self) -> None:
        self.clients: dict[str, Any] = {}
        self.problems: dict[str, list[str]] = {}
        self.mirrors: dict[str, Heard] = {}
        self.locks: dict[str, Any] = {}
        self.feeds: dict[str, Any] = {}
        self.sockets_before = sockets()

    async def handle(self, command: Command) -> None:
        try:
            work = getattr(self, f"do_{command.get('do')}", None)
            if work is None:
                raise Unknown(f"There is no command {command.get('do')}.")
            write_answer(command, {"ok": True, "value": await work(command)})
        except Exception as error:
            write_answer(command, failure(error))

    # What each does its own way

    def watched(self, mirror: Any, is_sparse: bool) -> Heard:
        """Begins to read the changes of a mirror."""
        raise NotImplementedError

    def read(self, client: Any, arguments: dict[str, Any]) -> Any:
        """Begins to read a feed; `next` of it answers commits."""
        raise NotImplementedError

    def held(self, lock: Any) -> Any:
        """A lock that was granted, to write through."""
        raise NotImplementedError

    async def keys(self, items: Any) -> list[str]:
        """Those of the items of a query."""
        raise NotImplementedError

    # Which things a command is about

    def client(self, name: str) -> Any:
        return found(self.clients, name, "client")

    def mirror(self, command: Command) -> Heard:
        return found(self.mirrors, command["mirror"], "mirror")

    def writer(self, name: str) -> Any:
        return self.held(self.locks[name]) if name in self.locks else self.client(name)

    # The commands

    async def do_connect(self, command: Command) -> Any:
        problems = self.problems[command["client"]] = []

        def heard(error: Exception) -> None:
            problems.append(error.code if isinstance(error, stargus.StargusError) else repr(error))

        connecting = self.library.connect(command["url"], command["pool"], on_problem=heard, **chosen(command, CONNECT))
        self.clients[command["client"]] = await settled(connecting)
        return {}

    async def do_authenticate(self, command: Command) -> Any:
        return {"subject": await settled(self.client(command["client"]).authenticate(**chosen(command, AUTHENTICATE)))}

    async def do_attach(self, command: Command) -> Any:
        mirror = self.client(command["client"]).attach(command["collection"], **chosen(command, ATTACH))
        self.mirrors[command["mirror"]] = self.watched(mirror, command.get("values") == "none")
        return {}

    async def do_ready(self, command: Command) -> Any:
        wait = getattr(self.mirror(command).mirror, self.ready)
        return {"revision": (await settled(wait(command["timeoutMs"] / 1000))).revision}

    async def do_reached(self, command: Command) -> Any:
        wait = getattr(self.mirror(command).mirror, self.reached)
        return {"revision": await settled(wait(command["revision"], command["timeoutMs"] / 1000))}

    async def do_state(self, command: Command) -> Any:
        heard = self.mirror(command)
        return state_answer(heard.mirror, heard.is_sparse)

    async def do_heard(self, command: Command) -> Any:
        heard = self.mirror(command)
        return {"callback": taken(heard.callback), "iterator": taken(heard.iterator)}

    async def do_denied(self, command: Command) -> Any:
        return {"codes": taken(self.mirror(command).denied)}

    async def do_fetch(self, command: Command) -> Any:
        item = await settled(self.mirror(command).mirror.fetch(command["key"]))
        return {} if item is None else {"attributes": item.as_dict()}

    async def do_kept(self, command: Command) -> Any:
        items, size = self.mirror(command).mirror.kept
        return {"items": items, "bytes": size}

    async def do_write(self, command: Command) -> Any:
        op, key, options = command["op"], command.get("key"), chosen(command, WRITE)
        heard = self.mirrors.get(command["on"])
        if heard is not None:
            if op == "delete":
                existed = await settled(heard.mirror.delete(key, **options))
                return {} if existed is None else {"existed": existed}
            return item_answer(await settled(getattr(heard.mirror, op)(key, command["attributes"], **options)))
        writer, collection = self.writer(command["on"]), command["collection"]
        if op in ("set", "merge"):
            return item_answer(await settled(getattr(writer, op)(collection, key, command["attributes"], **options)))
        if op == "create":
            return item_answer(await settled(writer.create(collection, command["attributes"], key, **options)))
        if op == "delete":
            return {"existed": await settled(writer.delete(collection, key, **options))}
        if op == "increment":
            return {"value": await settled(writer.increment(collection, key, command["attribute"], command["by"], **options))}
        raise Unknown(f"There is no op {op}.")

    async def do_batch(self, command: Command) -> Any:
        return {"revision": (await settled(self.writer(command["on"]).batch(command["ops"], command.get("conditions")))).revision}

    async def do_get(self, command: Command) -> Any:
        return item_answer(await settled(self.client(command["on"]).get(command["collection"], command["key"])))

    async def do_query(self, command: Command) -> Any:
        return {"keys": await self.keys(self.client(command["on"]).query(command["collection"], **chosen(command, QUERY)))}

    async def do_count(self, command: Command) -> Any:
        return {"count": await settled(self.client(command["on"]).count(command["collection"], command.get("where")))}

    async def do_changes(self, command: Command) -> Any:
        self.feeds[command["feed"]] = self.read(self.client(command["on"]), chosen(command, FEED))
        return {}

    async def do_next(self, command: Command) -> Any:
        return await settled(found(self.feeds, command["feed"], "feed").next(command["count"], command["timeoutMs"] / 1000))

    async def do_verify(self, command: Command) -> Any:
        return verify(command)

    async def do_discover(self, command: Command) -> Any:
        return {"urls": [server.url for server in await settled(self.library.discover(command["timeoutMs"] / 1000))]}

    async def do_api(self, command: Command) -> Any:
        client = self.client(command["on"])
        if command["call"] == "getAbout":
            return {"version": (await settled(client.api.system.get_about())).version}
        if command["call"] == "listItems":
            return {"keys": [item.key for item in (await settled(client.api.items.list_items(client.pool, command["collection"]))).items]}
        if command["call"] == "testNotifier":
            await settled(client.api.notifiers.test_notifier(client.pool, command["notifier"]))
            return {}
        raise Unknown(f"There is no call {command['call']}.")

    async def do_close(self, command: Command) -> Any:
        await settled((self.client(command["client"]) if "client" in command else self.mirror(command).mirror).close())
        return {}

    async def do_problems(self, command: Command) -> Any:
        return {"codes": taken(found(self.problems, command["client"], "client"))}

    async def do_exit(self, command: Command) -> Any:
        os._exit(9)

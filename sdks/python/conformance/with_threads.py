"""Drives the client that waits: a thread for each command."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
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
    discover,
    failure,
    found,
    item_answer,
    sockets,
    state_answer,
    told,
    verify,
    write_answer,
)

_END_S = 4.5


class Watched:
    """A mirror, and what was heard of it."""

    def __init__(self, mirror: stargus.Mirror, is_sparse: bool) -> None:
        self.mirror = mirror
        self.is_sparse = is_sparse
        self.lock = threading.Lock()
        self.callback: list[Any] = []
        self.iterator: list[Any] = []
        self.denied: list[str] = []
        mirror.on_change(lambda change: self.callback.append(told(change, is_sparse)))
        mirror.on_denied(lambda error: self.denied.append(error.code))
        changes = mirror.changes()
        start(lambda: self._read(changes))

    def _read(self, changes: stargus.Changes) -> None:
        try:
            for change in changes:
                self.iterator.append(told(change, self.is_sparse))
        except stargus.StargusError:
            return


class Read:
    """A feed that is being read."""

    def __init__(self, client: stargus.Client, arguments: dict[str, Any]) -> None:
        self.commits: list[stargus.Commit] = []
        self.is_ended = False
        self.error: BaseException | None = None
        self.changed = threading.Condition()
        start(lambda: self._read(client, arguments))

    def _read(self, client: stargus.Client, arguments: dict[str, Any]) -> None:
        error: BaseException | None = None
        try:
            for commit in client.changes(**arguments):
                with self.changed:
                    self.commits.append(commit)
                    self.changed.notify_all()
        except BaseException as failed:
            error = failed
        with self.changed:
            self.error = error
            self.is_ended = True
            self.changed.notify_all()

    def next(self, count: int, timeout: float) -> dict[str, Any]:
        with self.changed:
            self.changed.wait_for(lambda: len(self.commits) >= count or self.is_ended, timeout)
            commits, self.commits = self.commits[:count], self.commits[count:]
            if len(commits) < count and self.error is not None:
                raise self.error
            return {"commits": commits_answer(commits), "ended": self.is_ended and not self.commits}


def start(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="driver", daemon=True).start()


class Driver:
    def __init__(self) -> None:
        self.clients: dict[str, stargus.Client] = {}
        self.problems: dict[str, list[str]] = {}
        self.mirrors: dict[str, Watched] = {}
        self.locks: dict[str, stargus.Lock] = {}
        self.feeds: dict[str, Read] = {}
        self.sockets_before = sockets()

    def handle(self, command: Command) -> None:
        try:
            work = getattr(self, f"do_{command.get('do')}", None)
            if work is None:
                raise Unknown(f"There is no command {command.get('do')}.")
            write_answer(command, {"ok": True, "value": work(command)})
        except BaseException as error:
            write_answer(command, failure(error))

    def client(self, name: str) -> stargus.Client:
        return found(self.clients, name, "client")

    def watched(self, command: Command) -> Watched:
        return found(self.mirrors, command["mirror"], "mirror")

    def do_connect(self, command: Command) -> Any:
        problems = self.problems[command["client"]] = []

        def heard(error: Exception) -> None:
            problems.append(error.code if isinstance(error, stargus.StargusError) else repr(error))

        self.clients[command["client"]] = stargus.connect(command["url"], command["pool"], on_problem=heard, **chosen(command, CONNECT))
        return {}

    def do_authenticate(self, command: Command) -> Any:
        return {"subject": self.client(command["client"]).authenticate(**chosen(command, AUTHENTICATE))}

    def do_attach(self, command: Command) -> Any:
        mirror = self.client(command["client"]).attach(command["collection"], **chosen(command, ATTACH))
        self.mirrors[command["mirror"]] = Watched(mirror, command.get("values") == "none")
        return {}

    def do_ready(self, command: Command) -> Any:
        return {"revision": self.watched(command).mirror.wait_ready(command["timeoutMs"] / 1000).revision}

    def do_reached(self, command: Command) -> Any:
        return {"revision": self.watched(command).mirror.wait_reached(command["revision"], command["timeoutMs"] / 1000)}

    def do_state(self, command: Command) -> Any:
        watched = self.watched(command)
        return state_answer(watched.mirror, watched.is_sparse)

    def do_heard(self, command: Command) -> Any:
        watched = self.watched(command)
        callback, iterator = watched.callback[:], watched.iterator[:]
        del watched.callback[: len(callback)], watched.iterator[: len(iterator)]
        return {"callback": callback, "iterator": iterator}

    def do_denied(self, command: Command) -> Any:
        watched = self.watched(command)
        codes = watched.denied[:]
        del watched.denied[: len(codes)]
        return {"codes": codes}

    def do_fetch(self, command: Command) -> Any:
        item = self.watched(command).mirror.fetch(command["key"])
        return {} if item is None else {"attributes": item.as_dict()}

    def do_kept(self, command: Command) -> Any:
        items, size = self.watched(command).mirror.kept
        return {"items": items, "bytes": size}

    def do_write(self, command: Command) -> Any:
        op, key, options = command["op"], command.get("key"), chosen(command, WRITE)
        watched = self.mirrors.get(command["on"])
        if watched is not None:
            if op == "delete":
                existed = watched.mirror.delete(key, **options)
                return {} if existed is None else {"existed": existed}
            return item_answer(getattr(watched.mirror, op)(key, command["attributes"], **options))
        writer: Any = self.locks.get(command["on"]) or self.client(command["on"])
        collection = command["collection"]
        if op in ("set", "merge"):
            return item_answer(getattr(writer, op)(collection, key, command["attributes"], **options))
        if op == "create":
            return item_answer(writer.create(collection, command["attributes"], key, **options))
        if op == "delete":
            return {"existed": writer.delete(collection, key, **options)}
        if op == "increment":
            return {"value": writer.increment(collection, key, command["attribute"], command["by"], **options)}
        raise Unknown(f"There is no op {op}.")

    def do_batch(self, command: Command) -> Any:
        writer: Any = self.locks.get(command["on"]) or self.client(command["on"])
        return {"revision": writer.batch(command["ops"], command.get("conditions")).revision}

    def do_get(self, command: Command) -> Any:
        return item_answer(self.client(command["on"]).get(command["collection"], command["key"]))

    def do_query(self, command: Command) -> Any:
        return {"keys": [item.key for item in self.client(command["on"]).query(command["collection"], **chosen(command, QUERY))]}

    def do_count(self, command: Command) -> Any:
        return {"count": self.client(command["on"]).count(command["collection"], command.get("where"))}

    def do_changes(self, command: Command) -> Any:
        self.feeds[command["feed"]] = Read(self.client(command["on"]), chosen(command, FEED))
        return {}

    def do_next(self, command: Command) -> Any:
        return found(self.feeds, command["feed"], "feed").next(command["count"], command["timeoutMs"] / 1000)

    def do_lock(self, command: Command) -> Any:
        held = self.client(command["on"]).lock(command.get("collection"), **chosen(command, LOCK))
        self.locks[command["lock"]] = held
        return {"fence": held.fence}

    def do_lost(self, command: Command) -> Any:
        held: stargus.Lock = found(self.locks, command["lock"], "lock")
        if not held.lost.wait(command["timeoutMs"] / 1000):
            raise stargus.Timeout("The lock wasn't lost in that time.")
        try:
            held.check()
        except stargus.LockLost as error:
            return {"code": error.code}
        return {}

    def do_unlock(self, command: Command) -> Any:
        found(self.locks, command["lock"], "lock").release()
        return {}

    def do_verify(self, command: Command) -> Any:
        return verify(command)

    def do_discover(self, command: Command) -> Any:
        return discover(command)

    def do_api(self, command: Command) -> Any:
        client = self.client(command["on"])
        if command["call"] == "getAbout":
            return {"version": client.api.system.get_about().version}
        if command["call"] == "listItems":
            return {"keys": [item.key for item in client.api.items.list_items(client.pool, command["collection"]).items]}
        raise Unknown(f"There is no call {command['call']}.")

    def do_close(self, command: Command) -> Any:
        if "client" in command:
            self.client(command["client"]).close()
        else:
            self.watched(command).mirror.close()
        return {}

    def do_open(self, command: Command) -> Any:
        threads = [thread for thread in threading.enumerate() if thread is not threading.main_thread() and thread.name != "driver"]
        return {"tasks": len(threads), "sockets": sockets() - self.sockets_before, "names": [thread.name for thread in threads]}

    def do_problems(self, command: Command) -> Any:
        problems = found(self.problems, command["client"], "client")
        codes = problems[:]
        del problems[: len(codes)]
        return {"codes": codes}

    def do_exit(self, command: Command) -> Any:
        os._exit(9)

    def close(self) -> None:
        closing = [threading.Thread(target=client.close, name="driver", daemon=True) for client in self.clients.values()]
        for thread in closing:
            thread.start()
        until = time.monotonic() + _END_S
        for thread in closing:
            thread.join(max(0.0, until - time.monotonic()))


def run() -> int:
    driver = Driver()
    # Lines end by \n only: U+2028 may be within one.
    for line in sys.stdin.buffer:
        if line.strip():
            command = json.loads(line)
            start(lambda command=command: driver.handle(command))  # type: ignore[misc]
    driver.close()
    return 0

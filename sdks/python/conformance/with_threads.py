"""Drives the client that waits: a thread for each command."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import stargus
from answers import LOCK, Command, chosen, commits_answer, found, sockets, told
from commands import Commands, Heard
from stargus.blocking.runtime import drive

_END_S = 4.5


def start(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="driver", daemon=True).start()


class Watched(Heard):
    """A mirror, whose iterator a thread reads."""

    def __init__(self, mirror: stargus.Mirror, is_sparse: bool) -> None:
        super().__init__(mirror, is_sparse)
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


class Driver(Commands):
    library = stargus
    ready = "wait_ready"
    reached = "wait_reached"

    def watched(self, mirror: stargus.Mirror, is_sparse: bool) -> Heard:
        return Watched(mirror, is_sparse)

    def read(self, client: stargus.Client, arguments: dict[str, Any]) -> Read:
        return Read(client, arguments)

    def held(self, lock: stargus.Lock) -> stargus.Lock:
        return lock

    async def keys(self, items: Any) -> list[str]:
        return [item.key for item in items]

    async def do_lock(self, command: Command) -> Any:
        held = self.client(command["on"]).lock(command.get("collection"), **chosen(command, LOCK))
        self.locks[command["lock"]] = held
        return {"fence": held.fence}

    async def do_lost(self, command: Command) -> Any:
        held: stargus.Lock = found(self.locks, command["lock"], "lock")
        if not held.lost.wait(command["timeoutMs"] / 1000):
            raise stargus.Timeout("The lock wasn't lost in that time.")
        try:
            held.check()
        except stargus.LockLost as error:
            return {"code": error.code}
        return {}

    async def do_unlock(self, command: Command) -> Any:
        found(self.locks, command["lock"], "lock").release()
        return {}

    async def do_open(self, command: Command) -> Any:
        threads = [thread for thread in threading.enumerate() if thread is not threading.main_thread() and thread.name != "driver"]
        return {"tasks": len(threads), "sockets": sockets() - self.sockets_before, "names": [thread.name for thread in threads]}

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
            start(lambda command=command: drive(driver.handle(command)))  # type: ignore[misc]
    driver.close()
    return 0

"""What both drivers make of commands and of what came of them: it mustn't depend on the language."""

from __future__ import annotations

import json
import os
import stat
import threading
import traceback
from typing import Any

import stargus

Command = dict[str, Any]

#: Files beyond are not looked at: the driver has few.
FILES_MAX = 512

_written = threading.Lock()


class Unknown(Exception):
    """The command makes no sense."""


def write_answer(command: Command, answer: dict[str, Any]) -> None:
    line = json.dumps({"id": command.get("id"), **answer}).encode() + b"\n"
    with _written:
        os.write(1, line) if len(line) < 4096 else _write_all(line)


def _write_all(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view):]


def failure(error: BaseException) -> dict[str, Any]:
    if not isinstance(error, stargus.StargusError):
        return {"ok": False, "error": {"code": "driver", "message": "".join(traceback.format_exception(error))}}
    told: dict[str, Any] = {"code": error.code, "message": str(error)}
    if isinstance(error, stargus.ProblemError) and error.status is not None:
        told["status"] = error.status
    if isinstance(error, stargus.CursorExpired):
        told |= {"oldest": error.oldest, "current": error.current}
    return {"ok": False, "error": told}


def item_answer(item: stargus.Item | None) -> dict[str, Any]:
    return {} if item is None else {"key": item.key, "revision": item.revision, "attributes": item.as_dict()}


def told(change: stargus.Change, is_sparse: bool) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "op": change.op, "key": change.key, "changed": list(change.changed), "removed": list(change.removed), "revision": change.revision,
    }
    if change.item is not None and not is_sparse:
        answer["attributes"] = change.item.as_dict()
    if change.previous is not None and not is_sparse:
        answer["previous"] = change.previous.as_dict()
    if change.reason is not None:
        answer["reason"] = change.reason
    return answer


def state_answer(mirror: Any, is_sparse: bool) -> dict[str, Any]:
    items = mirror.snapshot()
    answer: dict[str, Any] = {
        "revision": mirror.revision,
        "isLive": mirror.is_live,
        "items": {key: item.revision if is_sparse else item.as_dict() for key, item in items.items()},
    }
    if mirror.error is not None:
        answer["error"] = mirror.error.code
    return answer


def commits_answer(commits: list[stargus.Commit]) -> list[dict[str, Any]]:
    return [
        {"revision": commit.revision, "cursor": commit.cursor, "keys": [change["key"] for change in commit.changes]} for commit in commits
    ]


def chosen(command: Command, names: dict[str, str]) -> dict[str, Any]:
    """Members of a command as arguments: those that are there. Names that end in Ms become seconds."""
    return {
        argument: command[name] / 1000 if name.endswith("Ms") else command[name] for name, argument in names.items() if command.get(name) is not None
    }


CONNECT = {"retryForMs": "retry_for", "requestTimeoutMs": "request_timeout", "eventBytesMax": "event_bytes_max"}
AUTHENTICATE = {
    "apiKey": "api_key", "token": "token", "keyFile": "key_file", "account": "account", "passphrase": "passphrase", "recoveryCode": "recovery_code",
    "oneTimeKey": "one_time_key",
}
ATTACH = {
    "where": "where", "prefix": "prefix", "start": "start", "end": "end", "key": "key", "fields": "fields", "values": "values", "cache": "cache",
    "memoryMax": "memory_max", "onDenied": "on_denied",
}
LOCK = {"key": "key", "prefix": "prefix", "attributes": "attributes", "mode": "mode", "waitMs": "wait", "leaseMs": "lease"}
WRITE = {"ifRevision": "if_revision", "idempotencyKey": "idempotency_key"}
FEED = {"since": "since", "follow": "follow", "collection": "collection"}
QUERY = {"where": "where", "order": "order", "limit": "page_size"}


def sockets() -> int:
    """Sockets that this process has open."""
    count = 0
    for number in range(FILES_MAX):
        try:
            count += stat.S_ISSOCK(os.fstat(number).st_mode)
        except OSError:
            continue
    return count


def verify(command: Command) -> dict[str, Any]:
    return {"id": stargus.verify_webhook(command["secret"], command["headers"], command["body"].encode()).id}


def found(things: dict[str, Any], name: str, what: str) -> Any:
    if name not in things:
        raise Unknown(f"There is no {what} {name}.")
    return things[name]

"""
What is written through a mirror: it shows at once, as far as the rules are known to allow it, and is sent; and what is made of a refusal.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..core.mirrored import PendingWrite
from ..core.rules import Rules
from ..errors import ProblemError, StargusError
from ..items import Item
from .turns import Turn, Turns

if TYPE_CHECKING:
    from .mirrors import MirrorEngine

#: Refusals of a write by policy, lock, schema or condition: `on_denied` says what is made of them.
_DENIALS = frozenset({"forbidden", "locked", "lockLost", "schemaViolation", "preconditionFailed", "conflict"})


class MirrorWrites:
    """Of one mirror, whose lock guards their state."""

    def __init__(self, mirror: MirrorEngine) -> None:
        self._mirror = mirror
        self._client = mirror.client
        self._about = mirror.about
        self._turns = Turns(mirror.runtime.signal, lambda write: mirror.state.begin(write))
        self._rules: Rules | None = None
        self._has_rules = False
        self._asking_rules = mirror.runtime.mutex()
        #: Told of each refusal, where on_denied is `event`.
        self.denied_callbacks: list[Callable[[ProblemError], object]] = []

    def end(self) -> None:
        """The mirror has ended: who waits for a place is told. With the lock held."""
        self._turns.end()

    def last_of(self, key: str) -> Turn | None:
        """The newest write of an item, if one is under way. With the lock held."""
        return self._turns.last_of(key)

    async def _write(
        self, op: str, key: str, attributes: Mapping[str, Any], send: Callable[[], Awaitable[tuple[Item | None, int]]]
    ) -> tuple[Item | None, int] | None:
        """Shows a write and sends it. Answers what `send` does, or None where it was denied and that is told otherwise."""
        with self._mirror.lock:
            if self._mirror.is_ended:
                raise self._mirror.failure()
            turn = self._turns.ask(PendingWrite(key, op, dict(attributes)))
        write = turn.write
        is_sent = False
        try:
            await turn.placed.wait()
            if not turn.has_place:
                raise self._mirror.failure()
            rules = await self._rules_now()
            with self._mirror.lock:
                if rules is None or self._may(rules, write):
                    self._mirror.queue(self._mirror.state.show(write))
            self._mirror.tell()
            await turn.is_first.wait()
            if self._mirror.is_ended:
                raise self._mirror.failure()
            is_sent = True
            item, revision = await send()
            with self._mirror.lock:
                self._mirror.queue(self._mirror.state.confirmed(write, item, revision))
            return item, revision
        except BaseException as error:
            with self._mirror.lock:
                self._mirror.queue(self._mirror.state.refused(write))
                if isinstance(error, ProblemError) and error.status == 403:
                    self._has_rules = False
            if is_sent and isinstance(error, ProblemError) and error.code in _DENIALS and self._about.on_denied != "error":
                if self._about.on_denied == "event":
                    for callback in list(self.denied_callbacks):
                        self._client.guarded(callback, error)
                return None
            raise
        finally:
            with self._mirror.lock:
                self._turns.leave(turn)
            self._mirror.tell()

    def _may(self, rules: Rules, write: PendingWrite) -> bool:
        present = self._mirror.state.shown(write.key)
        collection = self._about.collection
        if write.op == "delete":
            return rules.allow("delete", collection, write.key, present or {}, ())
        if present is None:
            return rules.allow("create", collection, write.key, write.attributes, tuple(write.attributes))
        names = tuple(write.attributes)
        if write.op == "set":
            names += tuple(name for name in present if name not in write.attributes)
        return rules.allow("write", collection, write.key, present, names)

    async def _rules_now(self) -> Rules | None:
        """The rules that hold for the caller, asked for once; None where no policy binds. While they can't be had, nothing is known to be allowed."""
        if self._client.pipeline.credentials is None:
            return None
        async with self._asking_rules:
            if not self._has_rules:
                try:
                    self._rules = Rules(await self._client.effective_rules())
                except (StargusError, TypeError, AttributeError):
                    return Rules({})
                self._has_rules = True
            return self._rules

    def forget_rules(self) -> None:
        """They may be others: somebody else asks now."""
        self._has_rules = False

    async def set(
        self, key: str, attributes: Mapping[str, Any], if_revision: int | None, idempotency_key: str | None
    ) -> Item | None:
        """Replaces all attributes; None where it was denied and that is told otherwise."""

        async def send() -> tuple[Item | None, int]:
            item = await self._client.calls.set(self._about.collection, key, attributes, if_revision, idempotency_key)
            return item, item.revision

        written = await self._write("set", key, attributes, send)
        return None if written is None else written[0]

    async def merge(
        self, key: str, attributes: Mapping[str, Any], if_revision: int | None, idempotency_key: str | None
    ) -> Item | None:
        """A merge patch; None where it was denied and that is told otherwise."""

        async def send() -> tuple[Item | None, int]:
            item = await self._client.calls.merge(self._about.collection, key, attributes, if_revision, idempotency_key)
            return item, item.revision

        written = await self._write("merge", key, attributes, send)
        return None if written is None else written[0]

    async def delete(self, key: str, if_revision: int | None, idempotency_key: str | None) -> bool | None:
        """Whether there was one; None where it was denied and that is told otherwise."""
        existed = False

        async def send() -> tuple[Item | None, int]:
            nonlocal existed
            existed, revision = await self._client.calls.delete(self._about.collection, key, if_revision, idempotency_key)
            return None, revision

        return None if await self._write("delete", key, {}, send) is None else existed

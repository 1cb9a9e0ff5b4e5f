"""A mirror: its stream, which it comes back to for as long as it is wanted; who hears of its changes; what is written through it."""

from __future__ import annotations

import os
import threading
from asyncio import CancelledError
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..core.canonical import attachment_parameters, view_name
from ..core.json_values import text_of
from ..core.listening import WaitingChanges
from ..core.lru import FetchedValues
from ..core.mirrored import Mirrored, PendingWrite, Scope
from ..core.repetition import may_be_repeated, stream_wait
from ..core.rules import Rules
from ..core.view import Step, View
from ..errors import Closed, Conflict, ProblemError, StargusError, Timeout, Unreachable, problem_error
from ..items import Change, Item
from ..limits import FETCHES_MAX, SPARSE_BYTES_MAX
from ..where import Filter, filter_of
from .cache import CacheFile
from .ports import NoAnswer, Signal, Stopped, StreamCall
from .reading import read_stream
from .turns import Turn, Turns

if TYPE_CHECKING:
    from .clients import ClientEngine

_EVENTS = frozenset({"hello", "snapshot", "live", "changes", "bookmark", "reset", "problem", "bye"})

#: Refusals of a write by policy, lock, schema or condition: `on_denied` says what is made of them.
_DENIALS = frozenset({"forbidden", "locked", "lockLost", "schemaViolation", "preconditionFailed", "conflict"})


@dataclass(slots=True)
class Attachment:
    """What a mirror is of, and how it is kept."""

    collection: str
    where: Filter | Mapping[str, Any] | None = None
    prefix: str | None = None
    start: str | None = None
    end: str | None = None
    key: str | None = None
    fields: Sequence[str] | None = None
    values: str = "full"
    cache: str | os.PathLike[str] | None = None
    memory_max: int = SPARSE_BYTES_MAX
    on_denied: str = "error"


class Listener:
    """One iterator over the changes."""

    def __init__(self, signal: Signal) -> None:
        self.waiting = WaitingChanges()
        self.signal = signal


class _Flight:
    """A value that is being fetched, for all who want it."""

    def __init__(self, signal: Signal) -> None:
        self.signal = signal
        self.item: Item | None = None
        self.error: BaseException | None = None
        #: The item was altered meanwhile, and its revision doesn't say so.
        self.is_stale = False


class MirrorEngine:
    """One mirror. `lock` guards all of its state; nothing is waited for while it is held."""

    def __init__(self, client: ClientEngine, about: Attachment, stream_call: StreamCall) -> None:
        if about.values not in ("full", "none"):
            raise ValueError("values must be 'full' or 'none'.")
        if about.on_denied not in ("error", "event", "ignore"):
            raise ValueError("on_denied must be 'error', 'event' or 'ignore'.")
        self.client = client
        self.about = about
        self.is_sparse = about.values == "none"
        where = None if about.where is None else filter_of(about.where)
        self._parameters = attachment_parameters(
            where=where, prefix=about.prefix, start=about.start, end=about.end, key=about.key, fields=about.fields, values=about.values
        )
        fields = None if about.fields is None else frozenset(about.fields)
        # Reentrant, for an iterator that is collected as garbage takes it wherever its thread is just then.
        self.lock = threading.RLock()
        self.state = Mirrored(View(about.collection, is_sparse=self.is_sparse), Scope(where, about.prefix, about.start, about.end, about.key, fields))
        self.fetched = FetchedValues(about.memory_max)
        self._flights: dict[str, _Flight] = {}
        runtime = client.runtime
        self._runtime = runtime
        self._stream_call = stream_call
        self._stopping = runtime.signal()
        #: Set when the mirror shows the collection as it is, or has ended.
        self.ready = runtime.signal()
        self.is_ready = False
        self.error: StargusError | None = None
        self.is_ended = False
        self._listeners: list[Listener] = []
        self._callbacks: list[Callable[[Change], object]] = []
        self._denied_callbacks: list[Callable[[ProblemError], object]] = []
        self._untold: deque[Change] = deque()
        self._is_telling = False
        self._awaited: list[tuple[int, Signal]] = []
        self._cache: CacheFile | None = None
        self._turns = Turns(runtime.signal, lambda write: self.state.begin(write))
        self._rules: Rules | None = None
        self._has_rules = False
        self._asking_rules = runtime.mutex()
        self._was_live = False
        self._line = runtime.line()
        self._job = runtime.spawn(self._run, f"mirror-{about.collection}")

    # Its stream

    async def _run(self) -> None:
        error: StargusError | None = None
        try:
            await self._follow()
        except Stopped:
            pass
        except StargusError as failure:
            error = failure
        except (CancelledError, GeneratorExit):
            raise
        except BaseException as failure:
            error = StargusError(f"The mirror ended by a fault of its own: {failure!r}")
            raise
        finally:
            # Each of them, even if this is cancelled meanwhile.
            try:
                await self._line.close()
            finally:
                self._end(error or Closed("The mirror was closed."))
                await self._close_cache()

    async def _follow(self) -> None:
        if self.about.cache is not None:
            await self._open_cache()
        failures = 0
        while not self._stopping.is_set():
            not_before = 0.0
            self._was_live = False
            try:
                not_before = await self._connect()
            except NoAnswer:
                pass
            except (Unreachable, Timeout):
                # Of the token that the stream needs.
                pass
            except ProblemError as problem:
                if not may_be_repeated(problem):
                    raise
                not_before = problem.retry_after or 0.0
            finally:
                with self.lock:
                    self.state.view.disconnected()
            failures = 0 if self._was_live else failures + 1
            if await self._stopping.wait(stream_wait(failures, not_before)):
                return

    async def _connect(self) -> float:
        """One connection. Answers the seconds after which to come back."""
        view = self.state.view
        with self.lock:
            view.connected()
        parameters = dict(self._parameters)
        if view.cursor:
            parameters["last_event_id"] = view.cursor
        stream = await self._stream_call(self._line, parameters)
        bye = 0.0

        def take(name: str, data: Mapping[str, Any], event_id: str | None, size: int) -> bool:
            nonlocal bye
            step = self._take(name, data, event_id, size)
            if step.problem is not None:
                raise problem_error(step.problem, step.problem.get("status"))
            if step.bye is not None:
                bye = step.bye[1]
                return True
            return self._stopping.is_set()

        try:
            await read_stream(stream, self.client.event_bytes_max, _EVENTS, take)
        finally:
            await stream.close()
        return bye

    def _take(self, name: str, data: Mapping[str, Any], event_id: str | None, size: int) -> Step:
        with self.lock:
            view = self.state.view
            step, changes = self.state.take(name, data, event_id, size)
            if step.is_live:
                self._was_live = True
                self.is_ready = True
            if self.is_sparse and (step.altered or step.is_whole):
                self._forget(step)
            if any(change.reason == "denied" for change in changes):
                self._has_rules = False
            if step.is_moved and self._cache is not None and view.cursor:
                if step.is_whole:
                    self._cache.replace(dict(view.items), view.cursor)
                else:
                    self._cache.note({altered.key: altered.item for altered in step.altered}, view.cursor)
            self._queue(changes)
            if step.is_moved:
                self._wake_awaited()
        if step.is_live:
            self.ready.set()
        self._tell()
        return step

    def _forget(self, step: Step) -> None:
        """Values that may be others now. Of an item whose revision isn't the commit's more may be shown than before, at the same revision."""
        if step.is_whole:
            self.fetched.clear()
            for flight in self._flights.values():
                flight.is_stale = True
        commit = self.state.view.revision
        for altered in step.altered:
            is_older = altered.item is not None and altered.item.revision != commit
            kept = self.fetched.get(altered.key)
            if kept is not None and (altered.item is None or is_older or kept.revision < altered.item.revision):
                self.fetched.drop(altered.key)
            if is_older and altered.key in self._flights:
                self._flights[altered.key].is_stale = True

    # Its cache

    async def _open_cache(self) -> None:
        about = self.about
        assert about.cache is not None
        name = view_name(self.client.url, self.client.pool, await self._subject(), about.collection, self._parameters)
        cache = CacheFile(
            about.cache, name, self.is_sparse, lambda error: self._runtime.from_elsewhere(lambda: self.client.tell_problem(error))
        )
        self._cache = cache
        content = await self._runtime.result(cache.opened)
        if content is not None:
            items, cursor = content
            last = cursor.rpartition("-")[2]
            revision = int(last) if last.isdigit() else max((item.revision for item in items.values()), default=0)
            with self.lock:
                self.state.view = View(about.collection, is_sparse=self.is_sparse, items=items, cursor=cursor, revision=revision)

    async def _subject(self) -> str:
        failures = 0
        while True:
            try:
                return await self.client.subject()
            except (Unreachable, Timeout):
                failures += 1
                if await self._stopping.wait(stream_wait(failures, 0.0)):
                    raise Stopped from None

    async def _close_cache(self) -> None:
        cache = self._cache
        if cache is not None:
            cache.close()
            await self._runtime.result(cache.closed)

    # Its end

    def _end(self, error: StargusError) -> None:
        with self.lock:
            self.state.view.disconnected()
            if self.error is None and not isinstance(error, Closed):
                self.error = error
            self.is_ended = True
            listeners = list(self._listeners)
            awaited, self._awaited = self._awaited, []
            self._turns.end()
        self.ready.set()
        for listener in listeners:
            listener.signal.set()
        for _, signal in awaited:
            signal.set()
        self.client.mirrors.discard(self)

    async def close(self) -> None:
        """Ends it. What it shows stays as it is."""
        if not self._stopping.is_set():
            # Once: a second time would interrupt how it ends.
            self._stopping.set()
            self._line.abort()
            self._job.cancel()
        await self._job.join()

    def failure(self) -> StargusError:
        """Why it has ended."""
        return self.error or Closed("The mirror was closed.")

    async def wait_ready(self, timeout: float | None) -> None:
        """Raises why it ended, or Timeout."""
        await self.ready.wait(timeout)
        if self.is_ready and self.error is None:
            return
        if self.is_ended:
            raise self.failure()
        raise Timeout(f"The mirror of {self.about.collection} wasn't ready in {timeout} s. Is the server reachable?")

    async def wait_revision(self, revision: int, timeout: float | None) -> int:
        """Waits until it shows the state of a revision, and answers its own."""
        signal = self._runtime.signal()
        entry = (revision, signal)
        with self.lock:
            if self.state.view.revision >= revision and self.is_ready:
                return self.state.view.revision
            if self.is_ended:
                raise self.failure()
            self._awaited.append(entry)
        try:
            await signal.wait(timeout)
        finally:
            with self.lock:
                if entry in self._awaited:
                    self._awaited.remove(entry)
                present = self.state.view.revision
        if present >= revision and self.is_ready:
            return present
        if self.is_ended:
            raise self.failure()
        raise Timeout(f"The mirror of {self.about.collection} didn't come to revision {revision} in {timeout} s.")

    def _wake_awaited(self) -> None:
        revision = self.state.view.revision
        if self._awaited and self.is_ready:
            for entry in [entry for entry in self._awaited if entry[0] <= revision]:
                self._awaited.remove(entry)
                entry[1].set()

    # Who hears of it

    def listen(self) -> Listener:
        """Changes wait for this one from now on."""
        listener = Listener(self._runtime.signal())
        with self.lock:
            self._listeners.append(listener)
        return listener

    def unlisten(self, listener: Listener) -> None:
        """It hears no more."""
        with self.lock:
            if listener in self._listeners:
                self._listeners.remove(listener)
        listener.signal.set()

    async def next_change(self, listener: Listener) -> Change | None:
        """The next one; None when the mirror was closed. Raises why it ended by itself."""
        while True:
            with self.lock:
                change = listener.waiting.take()
                if change is not None:
                    return change
                if listener not in self._listeners:
                    return None
                if self.is_ended:
                    if self.error is not None:
                        raise self.error
                    return None
                listener.signal.clear()
            await listener.signal.wait()

    def on_change(self, callback: Callable[[Change], object]) -> Callable[[], None]:
        """Calls it with each change from now on; answers what ends that."""
        return self._add(self._callbacks, callback)

    def on_denied(self, callback: Callable[[ProblemError], object]) -> Callable[[], None]:
        """Calls it with each refusal, where on_denied is `event`."""
        return self._add(self._denied_callbacks, callback)

    def _add(self, callbacks: list[Any], callback: Any) -> Callable[[], None]:
        with self.lock:
            callbacks.append(callback)

        def remove() -> None:
            with self.lock:
                if callback in callbacks:
                    callbacks.remove(callback)

        return remove

    def _queue(self, changes: Sequence[Change]) -> None:
        """With the lock held, so that they come in the order of what they tell of."""
        if not changes:
            return
        revision = self.state.view.revision
        for listener in tuple(self._listeners):
            listener.waiting.add(changes, revision)
            listener.signal.set()
        if self._callbacks:
            self._untold.extend(changes)

    def _tell(self) -> None:
        """One at a time, in their order, whoever comes: who finds another telling leaves it to that one."""
        while True:
            with self.lock:
                if self._is_telling or not self._untold:
                    return
                self._is_telling = True
                changes = list(self._untold)
                self._untold.clear()
            try:
                for change in changes:
                    for callback in list(self._callbacks):
                        self.client.guarded(callback, change)
            finally:
                with self.lock:
                    self._is_telling = False

    # What is written through it

    async def write(
        self, op: str, key: str, attributes: Mapping[str, Any], send: Callable[[], Awaitable[tuple[Item | None, int]]]
    ) -> tuple[Item | None, int] | None:
        """Shows a write and sends it. Answers what `send` does, or None where it was denied and that is told otherwise."""
        with self.lock:
            if self.is_ended:
                raise self.failure()
            turn = self._turns.ask(PendingWrite(key, op, dict(attributes)))
        write = turn.write
        is_sent = False
        try:
            await turn.placed.wait()
            if not turn.has_place:
                raise self.failure()
            rules = await self._rules_now()
            with self.lock:
                if rules is None or self._may(rules, write):
                    self._queue(self.state.show(write))
            self._tell()
            await turn.is_first.wait()
            if self.is_ended:
                raise self.failure()
            is_sent = True
            item, revision = await send()
            with self.lock:
                self._queue(self.state.confirmed(write, item, revision))
            return item, revision
        except BaseException as error:
            with self.lock:
                self._queue(self.state.refused(write))
                if isinstance(error, ProblemError) and error.status == 403:
                    self._has_rules = False
            if is_sent and isinstance(error, ProblemError) and error.code in _DENIALS and self.about.on_denied != "error":
                if self.about.on_denied == "event":
                    for callback in list(self._denied_callbacks):
                        self.client.guarded(callback, error)
                return None
            raise
        finally:
            with self.lock:
                self._turns.leave(turn)
            self._tell()

    def _may(self, rules: Rules, write: PendingWrite) -> bool:
        present = self.state.shown(write.key)
        collection = self.about.collection
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
        if self.client.pipeline.credentials is None:
            return None
        async with self._asking_rules:
            if not self._has_rules:
                try:
                    self._rules = Rules(await self.client.effective_rules())
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
            item = await self.client.calls.set(self.about.collection, key, attributes, if_revision, idempotency_key)
            return item, item.revision

        written = await self.write("set", key, attributes, send)
        return None if written is None else written[0]

    async def merge(
        self, key: str, attributes: Mapping[str, Any], if_revision: int | None, idempotency_key: str | None
    ) -> Item | None:
        """A merge patch; None where it was denied and that is told otherwise."""

        async def send() -> tuple[Item | None, int]:
            item = await self.client.calls.merge(self.about.collection, key, attributes, if_revision, idempotency_key)
            return item, item.revision

        written = await self.write("merge", key, attributes, send)
        return None if written is None else written[0]

    async def delete(self, key: str, if_revision: int | None, idempotency_key: str | None) -> bool | None:
        """Whether there was one; None where it was denied and that is told otherwise."""
        existed = False

        async def send() -> tuple[Item | None, int]:
            nonlocal existed
            existed, revision = await self.client.calls.delete(self.about.collection, key, if_revision, idempotency_key)
            return None, revision

        return None if await self.write("delete", key, {}, send) is None else existed

    # Values of a sparse one

    async def fetch(self, key: str) -> Item | None:
        """The item with its values, never older than what the mirror knows of; None where it has none of this key."""
        for _ in range(FETCHES_MAX):
            own: _Flight | None = None
            turn: Turn | None = None
            flight: _Flight | None = None
            with self.lock:
                known = self.state.shown(key)
                least = self.state.view.revision
                if known is not None and not self.is_sparse:
                    return known
                if known is None and (self.is_ready or not self.is_sparse):
                    return None
                turn = self._turns.last_of(key)
                if known is not None and turn is None:
                    kept = self.fetched.get(key)
                    if kept is not None and kept.revision >= known.revision:
                        return kept
                    flight = self._flights.get(key)
                    if flight is None:
                        own = self._flights[key] = _Flight(self._runtime.signal())
            if known is None:
                await self.wait_ready(self.client.pipeline.request_timeout)
            elif turn is not None:
                # What is being written through the mirror is a part of what it knows.
                await turn.done.wait()
            elif own is not None:
                # The item may be older than what the mirror knows of it, as where a policy changed.
                item = await self._fly(own, key, max(known.revision, least))
                if not own.is_stale and self._is_present(key, known, item):
                    return item
            elif flight is not None:
                await flight.signal.wait()
                if isinstance(flight.error, StargusError):
                    raise flight.error
                # Another error is of who asked, who was cancelled: it says nothing of the value.
                if flight.error is None and not flight.is_stale and (flight.item is None or flight.item.revision >= known.revision):
                    return flight.item
        raise Conflict(f"The item {key} changes faster than it can be read.")

    def _is_present(self, key: str, known: Item, item: Item | None) -> bool:
        """Whether what was read is as new as what the mirror knows of by now. It was read at the revision that was known then, or a later one."""
        with self.lock:
            present = self.state.shown(key)
        return item is None or present is None or present.revision <= max(known.revision, item.revision)

    async def _fly(self, flight: _Flight, key: str, revision: int) -> Item | None:
        try:
            flight.item = await self.client.calls.get(self.about.collection, key, revision or None, self.about.fields)
        except BaseException as error:
            flight.error = error
            raise
        finally:
            with self.lock:
                del self._flights[key]
                known = self.state.shown(key)
                item = flight.item
                if item is not None and known is not None and not flight.is_stale and item.revision >= known.revision:
                    self.fetched.put(item, len(text_of(item.as_dict())))
            flight.signal.set()
        return flight.item

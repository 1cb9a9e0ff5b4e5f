"""A mirror: its stream, which it comes back to for as long as it is wanted, and who hears of its changes."""

from __future__ import annotations

import os
import threading
from asyncio import CancelledError
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..core.canonical import attachment_parameters, view_name
from ..core.listening import WaitingChanges
from ..core.mirrored import Mirrored, Scope
from ..core.repetition import may_be_repeated, stream_wait
from ..core.view import Step, View
from ..errors import Closed, ProblemError, StargusError, Timeout, Unreachable, problem_error
from ..items import Change
from ..limits import SPARSE_BYTES_MAX
from ..where import Filter, filter_of
from .cache import CacheFile
from .mirror_values import MirrorValues
from .mirror_writes import MirrorWrites
from .ports import NoAnswer, Signal, Stopped, StreamCall
from .reading import read_stream

if TYPE_CHECKING:
    from .clients import ClientEngine

_EVENTS = frozenset({"hello", "snapshot", "live", "changes", "bookmark", "reset", "problem", "bye"})

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
        runtime = self.runtime = client.runtime
        self._stream_call = stream_call
        self._stopping = runtime.signal()
        #: Set when the mirror shows the collection as it is, or has ended.
        self.ready = runtime.signal()
        self.is_ready = False
        self.error: StargusError | None = None
        self.is_ended = False
        self._listeners: list[Listener] = []
        self._callbacks: list[Callable[[Change], object]] = []
        self._untold: deque[Change] = deque()
        self._is_telling = False
        self._awaited: list[tuple[int, Signal]] = []
        self._cache: CacheFile | None = None
        self.writes = MirrorWrites(self)
        self.values = MirrorValues(self)
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
                self.values.forget(step)
            if any(change.reason == "denied" for change in changes):
                self.writes.forget_rules()
            if step.is_moved and self._cache is not None and view.cursor:
                if step.is_whole:
                    self._cache.replace(dict(view.items), view.cursor)
                else:
                    self._cache.note({altered.key: altered.item for altered in step.altered}, view.cursor)
            self.queue(changes)
            if step.is_moved:
                self._wake_awaited()
        if step.is_live:
            self.ready.set()
        self.tell()
        return step

    # Its cache

    async def _open_cache(self) -> None:
        about = self.about
        assert about.cache is not None
        name = view_name(self.client.url, self.client.pool, await self._subject(), about.collection, self._parameters)
        cache = CacheFile(
            about.cache, name, self.is_sparse, lambda error: self.runtime.from_elsewhere(lambda: self.client.tell_problem(error))
        )
        self._cache = cache
        content = await self.runtime.result(cache.opened)
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
            await self.runtime.result(cache.closed)

    # Its end

    def _end(self, error: StargusError) -> None:
        with self.lock:
            self.state.view.disconnected()
            if self.error is None and not isinstance(error, Closed):
                self.error = error
            self.is_ended = True
            listeners = list(self._listeners)
            awaited, self._awaited = self._awaited, []
            self.writes.end()
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
        signal = self.runtime.signal()
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
        listener = Listener(self.runtime.signal())
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
        """Calls it with each refusal of a write, where on_denied is `event`."""
        return self._add(self.writes.denied_callbacks, callback)

    def _add(self, callbacks: list[Any], callback: Any) -> Callable[[], None]:
        with self.lock:
            callbacks.append(callback)

        def remove() -> None:
            with self.lock:
                if callback in callbacks:
                    callbacks.remove(callback)

        return remove

    def queue(self, changes: Sequence[Change]) -> None:
        """With the lock held, so that they come in the order of what they tell of."""
        if not changes:
            return
        revision = self.state.view.revision
        for listener in tuple(self._listeners):
            listener.waiting.add(changes, revision)
            listener.signal.set()
        if self._callbacks:
            self._untold.extend(changes)

    def tell(self) -> None:
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

"""
What one attached stream makes of its events: the state that the server told, and what each event altered in it.

A snapshot comes in parts, which are put together beside the state and take its place when they are complete; so a reset keeps the old state
until then. A commit that comes in parts is held back until its last one. What was seen already is discarded. A connection that is lost takes
what was incomplete with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from ..errors import EventTooLarge, ProtocolError
from ..items import Item
from ..limits import COMMIT_BYTES_MAX
from .json_values import differences, same
from .repetition import seconds_of

T = TypeVar("T")


@dataclass(slots=True)
class Altered:
    """What became of one item. `item` and `previous` are those of the view."""

    key: str
    op: str
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    item: Item | None
    previous: Item | None
    reason: str | None
    #: Only the item's revision is another one, which is told to nobody.
    is_quiet: bool = False


@dataclass(slots=True)
class Step:
    """What an event altered. `is_whole`: the whole state was replaced. `is_live`: from now on it is complete."""

    altered: list[Altered] = field(default_factory=list)
    is_whole: bool = False
    is_live: bool = False
    is_moved: bool = False
    #: Of a `bye`: why, and after how many seconds to come back.
    bye: tuple[str, float] | None = None
    #: A problem that the stream told of this view.
    problem: Mapping[str, Any] | None = None


class _Told(NamedTuple):
    """A change as it was told, checked. `revision` is the item's."""

    op: str
    key: str
    revision: int
    attributes: dict[str, Any]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    reason: str | None
    #: It is a change that names nothing.
    is_nameless: bool


class View:
    """The state of one attached collection. `items` is altered in place; whoever reads at the same time sees to it that it isn't just then."""

    def __init__(self, collection: str, *, is_sparse: bool = False, items: dict[str, Item] | None = None, cursor: str | None = None,
                 revision: int = 0) -> None:
        self.collection = collection
        self.is_sparse = is_sparse
        self.items: dict[str, Item] = items if items is not None else {}
        self.revision = revision
        #: Where the stream resumes; None: with a snapshot.
        self.cursor = cursor
        #: The life of the pool's log, as `hello` names it.
        self.epoch: str | None = None
        #: As `hello` tells it, in seconds.
        self.heartbeat: float | None = None
        self.is_live = False
        #: Whether it has ever shown a state: what a first snapshot has is no difference to anything.
        self.has_state = cursor is not None
        self._incoming: dict[str, Item] | None = None
        self._incoming_revision = 0
        self._parts = 0
        self._held: list[Mapping[str, Any]] = []
        self._held_revision = 0
        self._held_bytes = 0

    def connected(self) -> None:
        """A new connection begins: what the old one left incomplete is dropped."""
        self.is_live = False
        self._incoming = None
        self._drop_held()

    def disconnected(self) -> None:
        """The connection is gone."""
        self.connected()

    def take(self, name: str, data: Mapping[str, Any], event_id: str | None, size: int) -> Step:
        """
        Applies an event. `size` is that of its data.

        Raises ProtocolError for what can't be understood, EventTooLarge for a commit beyond all bounds.
        """
        try:
            if name == "changes":
                return self._changes(data, event_id, size)
            if name == "snapshot":
                return self._snapshot(data)
            if name == "live":
                return self._live(data, event_id)
            if name == "bookmark":
                return self._bookmark(data, event_id)
            if name == "hello":
                self.epoch = data.get("epoch")
                self.heartbeat = seconds_of(data.get("heartbeatMs")) or None
            elif name == "reset" and self._is_ours(data):
                self.cursor = None
                self.is_live = False
                self._incoming = None
                self._drop_held()
            elif name == "bye":
                return Step(bye=(str(data.get("reason")), seconds_of(data.get("retryMs"))))
            elif name == "problem" and self._is_ours(data):
                return Step(problem=data)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ProtocolError(f"The stream told an event `{name}` that makes no sense: {error!r}") from error
        return Step()

    def _is_ours(self, data: Mapping[str, Any]) -> bool:
        return bool(data.get("view", self.collection) == self.collection)

    def _snapshot(self, data: Mapping[str, Any]) -> Step:
        if not self._is_ours(data):
            return Step()
        part = data.get("part", 1)
        if self._incoming is None or part == 1 or data["revision"] != self._incoming_revision:
            if part != 1:
                raise ProtocolError(f"The stream told part {part} of a snapshot, whose beginning is missing.")
            self._incoming = {}
            self._incoming_revision = data["revision"]
        elif part != self._parts + 1:
            raise ProtocolError(f"The stream told part {part} of a snapshot after part {self._parts}.")
        self._parts = part
        incoming = self._incoming
        collection = self.collection
        is_sparse = self.is_sparse
        for item in data["items"]:
            if item.get("collection", collection) == collection:
                key = _checked(item["key"], str)
                incoming[key] = Item(key, _checked(item["revision"], int), {} if is_sparse else _checked(item["attributes"], dict))
        return Step()

    def _live(self, data: Mapping[str, Any], event_id: str | None) -> Step:
        if not self._is_ours(data):
            return Step()
        step = Step(is_live=True, is_moved=True)
        revision = _checked(data["revision"], int)
        if not event_id and self.cursor is None:
            raise ProtocolError("The stream says that it is live, and not where it is.")
        if self._incoming is not None:
            incoming, self._incoming = self._incoming, None
            former = self.items
            if self.has_state:
                step.altered = self._compared(former, incoming)
            self.items = incoming
            self.revision = revision
            step.is_whole = True
        elif self.cursor is None:
            raise ProtocolError("The stream says that it is live, and told no snapshot.")
        else:
            self.revision = max(self.revision, revision)
        self.has_state = True
        self.is_live = True
        if event_id:
            self.cursor = event_id
        return step

    def _compared(self, former: Mapping[str, Item], present: Mapping[str, Item]) -> list[Altered]:
        altered: list[Altered] = []
        for key, item in present.items():
            previous = former.get(key)
            if previous is None:
                altered.append(Altered(key, "add", tuple(item), (), item, None, None))
            elif self.is_sparse:
                if previous.revision != item.revision:
                    altered.append(Altered(key, "change", (), (), item, previous, None))
            else:
                changed, removed = differences(previous, item)
                if changed:
                    altered.append(Altered(key, "change", changed, removed, item, previous, None))
        for key, previous in former.items():
            if key not in present:
                altered.append(Altered(key, "delete", tuple(previous), tuple(previous), None, previous, None))
        return altered

    def _changes(self, data: Mapping[str, Any], event_id: str | None, size: int) -> Step:
        revision = _checked(data["revision"], int)
        if self._incoming is not None or self.cursor is None or revision <= self.revision:
            # Before a snapshot is complete nothing else counts, and what was seen is seen.
            self._drop_held()
            return Step()
        changes: list[Mapping[str, Any]] = data["changes"]
        if self._held and revision != self._held_revision:
            raise ProtocolError(f"The stream told commit {revision} in the middle of commit {self._held_revision}.")
        if data.get("more") is True:
            self._held_bytes += size
            if self._held_bytes > COMMIT_BYTES_MAX:
                raise EventTooLarge(f"Commit {revision} has more than {COMMIT_BYTES_MAX} bytes.")
            self._held.extend(changes)
            self._held_revision = revision
            return Step()
        if self._held:
            changes = self._held + changes
            self._drop_held()
        # All are read before one is applied, so that of a commit that makes no sense nothing is shown.
        read = [told for change in changes if (told := self._read(change, revision)) is not None]
        step = Step(is_moved=True)
        for told in read:
            altered = self._apply(told)
            if altered is not None:
                step.altered.append(altered)
        self.revision = revision
        if event_id:
            self.cursor = event_id
        return step

    def _read(self, change: Mapping[str, Any], revision: int) -> _Told | None:
        """What a change of the commit `revision` tells of an item; None where that is nothing of this view's."""
        if change.get("collection", self.collection) != self.collection or change.get("view", self.collection) != self.collection:
            return None
        op, key = _checked(change["op"], str), _checked(change["key"], str)
        attributes: dict[str, Any] | None = change.get("attributes")
        if attributes is not None:
            attributes = _checked(attributes, dict)
        if op not in ("add", "change", "delete"):
            if attributes is None and not self.is_sparse:
                return None
            op = "change"
        # Where commits were joined, or a policy lets in an item that is older, its revision isn't the commit's.
        own: int = change.get("revision", revision)
        if type(own) is not int or not 1 <= own <= revision:
            raise ValueError(f"revision {own!r} of an item at {revision}")
        changed, removed = change.get("changed"), tuple(change.get("removed") or ())
        is_nameless = change["op"] == "change" and changed == [] and not removed
        return _Told(op, key, own, attributes or {}, tuple(changed or ()), removed, change.get("reason"), is_nameless)

    def _apply(self, told: _Told) -> Altered | None:
        op, key, revision, attributes, changed, removed, reason, is_nameless = told
        previous = self.items.get(key)
        if op == "delete":
            if previous is None:
                return None
            del self.items[key]
            return Altered(key, "delete", changed or tuple(previous), removed or tuple(previous), None, previous, reason)
        if is_nameless and previous is not None:
            item = self.items[key] = Item(key, revision, dict(previous))
            return Altered(key, "change", (), (), item, previous, reason, is_quiet=True)
        if self.is_sparse:
            item = Item(key, revision, {})
        elif op == "add" or previous is None:
            item = Item(key, revision, dict(attributes))
        else:
            present = {**previous, **attributes}
            for name in removed:
                present.pop(name, None)
            item = Item(key, revision, present)
        self.items[key] = item
        return Altered(key, "add" if previous is None else "change", changed, removed, item, previous, reason)

    def _bookmark(self, data: Mapping[str, Any], event_id: str | None) -> Step:
        revision = _checked(data["revision"], int)
        if self._incoming is not None or self.cursor is None or revision < self.revision:
            return Step()
        self.revision = revision
        if event_id:
            self.cursor = event_id
        return Step(is_moved=True)

    def _drop_held(self) -> None:
        self._held = []
        self._held_bytes = 0


def _checked(value: Any, kind: type[T]) -> T:
    """The value, if it is of the kind that it must be."""
    if type(value) is not kind:
        raise TypeError(f"{value!r:.40} is no {kind.__name__}")
    return value


def equal_items(one: Item | None, other: Item | None) -> bool:
    """Whether both show the same, whatever their revisions."""
    if one is None or other is None:
        return one is other
    return one is other or same(one.as_dict(), other.as_dict())

"""
What a mirror shows: the state of its view, and over it what is being written through the mirror.

A write lies on its item until its outcome is known. Where the server applied it, what it says takes the write's place until the stream has come
to that revision; where it refused it, what was there before comes back. Everything here is done under one lock of the mirror's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..items import Change, Item
from .filters import judge
from .json_values import chosen, differences, merged, without_nulls
from .view import Altered, Step, View, equal_items


@dataclass(eq=False, slots=True)
class PendingWrite:
    """A write on its way. `is_shown`: the rules allow it, as far as is known here."""

    key: str
    op: str
    attributes: Mapping[str, Any]
    is_shown: bool = False
    #: Set once the server has applied it: what the item is since then, None where it is gone, and the revision of that.
    confirmed: tuple[Item | None, int] | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """Which items, and what of them, the mirror is of."""

    where: Mapping[str, Any] | None = None
    prefix: str | None = None
    start: str | None = None
    end: str | None = None
    key: str | None = None
    fields: frozenset[str] | None = None

    def has_key(self, key: str) -> bool:
        """Whether an item of this key can be in it."""
        if self.key is not None and key != self.key:
            return False
        if self.prefix is not None and not key.startswith(self.prefix):
            return False
        if self.start is None and self.end is None:
            return True
        name = key.encode("utf-8", "surrogatepass")
        return (self.start is None or name >= self.start.encode("utf-8", "surrogatepass")) and (
            self.end is None or name < self.end.encode("utf-8", "surrogatepass")
        )

    def shows(self, key: str, attributes: Mapping[str, Any], knows_all: bool) -> bool | None:
        """Whether it shows such an item; None: that can't be said here."""
        if not self.has_key(key):
            return False
        return True if self.where is None else judge(self.where, key, attributes, None if knows_all else self.fields)

    def part(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """What it shows of the attributes."""
        return dict(attributes) if self.fields is None else chosen(attributes, self.fields)


@dataclass(slots=True)
class Mirrored:
    """The view, the pending writes, and what comes of both."""

    view: View
    scope: Scope = field(default_factory=Scope)
    #: By key, in their order.
    pending: dict[str, list[PendingWrite]] = field(default_factory=dict)
    #: What is shown of the items that have pending writes.
    over: dict[str, Item | None] = field(default_factory=dict)

    def shown(self, key: str) -> Item | None:
        """What the mirror shows of an item."""
        if self.over and key in self.over:
            return self.over[key]
        return self.view.items.get(key)

    def all(self) -> dict[str, Item]:
        """A copy of all that the mirror shows."""
        items = dict(self.view.items)
        for key, item in self.over.items():
            if item is None:
                items.pop(key, None)
            else:
                items[key] = item
        return items

    def count(self) -> int:
        """How many items the mirror shows."""
        count = len(self.view.items)
        for key, item in self.over.items():
            count += (item is not None) - (key in self.view.items)
        return count

    def take(self, name: str, data: Mapping[str, Any], event_id: str | None, size: int) -> tuple[Step, list[Change]]:
        """Applies an event of the stream: what it altered in the view, and the changes of what is shown."""
        view = self.view
        if not self.pending:
            step = view.take(name, data, event_id, size)
            revision = view.revision
            return step, [_told(altered, revision) for altered in step.altered if not altered.is_quiet]
        epoch = view.epoch
        before = {key: self.shown(key) for key in self.pending}
        step = view.take(name, data, event_id, size)
        if view.epoch != epoch and epoch is not None:
            # What was confirmed was of another life of the pool.
            for writes in self.pending.values():
                writes[:] = [write for write in writes if write.confirmed is None]
        changes: list[Change] = []
        reasons: dict[str, str | None] = {}
        quiet: set[str] = set()
        for altered in step.altered:
            if altered.key in before:
                reasons[altered.key] = altered.reason
                if altered.is_quiet:
                    quiet.add(altered.key)
            elif not altered.is_quiet:
                changes.append(_told(altered, view.revision))
        for key, shown in before.items():
            self._lay(key)
            changes.extend(self._difference(key, shown, reasons.get(key), tells_revision=key not in quiet))
        return step, changes

    def begin(self, write: PendingWrite) -> None:
        """Takes a write's place among those of its item. It isn't shown yet."""
        self.pending.setdefault(write.key, []).append(write)

    def show(self, write: PendingWrite) -> Sequence[Change]:
        """Shows a write that has its place."""
        write.is_shown = True
        return self._altered(write.key, None)

    def confirmed(self, write: PendingWrite, item: Item | None, revision: int) -> Sequence[Change]:
        """The server has applied it: since `revision` this is the item."""
        write.confirmed = (item, revision)
        return self._altered(write.key, None)

    def refused(self, write: PendingWrite) -> Sequence[Change]:
        """It came to nothing: what was there before comes back."""
        writes = self.pending.get(write.key, [])
        if write in writes:
            writes.remove(write)
        return self._altered(write.key, "refused")

    def _altered(self, key: str, reason: str | None) -> Sequence[Change]:
        shown = self.shown(key)
        self._lay(key)
        return self._difference(key, shown, reason)

    def _lay(self, key: str) -> None:
        """What the item's pending writes make of it."""
        writes = self.pending.get(key, [])
        revision = self.view.revision
        # What the stream has come to needs no place of its own; what is before it was told with it.
        writes[:] = [write for write in writes if write.confirmed is None or write.confirmed[1] > revision]
        if not writes:
            self.pending.pop(key, None)
            self.over.pop(key, None)
            return
        base = self.view.items.get(key)
        item = base
        for write in writes:
            if write.confirmed is not None:
                item = write.confirmed[0]
                if item is not None:
                    item = self._within(item, True, base)
            elif write.is_shown:
                item = self._written(write, item, base)
        if item is base:
            self.over.pop(key, None)
        else:
            self.over[key] = item

    def _written(self, write: PendingWrite, item: Item | None, base: Item | None) -> Item | None:
        if write.op == "delete":
            return None
        revision = item.revision if item is not None else 0
        if write.op == "set":
            return self._within(Item(write.key, revision, without_nulls(write.attributes)), True, base)
        attributes = merged(item if item is not None else {}, write.attributes)
        return self._within(Item(write.key, revision, attributes), False, base)

    def _within(self, item: Item, knows_all: bool, base: Item | None) -> Item | None:
        """As the mirror's scope shows it. Where that can't be said it stays as it is: in or out."""
        shows = self.scope.shows(item.key, item, knows_all)
        if shows is False or (shows is None and base is None):
            return None
        attributes = {} if self.view.is_sparse else self.scope.part(item)
        return Item(item.key, item.revision, attributes)

    def _difference(self, key: str, before: Item | None, reason: str | None, tells_revision: bool = True) -> Sequence[Change]:
        after = self.shown(key)
        if before is after or equal_items(before, after):
            if not (tells_revision and self.view.is_sparse and before is not None and after is not None and before.revision != after.revision):
                return ()
        revision = self.view.revision
        if before is None:
            return (Change("add", key, tuple(after or ()), (), after, None, reason, revision),)
        if after is None:
            return (Change("delete", key, tuple(before), tuple(before), None, before, reason, revision),)
        changed, removed = differences(before, after)
        return (Change("change", key, changed, removed, after, before, reason, revision),)


def _told(altered: Altered, revision: int) -> Change:
    return Change(altered.op, altered.key, altered.changed, altered.removed, altered.item, altered.previous, altered.reason, revision)

"""
What the library gives out: items, changes of them, commits. None of it is altered once it was given out.

The values inside of an item are plain JSON (dict, list, str, int, float, bool, None) and shared with the mirror: copy before you alter them.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, Mapping, ValuesView
from dataclasses import dataclass
from typing import Any, Final

_NOTHING: Final[dict[str, Any]] = {}


class Item(Mapping[str, Any]):
    """An item: a read-only mapping of its attributes, with its `key` and `revision`."""

    __slots__ = ("_attributes", "key", "revision")

    _attributes: dict[str, Any]
    #: Its key in the collection.
    key: str
    #: The commit that changed it last. In a sparse mirror that is all that is known of it without `fetch`.
    revision: int

    def __init__(self, key: str, revision: int, attributes: dict[str, Any]) -> None:
        _set_key(self, key)
        _set_revision(self, revision)
        _set_attributes(self, attributes)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("An item can't be altered. Write through the client or the mirror.")

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The attributes, as a read-only mapping: the item itself."""
        return self

    def __getitem__(self, name: str) -> Any:
        return self._attributes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._attributes)

    def __len__(self) -> int:
        return len(self._attributes)

    def __contains__(self, name: object) -> bool:
        return name in self._attributes

    def keys(self) -> KeysView[str]:
        return self._attributes.keys()

    def values(self) -> ValuesView[Any]:
        return self._attributes.values()

    def items(self) -> ItemsView[str, Any]:
        return self._attributes.items()

    def get(self, name: str, default: Any = None) -> Any:
        return self._attributes.get(name, default)

    def as_dict(self) -> dict[str, Any]:
        """A copy of the attributes (the values in it are shared)."""
        return dict(self._attributes)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Item):
            return self.key == other.key and self.revision == other.revision and self._attributes == other._attributes
        if isinstance(other, Mapping):
            return self._attributes == other
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Item({self.key!r}, revision={self.revision}, {self._attributes!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (Item, (self.key, self.revision, self._attributes))


# The slots themselves: `Item.__setattr__` refuses, and this is several times as fast as going round it by `object.__setattr__`.
_set_key = Item.__dict__["key"].__set__
_set_revision = Item.__dict__["revision"].__set__
_set_attributes = Item.__dict__["_attributes"].__set__


@dataclass(frozen=True, slots=True)
class Change:
    """What became different in a mirror."""

    #: `add`, `change`, `delete`, or `reset`: too much was missed by this iterator, look at the whole mirror. A newer server may have others.
    op: str
    #: Of the item; empty for `reset`.
    key: str
    #: The names of the attributes that are different now.
    changed: tuple[str, ...]
    #: Those of them that are gone.
    removed: tuple[str, ...]
    #: What the mirror shows now; None where it is gone.
    item: Item | None
    #: What the mirror showed before; None where it is new.
    previous: Item | None
    #: Why, where there is something to say: `entered`, `left`, `denied`, `expired`, `refused` (a write of this mirror was), or a newer one.
    reason: str | None
    #: The state of the mirror that has it.
    revision: int


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit of a pool, as the feed tells it."""

    revision: int
    #: Keep that of the last commit that you are done with, and begin there the next time.
    cursor: str
    #: RFC 3339, UTC.
    time: str
    #: Who wrote it.
    subject: str
    #: As the API tells them: `{op, collection, key, changed, removed, attributes?, previous?, reason?}`.
    changes: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class BatchAnswer:
    """What came of a batch."""

    revision: int
    cursor: str
    #: One for each op, as the API tells them: `{index, status, collection, key, revision, changed, value?}`.
    results: tuple[Mapping[str, Any], ...]


def item_of(answer: Mapping[str, Any]) -> Item:
    """The item in an answer of the server."""
    return Item(answer["key"], answer["revision"], answer.get("attributes") or _NOTHING)

"""
Makes filters (docs/API.md, Filters) in Python's own operators, and quotes names that would be taken for operators or pointers.

    from stargus import where

    (where.attr("status") == "open") & where.attr("priority").in_([1, 2]) & ~where.attr("title").prefix("A")

A filter is accepted wherever a `where` is, and so is a plain dict as the API has it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_LOGIC = ("and", "or", "not")


class Filter:
    """What an item must be. Join filters by `&` and `|`, turn one round by `~`."""

    __slots__ = ("_filter",)

    def __init__(self, plain: Mapping[str, Any]) -> None:
        self._filter = dict(plain)

    def as_dict(self) -> dict[str, Any]:
        """As the API has it."""
        return self._filter

    def __and__(self, other: Filter | Mapping[str, Any]) -> Filter:
        return Filter({"and": [*_parts(self, "and"), *_parts(other, "and")]})

    def __rand__(self, other: Mapping[str, Any]) -> Filter:
        return Filter(other) & self

    def __or__(self, other: Filter | Mapping[str, Any]) -> Filter:
        return Filter({"or": [*_parts(self, "or"), *_parts(other, "or")]})

    def __ror__(self, other: Mapping[str, Any]) -> Filter:
        return Filter(other) | self

    def __invert__(self) -> Filter:
        return Filter({"not": self._filter})

    def __bool__(self) -> bool:
        raise TypeError("A filter is neither true nor false: join filters by & and |, not by `and` and `or`.")

    def __repr__(self) -> str:
        return f"Filter({self._filter!r})"


class Name:
    """An attribute, a place in one, or the item's own key or revision: compare it to get a filter."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __eq__(self, value: object) -> Filter:  # type: ignore[override]
        """Equals it."""
        is_scalar = value is None or isinstance(value, (str, int, float, bool))
        return Filter({self._name: value if is_scalar else {"eq": value}})

    def __ne__(self, value: object) -> Filter:  # type: ignore[override]
        """Is there, and doesn't equal it."""
        return self._test("ne", value)

    def __lt__(self, value: Any) -> Filter:
        return self._test("lt", value)

    def __le__(self, value: Any) -> Filter:
        return self._test("lte", value)

    def __gt__(self, value: Any) -> Filter:
        return self._test("gt", value)

    def __ge__(self, value: Any) -> Filter:
        return self._test("gte", value)

    __hash__ = None  # type: ignore[assignment]

    def in_(self, values: Sequence[Any]) -> Filter:
        """Equals one of them."""
        return self._test("in", list(values))

    def not_in(self, values: Sequence[Any]) -> Filter:
        """Is there, and equals none of them."""
        return self._test("nin", list(values))

    def prefix(self, beginning: str) -> Filter:
        """Is a text that begins so."""
        return self._test("prefix", beginning)

    def has(self, element: Any) -> Filter:
        """Is an array that has such an element."""
        return self._test("has", element)

    def exists(self, is_there: bool = True) -> Filter:
        """Is there, or isn't."""
        return self._test("exists", is_there)

    def _test(self, operator: str, operand: Any) -> Filter:
        return Filter({self._name: {operator: operand}})


#: The item's own key, and its revision.
key = Name("/@key")
revision = Name("/@revision")


def attr(name: str) -> Name:
    """An attribute, whatever it is called."""
    if name in _LOGIC or name.startswith("/"):
        return Name("/" + name.replace("~", "~0").replace("/", "~1"))
    return Name(name)


def pointer(path: str) -> Name:
    """A place within the attributes, as a JSON Pointer: `/address/city`."""
    if not path.startswith("/"):
        raise ValueError("A JSON Pointer begins with a slash.")
    return Name(path)


def all_of(*filters: Filter | Mapping[str, Any]) -> Filter:
    """All match; of none: everything does."""
    return Filter({"and": [filter_of(one) for one in filters]})


def any_of(*filters: Filter | Mapping[str, Any]) -> Filter:
    """At least one matches; of none: nothing does."""
    return Filter({"or": [filter_of(one) for one in filters]})


def filter_of(where: Filter | Mapping[str, Any]) -> dict[str, Any]:
    """A filter as the API has it."""
    return where.as_dict() if isinstance(where, Filter) else dict(where)


def _parts(one: Filter | Mapping[str, Any], logic: str) -> list[dict[str, Any]]:
    """Those of a filter that is joined so already: filters may be 8 levels deep."""
    plain = filter_of(one)
    return list(plain[logic]) if list(plain) == [logic] else [plain]

"""
Judges a filter (docs/API.md, Filters) of an item that isn't at the server yet, so that a mirror shows a write only where it belongs.

The answer is True, False, or None for what can't be said here: an operator of a newer server, an attribute that the mirror doesn't have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .json_values import same
from .three_valued import all_of, any_of

_ABSENT: Any = object()
_UNKNOWN: Any = object()
_LOGIC = frozenset({"and", "or", "not"})


def judge(where: Mapping[str, Any], key: str, attributes: Mapping[str, Any], known: frozenset[str] | None = None) -> bool | None:
    """Whether an item matches. `known` names the attributes that can be seen; None: all can."""
    return all_of(_judge_member(name, operand, key, attributes, known) for name, operand in where.items())


def _judge_member(name: str, operand: Any, key: str, attributes: Mapping[str, Any], known: frozenset[str] | None) -> bool | None:
    if name in _LOGIC:
        if name == "not":
            inner = judge(operand, key, attributes, known) if isinstance(operand, Mapping) else None
            return None if inner is None else not inner
        if not isinstance(operand, (list, tuple)):
            return None
        parts = [judge(part, key, attributes, known) if isinstance(part, Mapping) else None for part in operand]
        return all_of(parts) if name == "and" else any_of(parts)
    value = _value_of(name, key, attributes, known)
    if value is _UNKNOWN:
        return None
    if not isinstance(operand, Mapping):
        operand = {"eq": operand}
    return all_of(_test(operator, value, against) for operator, against in operand.items())


def _value_of(name: str, key: str, attributes: Mapping[str, Any], known: frozenset[str] | None) -> Any:
    if not name.startswith("/"):
        tokens = [name]
    else:
        if name == "/@key":
            return key
        if name == "/@revision":
            return _UNKNOWN
        tokens = [token.replace("~1", "/").replace("~0", "~") for token in name[1:].split("/")]
    if known is not None and tokens[0] not in known:
        return _UNKNOWN
    value: Any = attributes
    for token in tokens:
        if isinstance(value, Mapping):
            value = value.get(token, _ABSENT)
        elif isinstance(value, (list, tuple)):
            value = value[int(token)] if token.isascii() and token.isdigit() and str(int(token)) == token and int(token) < len(value) else _ABSENT
        else:
            return _ABSENT
        if value is _ABSENT:
            return _ABSENT
    return value


def _test(operator: str, value: Any, against: Any) -> bool | None:
    if operator == "exists":
        return (value is not _ABSENT) is bool(against)
    test = _TESTS.get(operator)
    if test is None:
        return None
    return False if value is _ABSENT else test(value, against)


def _ordered(decide: Callable[[int], bool]) -> Callable[[Any, Any], bool | None]:
    def test(value: Any, against: Any) -> bool | None:
        kind = _kind(value)
        if kind != _kind(against):
            return False
        if kind == "number" or kind == "bool":
            return decide((value > against) - (value < against))
        if kind == "string":
            one, other = value.encode("utf-8", "surrogatepass"), against.encode("utf-8", "surrogatepass")
            return decide((one > other) - (one < other))
        # The order of arrays and objects is the server's to tell.
        return None

    return test


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return "string"
    if value is None:
        return "null"
    return "array" if isinstance(value, (list, tuple)) else "object"


_TESTS: Mapping[str, Callable[[Any, Any], bool | None]] = {
    "eq": same,
    "ne": lambda value, against: not same(value, against),
    "in": lambda value, against: any(same(value, one) for one in against),
    "nin": lambda value, against: not any(same(value, one) for one in against),
    "lt": _ordered(lambda order: order < 0),
    "lte": _ordered(lambda order: order <= 0),
    "gt": _ordered(lambda order: order > 0),
    "gte": _ordered(lambda order: order >= 0),
    "prefix": lambda value, against: isinstance(value, str) and value.startswith(against),
    "has": lambda value, against: isinstance(value, (list, tuple)) and any(same(one, against) for one in value),
}

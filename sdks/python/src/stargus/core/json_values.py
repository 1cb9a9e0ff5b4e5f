"""JSON values as Python has them: what is equal, what a merge patch makes of them, and how they are written."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=True, separators=(",", ":")).encode
_encode_sorted = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=True, separators=(",", ":"), sort_keys=True).encode


def text_of(value: Any) -> str:
    """
    As JSON without blanks.

    Raises ValueError for numbers that JSON doesn't have, and for what refers to itself; TypeError for what is no JSON.
    """
    return _encode(value)


def sorted_text_of(value: Any) -> str:
    """As JSON without blanks, members in the order of their names: equal values have equal texts."""
    return _encode_sorted(value)


def same(one: Any, other: Any) -> bool:
    """Whether both are the same JSON. For Python True is 1, for JSON it isn't."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict):
        return (
            isinstance(other, dict)
            and len(one) == len(other)
            and all(name in other and same(value, other[name]) for name, value in one.items())
        )
    if isinstance(one, (list, tuple)):
        return isinstance(other, (list, tuple)) and len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def merged(target: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """What a merge patch (RFC 7396) makes of an object. Neither is altered."""
    result = dict(target)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict):
            former = result.get(name)
            result[name] = merged(former if isinstance(former, dict) else {}, value)
        else:
            result[name] = value
    return result


def without_nulls(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes that are there: at the top null means absent."""
    return {name: value for name, value in attributes.items() if value is not None}


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of the attributes that were set or removed, and of those that were removed."""
    removed = tuple(name for name in before if name not in after)
    changed = tuple(name for name, value in after.items() if name not in before or not same(before[name], value))
    return changed + removed, removed


def chosen(attributes: Mapping[str, Any], fields: Iterable[str]) -> dict[str, Any]:
    """Only these attributes."""
    return {name: attributes[name] for name in fields if name in attributes}

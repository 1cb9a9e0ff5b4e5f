"""
Judges a write by the rules that the server tells of the caller (docs/POLICY.md, effective; CASL's form): a hint of whether to show it at once.

All layers must allow it; in each the last rule that is about the write decides. What isn't known here counts as not allowed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .json_values import same
from .three_valued import all_of

Rule = Mapping[str, Any]
_ABSENT: Any = object()


class Rules:
    """What one may do, as `GET P/policy/effective` answers it."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        self._layers: list[Sequence[Rule]] = [answer.get("rules") or (), *(answer.get("restrictions") or ())]

    def allow(self, action: str, collection: str, key: str, attributes: Mapping[str, Any], names: Sequence[str]) -> bool:
        """
        Whether this may be done with the item as it is (of a new one: as it will be).

        `action` is `create`, `write` or `delete`; `names` are the attributes that it sets or removes; none: the item as a whole.
        """
        about = {**attributes, "@key": key}
        fields: Sequence[str | None] = names or (None,)
        try:
            return all(_allows(layer, action, collection, about, field) for layer in self._layers for field in fields)
        except (AttributeError, TypeError, ValueError, RecursionError):
            # A rule of another form than is known here.
            return False


def _allows(layer: Sequence[Rule], action: str, collection: str, about: Mapping[str, Any], field: str | None) -> bool:
    for rule in reversed(layer):
        denies = rule.get("inverted") is True
        if not (_names(rule.get("action"), action, "manage") and _names(rule.get("subject"), collection, "all")):
            continue
        fields = rule.get("fields")
        if fields is not None and not (field in fields if field is not None else not denies):
            continue
        meets = _meets(rule.get("conditions"), about)
        # Not knowing is for a rule that allows as if it weren't met, for one that denies as if it were.
        if meets is True or (meets is None and denies):
            return not denies
    return False


def _names(given: Any, wanted: str, everything: str) -> bool:
    names = [given] if isinstance(given, str) else given or ()
    return wanted in names or everything in names


def _meets(conditions: Mapping[str, Any] | None, about: Mapping[str, Any]) -> bool | None:
    result: bool | None = True
    for path, tests in (conditions or {}).items():
        value: Any = about
        for part in path.split("."):
            value = value.get(part, _ABSENT) if isinstance(value, Mapping) else _ABSENT
        if path.startswith("$"):
            met: bool | None = None
        elif isinstance(tests, Mapping) and any(name.startswith("$") for name in tests):
            met = all_of(_test(name, value, operand) for name, operand in tests.items())
        else:
            met = value is not _ABSENT and same(value, tests)
        if met is False:
            return False
        if met is None:
            result = None
    return result


def _test(operator: str, value: Any, operand: Any) -> bool | None:
    is_there = value is not _ABSENT
    if operator == "$exists":
        return is_there is bool(operand)
    if operator == "$eq":
        return is_there and same(value, operand)
    if operator == "$ne":
        return not (is_there and same(value, operand))
    if operator in ("$in", "$nin"):
        return any(is_there and same(value, one) for one in operand) is (operator == "$in")
    if operator == "$all":
        return isinstance(value, list) and all(any(same(one, wanted) for one in value) for wanted in operand)
    if operator in ("$lt", "$lte", "$gt", "$gte"):
        numbers = all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in (value, operand))
        if not numbers and not (isinstance(value, str) and isinstance(operand, str)):
            return False if not is_there else None
        order: int = (value > operand) - (value < operand)
        return {"$lt": order < 0, "$lte": order <= 0, "$gt": order > 0, "$gte": order >= 0}[operator]
    if operator == "$regex" and isinstance(operand, str):
        # The server writes no other than `^` and an escaped text.
        prefix = re.sub(r"\\([.*+?^${}()|\[\]\\/])", r"\1", operand[1:])
        if operand != "^" + re.sub(r"[.*+?^${}()|\[\]\\/]", r"\\\g<0>", prefix):
            return None
        return isinstance(value, str) and value.startswith(prefix)
    return None

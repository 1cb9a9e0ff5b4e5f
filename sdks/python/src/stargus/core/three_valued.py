"""And and or over what may not be known here: None among the parts leaves the whole unknown, unless another part decides it."""

from __future__ import annotations

from collections.abc import Iterable


def all_of(parts: Iterable[bool | None]) -> bool | None:
    """Whether all parts hold; a part that doesn't decides."""
    return _decided(parts, False)


def any_of(parts: Iterable[bool | None]) -> bool | None:
    """Whether any part holds; one that does decides."""
    return _decided(parts, True)


def _decided(parts: Iterable[bool | None], decisive: bool) -> bool | None:
    result: bool | None = not decisive
    for part in parts:
        if part is decisive:
            return decisive
        if part is None:
            result = None
    return result

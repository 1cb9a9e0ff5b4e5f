"""Values that were fetched for a sparse mirror: bounded by their size as JSON, the least recently used go first."""

from __future__ import annotations

from collections import OrderedDict

from ..items import Item


class FetchedValues:
    """By key. Whoever calls sees to it that one thread does at a time."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.bytes = 0
        self._items: OrderedDict[str, tuple[Item, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._items)

    def get(self, key: str) -> Item | None:
        """The item, which is now the one used last."""
        found = self._items.get(key)
        if found is None:
            return None
        self._items.move_to_end(key)
        return found[0]

    def put(self, item: Item, size: int) -> None:
        """Keeps an item whose attributes have so many bytes of JSON. One that is larger than all may be isn't kept."""
        self.drop(item.key)
        if size > self.bytes_max:
            return
        self._items[item.key] = (item, size)
        self.bytes += size
        while self.bytes > self.bytes_max:
            _, (_, gone) = self._items.popitem(last=False)
            self.bytes -= gone

    def drop(self, key: str) -> None:
        """Forgets one."""
        found = self._items.pop(key, None)
        if found is not None:
            self.bytes -= found[1]

    def clear(self) -> None:
        """Forgets all."""
        self._items.clear()
        self.bytes = 0

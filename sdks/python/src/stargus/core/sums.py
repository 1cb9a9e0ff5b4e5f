"""The checksum of a cache: an XOR of digests, so that a commit costs what it changes, not what there is."""

from __future__ import annotations

from hashlib import sha256


class Checksum:
    """The XOR of the SHA-256 of each item's line. `hex` adds that of the cursor and the number of items."""

    def __init__(self, lines: int = 0, count: int = 0) -> None:
        self.lines = lines
        self.count = count

    def add(self, key: str, revision: int, attributes: str) -> None:
        """Counts an item in; `attributes` is the text that is stored."""
        self.lines ^= _digest(f"{key}\n{revision}\n{attributes}")
        self.count += 1

    def remove(self, key: str, revision: int, attributes: str) -> None:
        """Counts an item out that was counted in like this."""
        self.lines ^= _digest(f"{key}\n{revision}\n{attributes}")
        self.count -= 1

    def hex(self, cursor: str) -> str:
        """As it stands in the file."""
        return f"{self.lines ^ _digest(f'{cursor}{chr(10)}{self.count}'):064x}"


def _digest(line: str) -> int:
    return int.from_bytes(sha256(line.encode("utf-8", "surrogatepass")).digest(), "big")

"""
The persistent cache of a mirror: an SQLite file that one thread of its own opens, checks, writes and closes.

Items, cursor and a checksum of both are committed together, some four times a second. What doesn't fit, because it is damaged or of something else,
is thrown away and made anew; only a file that isn't one of ours is left as it is.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing

from ..core.json_values import text_of
from ..core.sums import Checksum
from ..errors import CacheFailed, CacheInUse
from ..items import Item
from ..limits import CACHE_WRITE_EVERY

_APPLICATION_ID = 0x53544152
_USER_VERSION = 1
_MAGIC = b"SQLite format 3\0"
_TABLES = (
    "CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE item (key TEXT PRIMARY KEY, revision INTEGER NOT NULL, attributes TEXT NOT NULL) WITHOUT ROWID",
)

# Files that this process has. To open and close one that SQLite has open would take its locks away (POSIX), so it isn't even looked at.
_in_use: set[str] = set()
_in_use_lock = threading.Lock()


class _Unfit(Exception):
    """What the file has can't be used, and may be thrown away."""


class CacheFile:
    """One file, and the thread that has it."""

    def __init__(self, path: str | os.PathLike[str], view: Sequence[str], is_sparse: bool, on_failed: Callable[[CacheFailed], None]) -> None:
        self.path = os.path.realpath(os.fspath(path))
        self._view = list(view)
        self._is_sparse = is_sparse
        self._on_failed = on_failed
        self._wake = threading.Condition()
        self._all: dict[str, Item] | None = None
        self._some: dict[str, Item | None] = {}
        self._cursor: str | None = None
        self._is_dirty = False
        self._is_closing = False
        # Nobody writes any more: what would wait for it isn't kept.
        self._is_ended = False
        self._sum = Checksum()
        #: What was in it: items and cursor, None where there was nothing of use. Fails with CacheInUse and CacheFailed.
        self.opened: Future[tuple[dict[str, Item], str] | None] = Future()
        #: Done when the thread has ended.
        self.closed: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="stargus-cache", daemon=True)
        self._thread.start()

    def note(self, altered: Mapping[str, Item | None], cursor: str) -> None:
        """These items are so since `cursor`; None: gone."""
        with self._wake:
            if self._is_ended:
                return
            if self._all is not None:
                for key, item in altered.items():
                    if item is None:
                        self._all.pop(key, None)
                    else:
                        self._all[key] = item
            else:
                self._some.update(altered)
            self._touch(cursor)

    def replace(self, items: dict[str, Item], cursor: str) -> None:
        """All that there is, since `cursor`. The mapping is the cache's from now on."""
        with self._wake:
            if self._is_ended:
                return
            self._all = items
            self._some = {}
            self._touch(cursor)

    def _touch(self, cursor: str) -> None:
        self._cursor = cursor
        self._is_dirty = True
        self._wake.notify()

    def close(self) -> None:
        """Writes what is left, and ends the thread; `closed` tells when."""
        with self._wake:
            self._is_closing = True
            self._wake.notify()

    def _run(self) -> None:
        try:
            with _in_use_lock:
                if self.path in _in_use:
                    raise CacheInUse(f"{self.path} is the cache of another mirror of this process. Give each its own.")
                _in_use.add(self.path)
            try:
                with closing(self._open()) as connection:
                    self._serve(connection)
            finally:
                with _in_use_lock:
                    _in_use.discard(self.path)
        except BaseException as error:
            if not self.opened.done():
                self.opened.set_exception(error)
            elif isinstance(error, CacheFailed):
                self._on_failed(error)
            else:
                self._on_failed(CacheFailed(f"The cache {self.path} can't be written any more: {error}. The mirror goes on without it."))
        finally:
            with self._wake:
                self._is_ended = True
                self._all, self._some = None, {}
            self.closed.set_result(None)

    def _open(self) -> sqlite3.Connection:
        self._claim()
        for attempt in (1, 2):
            connection: sqlite3.Connection | None = None
            try:
                connection = connect(self.path)
                content = self._read(connection)
                self.opened.set_result(content)
                return connection
            except sqlite3.OperationalError as error:
                if connection is not None:
                    connection.close()
                if str(error).startswith("database") and "locked" in str(error):
                    raise CacheInUse(f"{self.path} is in use by another process.") from error
                if attempt == 2 or not _is_damaged(error):
                    raise CacheFailed(f"The cache {self.path} can't be opened: {error}.") from error
            except (_Unfit, sqlite3.DatabaseError) as error:
                if connection is not None:
                    connection.close()
                if attempt == 2:
                    raise CacheFailed(f"The cache {self.path} can't be made: {error}.") from error
            self._sum = Checksum()
            self._throw_away()
        raise AssertionError("unreachable")

    def _claim(self) -> None:
        """Makes the file if there is none, for its owner only; and sees that it is none of somebody else's."""
        try:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
        except OSError as error:
            raise CacheFailed(f"The cache {self.path} can't be opened: {error.strerror}.") from error
        # If another process has the file open these are no locks of ours that closing would take away.
        try:
            head = os.read(handle, 100)
            if head and not head.startswith(_MAGIC):
                raise CacheFailed(f"{self.path} is a file of something else, and is left as it is. Choose another name for the cache.")
            if hasattr(os, "fchmod"):
                os.fchmod(handle, 0o600)
        except OSError as error:
            raise CacheFailed(f"The cache {self.path} can't be opened: {error.strerror}.") from error
        finally:
            os.close(handle)

    def _throw_away(self) -> None:
        for suffix in ("", "-journal", "-wal", "-shm"):
            try:
                os.unlink(self.path + suffix)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise CacheFailed(f"The cache {self.path} is of no use, and can't be thrown away: {error.strerror}.") from error
        self._claim()

    def _read(self, connection: sqlite3.Connection) -> tuple[dict[str, Item], str] | None:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("BEGIN EXCLUSIVE")
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if application == 0 and version == 0 and tables == 0:
            self._make(connection)
            return None
        if application != _APPLICATION_ID:
            raise CacheFailed(f"{self.path} is a database of something else, and is left as it is. Choose another name for the cache.")
        if version != _USER_VERSION:
            raise _Unfit("another format")
        about = dict(connection.execute("SELECT name, value FROM about"))
        cursor = about.get("cursor")
        if not cursor or not _is_list(about.get("view"), self._view):
            raise _Unfit("another view")
        items: dict[str, Item] = {}
        check = Checksum()
        try:
            for key, revision, attributes in connection.execute("SELECT key, revision, attributes FROM item"):
                check.add(key, revision, attributes)
                items[key] = Item(key, revision, {} if self._is_sparse else json.loads(attributes))
        except (ValueError, TypeError, AttributeError) as error:
            raise _Unfit("damaged") from error
        if check.hex(cursor) != about.get("checksum"):
            raise _Unfit("damaged")
        connection.execute("COMMIT")
        self._sum = check
        return items, cursor

    def _make(self, connection: sqlite3.Connection) -> None:
        for table in _TABLES:
            connection.execute(table)
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {_USER_VERSION}")
        connection.execute("INSERT INTO about VALUES ('view', ?)", (json.dumps(self._view, ensure_ascii=False, separators=(",", ":")),))
        connection.execute("COMMIT")

    def _serve(self, connection: sqlite3.Connection) -> None:
        while True:
            with self._wake:
                while not self._is_dirty and not self._is_closing:
                    self._wake.wait()
                is_last = self._is_closing
                if not self._is_dirty:
                    return
                everything, some, cursor = self._all, self._some, self._cursor
                self._all, self._some, self._is_dirty = None, {}, False
            assert cursor is not None
            self._write(connection, everything, some, cursor)
            if is_last:
                return
            with self._wake:
                self._wake.wait_for(lambda: self._is_closing, CACHE_WRITE_EVERY)

    def _write(self, connection: sqlite3.Connection, everything: dict[str, Item] | None, some: dict[str, Item | None], cursor: str) -> None:
        connection.execute("BEGIN EXCLUSIVE")
        try:
            check = Checksum(self._sum.lines, self._sum.count)
            if everything is not None:
                connection.execute("DELETE FROM item")
                check = Checksum()
                some = dict(everything)
            rows: list[tuple[str, int, str]] = []
            for key, item in some.items():
                if everything is None:
                    former = connection.execute("SELECT revision, attributes FROM item WHERE key = ?", (key,)).fetchone()
                    if former is not None:
                        check.remove(key, former[0], former[1])
                        if item is None:
                            connection.execute("DELETE FROM item WHERE key = ?", (key,))
                if item is not None:
                    text = "{}" if self._is_sparse else text_of(item.as_dict())
                    check.add(key, item.revision, text)
                    rows.append((key, item.revision, text))
            connection.executemany("INSERT OR REPLACE INTO item VALUES (?, ?, ?)", rows)
            connection.executemany(
                "INSERT OR REPLACE INTO about VALUES (?, ?)", (("cursor", cursor), ("checksum", check.hex(cursor)))
            )
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self._sum = check


def connect(path: str) -> sqlite3.Connection:
    """Opens the file; transactions are begun by hand."""
    return sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=True)


def _is_list(text: str | None, wanted: Sequence[str]) -> bool:
    try:
        return bool(json.loads(text or "") == list(wanted))
    except ValueError:
        return False


def _is_damaged(error: sqlite3.OperationalError) -> bool:
    """
    Whether it says that what is in the file isn't right, rather than that it can't be read or written: a disk that fails for a moment is no reason to
    throw away what is on it. The text of what can't be decoded is in the message, so only its beginning counts.
    """
    return str(error).startswith(
        ("database disk image is malformed", "no such table", "no such column", "file is not a database", "unsupported file format", "Could not decode")
    )

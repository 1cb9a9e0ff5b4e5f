"""The cache of a mirror: whatever happens to the file, the mirror is right."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import stargus
import stargus.engine.cache
from servers import StartedServer, until


def filled(client: stargus.Client, count: int = 5) -> None:
    client.batch([stargus.ops.put("rooms", f"k{n}", {"n": n, "t": "Ærø \u2028"}) for n in range(count)])


def about(file: Path) -> dict[str, str]:
    connection = sqlite3.connect(file)
    try:
        return dict(connection.execute("SELECT name, value FROM about"))
    finally:
        connection.close()


def test_it_is_shown_at_once_and_told_only_what_was_missed(client: stargus.Client, tmp_path: Path) -> None:
    file = tmp_path / "rooms.sqlite"
    filled(client)
    with client.attach("rooms", cache=file) as mirror:
        mirror.wait_ready(10)
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    assert json.loads(about(file)["view"]) == [client.url, client.pool, "anonymous", "rooms", ""]
    client.merge("rooms", "k1", {"n": 10})
    client.delete("rooms", "k2")
    with client.attach("rooms", cache=file) as mirror:
        heard: list[stargus.Change] = []
        mirror.on_change(heard.append)
        mirror.wait_ready(10)
        until(lambda: len(heard) == 2)
        assert [(change.op, change.key) for change in heard] == [("change", "k1"), ("delete", "k2")]
        assert mirror["k1"]["n"] == 10 and len(mirror) == 4


def test_without_a_server_it_shows_what_it_had(own_server: StartedServer, pool: str, tmp_path: Path) -> None:
    file = tmp_path / "rooms.sqlite"
    with stargus.connect(own_server.url, pool) as client:
        filled(client)
        with client.attach("rooms", cache=file) as mirror:
            mirror.wait_ready(10)
        own_server.kill()
        with client.attach("rooms", cache=file) as mirror:
            until(lambda: len(mirror) == 5)
            assert not mirror.is_live and mirror["k3"]["n"] == 3
            with pytest.raises(stargus.Timeout):
                mirror.wait_ready(0.2)
            own_server.start()
            mirror.wait_ready(30)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE item SET attributes = '{\"n\":99}' WHERE key = 'k1'",
        "DELETE FROM item WHERE key = 'k1'",
        "UPDATE about SET value = 'x' WHERE name = 'checksum'",
        "UPDATE about SET value = 'nonsense' WHERE name = 'cursor'",
        "UPDATE item SET attributes = 'no JSON' WHERE key = 'k1'",
        "DROP TABLE item",
        "PRAGMA user_version = 2",
        "UPDATE about SET value = '[]' WHERE name = 'view'",
        "UPDATE item SET attributes = CAST(x'ff' || 'database is locked' AS TEXT) WHERE key = 'k1'",
    ],
)
def test_a_damaged_file_is_made_anew(client: stargus.Client, tmp_path: Path, damage: str) -> None:
    file = tmp_path / "rooms.sqlite"
    filled(client)
    with client.attach("rooms", cache=file) as mirror:
        mirror.wait_ready(10)
    connection = sqlite3.connect(file)
    connection.execute(damage)
    connection.commit()
    connection.close()
    for _ in range(2):
        with client.attach("rooms", cache=file) as mirror:
            mirror.wait_ready(10)
            assert mirror["k1"] == {"n": 1, "t": "Ærø \u2028"} and len(mirror) == 5
    assert about(file)["cursor"]


def test_bytes_that_were_overwritten(client: stargus.Client, tmp_path: Path) -> None:
    file = tmp_path / "rooms.sqlite"
    filled(client, 200)
    with client.attach("rooms", cache=file) as mirror:
        mirror.wait_ready(10)
    # A number of a format that isn't known.
    with open(file, "r+b") as handle:
        handle.seek(44)
        handle.write(b"\0\0\0\xff")
    with client.attach("rooms", cache=file) as mirror:
        mirror.wait_ready(10)
    size = file.stat().st_size
    for at in range(100, size - 16, size // 7):
        with open(file, "r+b") as handle:
            handle.seek(at)
            handle.write(b"\xff" * 16)
        with client.attach("rooms", cache=file) as mirror:
            mirror.wait_ready(10)
            assert {item["n"] for item in mirror.values()} == set(range(200))
    os.truncate(file, size // 2)
    with client.attach("rooms", cache=file) as mirror:
        mirror.wait_ready(10)
        assert len(mirror) == 200


@pytest.mark.parametrize("content", [b"my diary\n", b"x" * 5000])
def test_a_file_of_something_else_is_left_as_it_is(client: stargus.Client, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "diary"
    file.write_bytes(content)
    with client.attach("rooms", cache=file) as mirror, pytest.raises(stargus.CacheFailed):
        mirror.wait_ready(10)
    assert file.read_bytes() == content


def test_a_database_of_something_else_is_left_as_it_is(client: stargus.Client, tmp_path: Path) -> None:
    file = tmp_path / "other.sqlite"
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE diary (text)")
    connection.close()
    content = file.read_bytes()
    with client.attach("rooms", cache=file) as mirror, pytest.raises(stargus.CacheFailed):
        mirror.wait_ready(10)
    assert file.read_bytes() == content


def test_a_folder_that_is_not_there(client: stargus.Client, tmp_path: Path) -> None:
    with client.attach("rooms", cache=tmp_path / "none" / "x") as mirror, pytest.raises(stargus.CacheFailed):
        mirror.wait_ready(10)


def test_a_full_disk(url: str, pool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "rooms.sqlite"
    connect = stargus.engine.cache.connect

    def small(path: str) -> sqlite3.Connection:
        connection = connect(path)
        connection.execute("PRAGMA max_page_count = 12")
        return connection

    monkeypatch.setattr(stargus.engine.cache, "connect", small)
    problems: list[Exception] = []
    with stargus.connect(url, pool, on_problem=problems.append) as client:
        filled(client)
        with client.attach("rooms", cache=file) as mirror:
            mirror.wait_ready(10)
            client.batch([stargus.ops.put("rooms", f"x{n}", {"text": "x" * 1000}) for n in range(200)])
            until(lambda: len(mirror) == 205)
            until(lambda: problems)
            # It goes on without the cache.
            client.set("rooms", "last", {})
            until(lambda: "last" in mirror)
            assert mirror.error is None
            # And nothing is kept for it any more.
            cache = mirror._engine._cache
            assert cache is not None and cache._all is None and not cache._some
    assert [type(problem) for problem in problems] == [stargus.CacheFailed]
    monkeypatch.undo()
    with stargus.connect(url, pool) as client, client.attach("rooms", cache=file) as mirror:
        mirror.wait_ready(10)
        assert len(mirror) == 206


def test_a_disk_that_fails_takes_no_cache_away(client: stargus.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "rooms.sqlite"
    filled(client)
    with client.attach("rooms", cache=file) as mirror:
        mirror.wait_ready(10)
    content = file.read_bytes()

    class Failing(sqlite3.Connection):
        def execute(self, sql: str, *values: object) -> sqlite3.Cursor:
            if "FROM item" in sql:
                raise sqlite3.OperationalError("disk I/O error")
            return super().execute(sql, *values)

    monkeypatch.setattr(
        stargus.engine.cache, "connect", lambda path: sqlite3.connect(path, timeout=0, isolation_level=None, factory=Failing)
    )
    with client.attach("rooms", cache=file) as mirror, pytest.raises(stargus.CacheFailed):
        mirror.wait_ready(10)
    assert file.read_bytes() == content


def test_two_mirrors_of_one_process(client: stargus.Client, tmp_path: Path) -> None:
    file = tmp_path / "rooms.sqlite"
    with client.attach("rooms", cache=file) as first:
        first.wait_ready(10)
        (tmp_path / "link").symlink_to(file)
        for name in ("rooms.sqlite", "link"):
            with client.attach("rooms", cache=tmp_path / name) as second, pytest.raises(stargus.CacheInUse):
                second.wait_ready(10)
        # The refused ones took nothing away.
        assert used_by_another(client, file) == "cacheInUse"
    with client.attach("rooms", cache=file) as again:
        again.wait_ready(10)


def used_by_another(client: stargus.Client, file: Path) -> str:
    """What another process finds that wants the file."""
    program = (
        "import sys, stargus\n"
        "with stargus.connect(sys.argv[1], sys.argv[2]) as c, c.attach('rooms', cache=sys.argv[3]) as m:\n"
        "    try:\n"
        "        m.wait_ready(20)\n"
        "        print('ready')\n"
        "    except stargus.StargusError as error:\n"
        "        print(error.code)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(stargus.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", program, client.url, client.pool, str(file)], env=env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_two_processes(client: stargus.Client, tmp_path: Path) -> None:
    file = tmp_path / "rooms.sqlite"
    filled(client)
    with client.attach("rooms", cache=file) as mirror:
        mirror.wait_ready(10)
        assert used_by_another(client, file) == "cacheInUse"
        client.set("rooms", "new", {})
        until(lambda: "new" in mirror)
        assert used_by_another(client, file) == "cacheInUse"
        assert mirror.error is None
    assert used_by_another(client, file) == "ready"


def test_a_sparse_one_keeps_no_values(client: stargus.Client, tmp_path: Path) -> None:
    file = tmp_path / "rooms.sqlite"
    filled(client)
    for _ in range(2):
        with client.attach("rooms", cache=file, values="none") as mirror:
            mirror.wait_ready(10)
            assert len(mirror) == 5 and mirror["k1"]["n"] == 1
    connection = sqlite3.connect(file)
    assert {row[0] for row in connection.execute("SELECT attributes FROM item")} == {"{}"}
    connection.close()

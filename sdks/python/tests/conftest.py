"""What tests are given: a server, and an empty pool of it."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import stargus  # noqa: E402
from servers import OPERATOR_KEY, StartedServer, can_start, new_pool  # noqa: E402


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    """An open server: that of STARGUS_TEST_URL, or one that is started."""
    given = os.environ.get("STARGUS_TEST_URL")
    if given:
        yield given
        return
    if not can_start():
        pytest.skip("There is no STARGUS_TEST_URL, and the server isn't built.")
    server = StartedServer()
    try:
        yield server.url
    finally:
        server.remove()


@pytest.fixture(scope="session")
def required_url() -> Iterator[str]:
    """A server that wants to know who asks: that of STARGUS_TEST_REQUIRED_URL, or one that is started."""
    given = os.environ.get("STARGUS_TEST_REQUIRED_URL")
    if given:
        yield given
        return
    if not can_start():
        pytest.skip("There is no STARGUS_TEST_REQUIRED_URL, and the server isn't built.")
    server = StartedServer(STARGUS_AUTH="required", STARGUS_OPERATOR_KEY=OPERATOR_KEY)
    try:
        yield server.url
    finally:
        server.remove()


@pytest.fixture
def pool() -> str:
    return new_pool()


@pytest.fixture
def client(url: str, pool: str) -> Iterator[stargus.Client]:
    with stargus.connect(url, pool) as made:
        yield made


@pytest.fixture
def own_server() -> Iterator[StartedServer]:
    """One that a test may kill and start again."""
    if not can_start():
        pytest.skip("The server isn't built.")
    server = StartedServer()
    try:
        yield server
    finally:
        server.remove()


@pytest.fixture
def nobody_url() -> str:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{sock.getsockname()[1]}"

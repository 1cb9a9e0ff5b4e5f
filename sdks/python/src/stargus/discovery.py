"""
Finds the servers that announce themselves on the local network (DNS-SD, by zeroconf, which `pip install stargus[discover]` brings).

All that is heard was written by strangers: it is kept within bounds, and who announces what is not proven. Give no secret to a server because of its
name.
"""

from __future__ import annotations

import asyncio
import ipaddress
import threading
import time
import unicodedata
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from .errors import Unreachable

_SERVICE = "_stargus._tcp.local."

#: Anybody on the network can announce as many as they like.
_SERVERS_MAX = 256
_POOLS_MAX = 256

#: It is looked so often whether something was heard.
_LOOK_EVERY = 0.05


@dataclass(frozen=True, slots=True)
class FoundServer:
    """A server, as it says of itself."""

    name: str
    url: str
    #: `open` or `required`.
    auth: str
    pools: tuple[str, ...]
    version: str


def discover(timeout: float = 2.0) -> list[FoundServer]:
    """
    The servers that were heard of within `timeout` seconds, by name. It takes that time, and hardly more.

    Raises Unreachable where zeroconf isn't installed, or no network interface can be asked.
    """
    try:
        import zeroconf
    except ImportError as error:
        raise Unreachable("To look for servers, install zeroconf: pip install 'stargus[discover]'.") from error
    names: set[str] = set()
    lock = threading.Lock()

    def heard(name: str, **_: Any) -> None:
        with lock:
            if len(names) < _SERVERS_MAX:
                names.add(name)

    class Hearing(zeroconf.ServiceListener):
        def add_service(self, zc: Any, type_: str, name: str) -> None:
            heard(name)

        def update_service(self, zc: Any, type_: str, name: str) -> None:
            heard(name)

        def remove_service(self, zc: Any, type_: str, name: str) -> None:
            return

    found: dict[tuple[str, str], FoundServer] = {}
    until = time.monotonic() + timeout
    try:
        network = zeroconf.Zeroconf(interfaces=zeroconf.InterfaceChoice.All, ip_version=zeroconf.IPVersion.V4Only)
    except (OSError, RuntimeError) as error:
        raise Unreachable(f"No network interface can be asked: {error}.") from error
    try:
        browser = zeroconf.ServiceBrowser(network, _SERVICE, listener=Hearing())
        try:
            # All are asked for their addresses at once, so that names without a server behind hold up nobody.
            asked: dict[str, tuple[Any, Future[bool]]] = {}
            while (left := until - time.monotonic()) > 0:
                with lock:
                    new = names - asked.keys()
                for name in new:
                    info = zeroconf.ServiceInfo(_SERVICE, name)
                    assert network.loop is not None
                    asked[name] = (info, asyncio.run_coroutine_threadsafe(info.async_request(network, left * 1000), network.loop))
                time.sleep(min(_LOOK_EVERY, left))
            for name, (info, answer) in asked.items():
                if not answer.cancel() and not answer.exception() and answer.result():
                    server = server_of(name.removesuffix("." + _SERVICE), info.decoded_properties, info.parsed_addresses(), info.port or 0)
                    if server:
                        found[(server.name, server.url)] = server
        finally:
            browser.cancel()
    finally:
        network.close()
    return [found[key] for key in sorted(found)]


def server_of(name: str, told: Mapping[str, str | None], addresses: list[str], port: int) -> FoundServer | None:
    """Believes what was announced only as far as it makes an address."""
    told = {key.lower(): value for key, value in told.items()}
    auth = told.get("auth") or ""
    # `v` is the format of the record; there may be others one day.
    if told.get("v") != "1" or auth not in ("open", "required") or any(_is_control(text) for text in (name, *told.values()) if text):
        return None
    if given := told.get("url"):
        url = _plain(given)
        if not url:
            return None
    else:
        address = next(iter(sorted(addresses, key=lambda one: (":" in one, one))), None)
        if address is None or not port:
            return None
        host = f"[{address}]" if ipaddress.ip_address(address).version == 6 else address
        url = f"{'https' if told.get('https') == '1' else 'http'}://{host}:{port}"
    pools: list[str] = []
    number = 1
    while (names := told.get("pools" if number == 1 else f"pools{number}")) and len(pools) < _POOLS_MAX:
        pools += [_printable(one) for one in names.split(",") if one]
        number += 1
    return FoundServer(_printable(name), url, auth, tuple(pools[:_POOLS_MAX]), _printable(told.get("version") or ""))


def _plain(url: str) -> str:
    try:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and parts.username is None and _printable(url) == url:
            return url.rstrip("/")
    except ValueError:
        pass
    return ""


def _is_control(text: str) -> bool:
    return any(unicodedata.category(character) == "Cc" for character in text)


def _printable(text: str) -> str:
    """Keeps what strangers wrote from doing anything to a terminal."""
    return "".join(character for character in text if character.isprintable())

"""The other pure parts: filters, rules, patches, overlay, repetition, checksum, names, webhooks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import stargus
from stargus import where
from stargus.core.canonical import attachment_parameters, query_of, view_name
from stargus.core.filters import judge
from stargus.core.json_values import differences, merged, same
from stargus.core.listening import WaitingChanges
from stargus.core.lru import FetchedValues
from stargus.core.mirrored import Mirrored, PendingWrite, Scope
from stargus.core.repetition import may_be_repeated, retry_after_of, seconds_of, stream_wait, wait_before
from stargus.core.rules import Rules
from stargus.core.sums import Checksum
from stargus.core.tokens import ServerTime, token_of
from stargus.core.view import View
from stargus.core.webhooks import verified_event
from stargus.discovery import server_of
from stargus.engine.clients import plain_url
from stargus.engine.pipeline import judge as judge_answer
from stargus.engine.pipeline import is_once, takes_key
from stargus.generated_api import request_of
from stargus.items import Change, Item

# Filters


@pytest.mark.parametrize(
    ("made", "plain"),
    [
        (where.attr("a") == 1, {"a": 1}),
        (where.attr("a") == [1], {"a": {"eq": [1]}}),
        (where.attr("and") == 1, {"/and": 1}),
        (where.attr("/x~y") == 1, {"/~1x~0y": 1}),
        ((where.attr("a") > 1) & (where.attr("b") < 2) & where.attr("c").exists(), {"and": [{"a": {"gt": 1}}, {"b": {"lt": 2}}, {"c": {"exists": True}}]}),
        ((where.attr("a") == 1) | {"b": 2}, {"or": [{"a": 1}, {"b": 2}]}),
        (~where.attr("t").prefix("A"), {"not": {"t": {"prefix": "A"}}}),
        (where.key == "k", {"/@key": "k"}),
        (where.pointer("/a/b").in_([1, 2]), {"/a/b": {"in": [1, 2]}}),
        (where.all_of(), {"and": []}),
    ],
)
def test_filters_are_made(made: where.Filter, plain: dict[str, Any]) -> None:
    assert made.as_dict() == plain


def test_a_filter_is_neither_true_nor_false() -> None:
    with pytest.raises(TypeError):
        bool(where.attr("a") == 1)


@pytest.mark.parametrize(
    ("plain", "attributes", "expected"),
    [
        ({"a": 1}, {"a": 1}, True),
        ({"a": 1}, {"a": True}, False),
        ({"a": 1}, {}, False),
        ({"a": {"ne": 1}}, {}, False),
        ({"a": {"gte": 2}}, {"a": 2.5}, True),
        ({"a": {"gt": "b"}}, {"a": "c"}, True),
        ({"a": {"gt": "b"}}, {"a": 3}, False),
        ({"a": {"in": [1, 2]}}, {"a": 2}, True),
        ({"a": {"has": {"x": 1}}}, {"a": [{"x": 1}]}, True),
        ({"/a/0/b": 1}, {"a": [{"b": 1}]}, True),
        ({"/@key": "k"}, {}, True),
        ({"/@revision": 1}, {}, None),
        ({"a": {"newer": 1}}, {"a": 1}, None),
        ({"or": [{"a": {"newer": 1}}, {"b": 1}]}, {"b": 1}, True),
        ({"and": [{"a": {"newer": 1}}, {"b": 1}]}, {"b": 2}, False),
        ({"not": {"a": 1}}, {"a": 2}, True),
        ({}, {}, True),
    ],
)
def test_filters_are_judged(plain: dict[str, Any], attributes: dict[str, Any], expected: bool | None) -> None:
    assert judge(plain, "k", attributes) is expected


def test_an_attribute_that_is_not_seen_is_not_judged() -> None:
    assert judge({"a": 1}, "k", {}, frozenset({"b"})) is None


# Rules


def test_rules_the_last_one_decides_and_what_is_unknown_is_not_allowed() -> None:
    rules = Rules({"rules": [
        {"action": "write", "subject": "rooms"},
        {"action": "write", "subject": "rooms", "fields": ["price"], "inverted": True},
        {"action": "delete", "subject": "rooms", "conditions": {"owner": {"$eq": "me"}}},
        {"action": "create", "subject": "rooms", "conditions": {"a": {"$newer": 1}}},
    ]})
    assert rules.allow("write", "rooms", "k", {}, ["light"])
    assert not rules.allow("write", "rooms", "k", {}, ["light", "price"])
    assert rules.allow("delete", "rooms", "k", {"owner": "me"}, [])
    assert not rules.allow("delete", "rooms", "k", {"owner": "you"}, [])
    assert not rules.allow("create", "rooms", "k", {"a": 1}, ["a"])
    assert not rules.allow("write", "other", "k", {}, ["light"])
    assert not Rules({}).allow("write", "rooms", "k", {}, ["light"])


@pytest.mark.parametrize(
    "rule", [7, {"action": 7, "subject": "rooms"}, {"action": "write", "subject": "rooms", "fields": 7},
             {"action": "write", "subject": "rooms", "conditions": {"a": {"$in": 7}}}, {"action": "write", "subject": "rooms", "conditions": [7]}],
)
def test_rules_of_another_form_allow_nothing(rule: Any) -> None:
    assert not Rules({"rules": [rule]}).allow("write", "rooms", "k", {"a": 1}, ["a"])


# Values

_json = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=8,
)
_objects = st.dictionaries(st.sampled_from("abc"), _json, max_size=3)


@given(_json, _json)
def test_same_is_as_json(one: Any, other: Any) -> None:
    assert same(one, other) == (json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True))


@given(_objects, _objects)
def test_differences_are_complete(before: dict[str, Any], after: dict[str, Any]) -> None:
    changed, removed = differences(before, after)
    rebuilt = {name: value for name, value in {**before, **{name: after[name] for name in changed if name in after}}.items() if name not in removed}
    assert same(rebuilt, after)


def test_merge_patches() -> None:
    assert merged({"a": 1, "b": {"c": 1, "d": 2}}, {"a": None, "b": {"c": None, "e": 3}, "f": {"g": None}}) == {"b": {"d": 2, "e": 3}, "f": {}}


def test_an_item_is_never_altered() -> None:
    item = Item("k", 1, {"a": 1})
    with pytest.raises(AttributeError):
        item.revision = 2
    with pytest.raises(TypeError):
        item["a"] = 2  # type: ignore[index]
    assert item == {"a": 1} and dict(item) == {"a": 1}


# What lies over a mirror


def mirrored(items: dict[str, dict[str, Any]], revision: int = 1, scope: Scope | None = None) -> Mirrored:
    view = View("c", items={key: Item(key, revision, value) for key, value in items.items()}, cursor=f"e-{revision}", revision=revision)
    return Mirrored(view, scope or Scope())


def test_writes_lie_on_one_another_and_a_refused_one_leaves_the_others() -> None:
    state = mirrored({"k": {"n": 1}})
    one, two = PendingWrite("k", "merge", {"a": 1}), PendingWrite("k", "merge", {"b": 2})
    for write in (one, two):
        state.begin(write)
        state.show(write)
    assert state.shown("k") == {"n": 1, "a": 1, "b": 2}
    (change,) = state.refused(one)
    assert change.reason == "refused" and change.removed == ("a",)
    assert state.shown("k") == {"n": 1, "b": 2}
    state.confirmed(two, Item("k", 2, {"n": 1, "b": 2}), 2)
    assert state.shown("k").revision == 2  # type: ignore[union-attr]
    _, changes = state.take(
        "changes", {"revision": 2, "changes": [{"op": "change", "collection": "c", "key": "k", "changed": ["b"], "attributes": {"b": 2}}]}, "e-2", 10
    )
    assert changes == [] and state.pending == {} and state.over == {} and state.shown("k") == {"n": 1, "b": 2}


def test_what_others_write_meanwhile_is_under_the_pending_write() -> None:
    state = mirrored({"k": {"n": 1}})
    write = PendingWrite("k", "merge", {"a": 1})
    state.begin(write)
    state.show(write)
    state.take(
        "changes", {"revision": 2, "changes": [{"op": "change", "collection": "c", "key": "k", "changed": ["n"], "attributes": {"n": 5}}]}, "e-2", 10
    )
    assert state.shown("k") == {"n": 5, "a": 1}


def test_what_was_confirmed_is_told_in_a_later_commit_with_its_own_revision() -> None:
    state = mirrored({"k": {"n": 1}})
    write = PendingWrite("k", "merge", {"n": 2})
    state.begin(write)
    state.show(write)
    state.confirmed(write, Item("k", 2, {"n": 2}), 2)
    joined = {"op": "change", "collection": "c", "key": "k", "changed": ["n"], "attributes": {"n": 2}, "revision": 2}
    _, changes = state.take("changes", {"revision": 5, "changes": [joined]}, "e-5", 10)
    assert changes == [] and state.over == {}
    item = state.shown("k")
    assert item is not None and item.revision == 2 and item == {"n": 2}


@pytest.mark.parametrize("is_sparse", [False, True])
@pytest.mark.parametrize("is_written", [False, True])
def test_a_change_that_names_nothing_is_told_to_nobody(is_sparse: bool, is_written: bool) -> None:
    state = mirrored({"k": {} if is_sparse else {"n": 1}})
    state.view.is_sparse = is_sparse
    write = PendingWrite("k", "merge", {"a": 1})
    if is_written:
        state.begin(write)
        state.show(write)
    _, changes = state.take("changes", {"revision": 4, "changes": [{"op": "change", "collection": "c", "key": "k", "changed": [], "revision": 3}]}, "e-4", 10)
    item = state.shown("k")
    assert changes == [] and item is not None and item.revision == 3
    # Of an item that isn't known it is the first that is heard.
    _, changes = state.take("changes", {"revision": 5, "changes": [{"op": "change", "collection": "c", "key": "new", "changed": []}]}, "e-5", 10)
    assert [(change.op, change.key) for change in changes] == [("add", "new")]


def test_a_delete_and_what_a_filter_would_not_show() -> None:
    state = mirrored({"k": {"on": True}}, scope=Scope(where={"on": True}))
    gone = PendingWrite("k", "delete", {})
    state.begin(gone)
    assert [change.op for change in state.show(gone)] == ["delete"]
    assert state.count() == 0 and state.all() == {}
    hidden = PendingWrite("h", "set", {"on": False})
    state.begin(hidden)
    assert state.show(hidden) == ()


# Repetition, tokens


def test_waits() -> None:
    assert wait_before(1, None, 10, lambda: 1.0) == pytest.approx(0.1)
    assert wait_before(9, None, 10, lambda: 1.0) == pytest.approx(2.0)
    assert wait_before(1, 3.0, 10) == 3.0
    assert wait_before(1, 30.0, 10) is None
    assert stream_wait(0, 0.0) == 0.0
    assert stream_wait(20, 0.0, lambda: 1.0) == 15.0
    assert stream_wait(1, 5.0, lambda: 1.0) == 5.0


def test_retry_after() -> None:
    assert retry_after_of("3", None) == 3.0
    assert retry_after_of("Fri, 01 Jan 2100 00:00:10 GMT", "Fri, 01 Jan 2100 00:00:00 GMT") == 10.0
    assert retry_after_of("soon", None) is None
    assert retry_after_of("\u00b2", None) is None
    assert retry_after_of("9" * 5000, None) == 86_400.0


@pytest.mark.parametrize(
    ("told", "seconds"), [(1500, 1.5), (0, 0.0), (-5, 0.0), (None, 0.0), ("5", 0.0), (True, 0.0), (math.nan, 0.0), (math.inf, 86_400.0), (10**400, 86_400.0)]
)
def test_times_that_a_server_tells(told: Any, seconds: float) -> None:
    assert seconds_of(told) == seconds
    View("c").take("hello", {"heartbeatMs": told}, None, 10)
    step = View("c").take("bye", {"retryMs": told}, None, 10)
    assert step.bye is not None and step.bye[1] == seconds


def test_which_problems_are_repeated() -> None:
    def problem(code: str, retryable: bool) -> stargus.ProblemError:
        return stargus.errors.problem_error({"code": code, "retryable": retryable}, 423)

    assert may_be_repeated(problem("locked", True))
    assert not may_be_repeated(problem("deadlock", True))
    assert not may_be_repeated(problem("forbidden", False))


def test_which_requests_have_keys() -> None:
    assert takes_key("PUT", "/v1/pools/p/collections/c/items/k")
    assert takes_key("POST", "/v1/pools/p/batch")
    for path in ("/v1/auth/token", "/v1/pools/p/collections/c/query", "/v1/pools/p/policy/check", "/v1/pools/p/sessions/s/renew"):
        assert not takes_key("POST", path) and not is_once("POST", path)
    assert not takes_key("GET", "/v1")
    # An item may be called what a call is called.
    assert takes_key("PUT", "/v1/pools/p/collections/c/items/query") and takes_key("PATCH", "/v1/pools/p/collections/c/items/import")
    notifier = "/v1/pools/p/notifiers/n"
    twice = (f"{notifier}/test", f"{notifier}/rotateSecret", f"{notifier}/deliveries/d/redeliver")
    for path in ("/v1/auth/keys", "/v1/pins", "/v1/pools/p/import?mode=merge", *twice):
        assert is_once("POST", path) and not takes_key("POST", path)
    assert not is_once("POST", "/v1/pools/p/batch") and not is_once("PUT", "/v1/pools/test/notifiers/test") and not is_once("DELETE", "/v1/pins")


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ("http://h:8080/", "http://h:8080"),
        ("https://h/behind/", "https://h/behind"),
        ("https://h/a/b", "https://h/a/b"),
        ("http://h/ä b%20c", "http://h/%C3%A4%20b%20c"),
    ],
)
def test_the_url_of_a_server(given: str, plain: str) -> None:
    assert plain_url(given) == plain


def test_tokens_live_by_the_monotonic_clock() -> None:
    token = token_of({"accessToken": "secret", "tokenType": "Bearer", "expiresInMs": 10_000}, 100.0)
    assert token.renew_at == 109.0 and "secret" not in repr(token)
    time = ServerTime()
    time.told("Fri, 01 Jan 2100 00:00:00 GMT", 50.0)
    assert time.at(60.0) == 4102444810


# Answers


@pytest.mark.parametrize(
    ("status", "kind", "body", "code"),
    [
        (200, "text/html", b"<html>", "notStargus"), (302, "text/html", b"", "notStargus"), (502, "text/html", b"", "notStargus"),
        (409, "application/problem+json", b'{"code":"conflict"}', "conflict"), (418, "application/problem+json", b'{"code":"teapot"}', "teapot"),
        (400, "application/problem+json", b"{", "protocolError"), (400, "application/problem+json", b"[" * 100_000, "protocolError"), (400, "application/json", b"[]", "notStargus"),
    ],
)
def test_answers_are_judged(status: int, kind: str, body: bytes, code: str) -> None:
    error = judge_answer(status, {"content-type": kind}, body)
    assert error is not None and error.code == code


def test_requests_of_the_generated_layer() -> None:
    assert request_of("POST", "/x", {"Content-Type": "application/json"}, {"a": "Ærø"}).body == '{"a": "Ærø"}'.encode()
    assert request_of("POST", "/x", {"Content-Type": "application/x-ndjson"}, '{"a":1}\n').body == b'{"a":1}\n'
    assert request_of("GET", "/x", {"n": 1}, None).headers == {"n": "1"}


# Bounds


def test_changes_that_wait_become_one_reset() -> None:
    waiting = WaitingChanges(3)
    change = Change("add", "k", (), (), None, None, None, 1)
    waiting.add([change] * 3, 1)
    waiting.add([change], 2)
    first = waiting.take()
    assert first is not None and first.op == "reset" and first.revision == 2 and waiting.take() is None


def test_fetched_values_are_bounded() -> None:
    kept = FetchedValues(10)
    for key in "abc":
        kept.put(Item(key, 1, {}), 4)
    assert len(kept) == 2 and kept.get("a") is None and kept.bytes == 8
    kept.get("b")
    kept.put(Item("d", 1, {}), 4)
    assert kept.get("c") is None and kept.get("b") is not None
    kept.put(Item("e", 1, {}), 11)
    assert kept.get("e") is None


# The cache's names and sums


def test_the_checksum_is_of_the_lines() -> None:
    check = Checksum()
    check.add("a", 1, '{"n":1}')
    check.add("b", 2, "{}")
    check.remove("b", 2, "{}")

    def digest(line: str) -> int:
        return int.from_bytes(hashlib.sha256(line.encode()).digest(), "big")

    assert check.hex("e-1") == f"{digest('a' + chr(10) + '1' + chr(10) + '{' + chr(34) + 'n' + chr(34) + ':1}') ^ digest('e-1' + chr(10) + '1'):064x}"


def test_the_view_of_a_cache() -> None:
    parameters = attachment_parameters(
        where={"b": 1, "a": {"in": ["Ærø"]}}, prefix="a/b", start=None, end=None, key=None, fields=["x", "y"], values="full"
    )
    name = view_name("http://h", "p", "anonymous", "c", parameters)
    assert name[-1] == "fields=x%2Cy&prefix=a%2Fb&where=%7B%22a%22%3A%7B%22in%22%3A%5B%22%C3%86r%C3%B8%22%5D%7D%2C%22b%22%3A1%7D"
    assert query_of({"b": "~-._", "a": " "}) == "a=%20&b=~-._"


# Webhooks

_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def signed(body: bytes, at: int, message_id: str = "n-1") -> dict[str, str]:
    key = base64.b64decode(_SECRET.removeprefix("whsec_"))
    signature = base64.b64encode(hmac.digest(key, f"{message_id}.{at}.".encode() + body, "sha256")).decode()
    return {"Webhook-Id": message_id, "WEBHOOK-timestamp": str(at), "webhook-signature": f"v1,AAAA v1,{signature}"}


def test_a_webhook_is_verified() -> None:
    body = '{"id":"n-1","type":"stargus.change","data":{"revision":3,"changes":[]}}'.encode()
    event = verified_event(_SECRET, signed(body, 1000), body, 1100)
    assert event.id == "n-1" and event.commit().revision == 3


@pytest.mark.parametrize(
    ("secret", "alter", "now"),
    [
        (_SECRET, b" ", 1000), ("whsec_AAAA", b"", 1000), (_SECRET, b"", 1301), (_SECRET, b"", 699), ("no base64!", b"", 1000), ("whpk_AAAA", b"", 1000),
    ],
)
def test_another_webhook_is_not(secret: str, alter: bytes, now: float) -> None:
    body = b'{"id":"n-1"}'
    with pytest.raises(stargus.SignatureInvalid):
        verified_event(secret, signed(body, 1000), body + alter, now)


def test_a_webhook_without_headers() -> None:
    with pytest.raises(stargus.SignatureInvalid):
        stargus.verify_webhook(_SECRET, {}, b"{}")


def test_a_webhook_by_a_public_key() -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.generate()
    public = "whpk_" + base64.b64encode(private.public_key().public_bytes_raw()).decode()
    signature = base64.b64encode(private.sign(b"n-1.1000.{}")).decode()
    headers = {"webhook-id": "n-1", "webhook-timestamp": "1000", "webhook-signature": f"v1a,{signature}"}
    assert verified_event(public, headers, b"{}", 1000).id == "n-1"
    with pytest.raises(stargus.SignatureInvalid):
        verified_event(public, headers, b"[]", 1000)


# What strangers announce


def test_announcements_are_believed_as_far_as_they_make_an_address() -> None:
    told = {"v": "1", "auth": "open", "pools": "a,b", "pools2": "c", "version": "1\u202e"}
    server = server_of("name\u200b", told, ["fe80::1", "10.0.0.1"], 8080)
    assert server is not None and server.url == "http://10.0.0.1:8080" and server.pools == ("a", "b", "c") and server.version == "1"
    assert server.name == "name"
    assert server_of("n", {**told, "v": "2"}, ["10.0.0.1"], 1) is None
    assert server_of("n", told, [], 1) is None
    assert server_of("n", {**told, "url": "https://h.example/"}, [], 0).url == "https://h.example"  # type: ignore[union-attr]
    for wrong in ({"url": "ftp://h.example"}, {"url": "javascript:alert(1)"}, {"url": "http://h.example/\n"}, {"version": "1\x1b[2J"}, {"pools": "a\x07"}):
        assert server_of("n", {**told, **wrong}, ["10.0.0.1"], 8080) is None
    assert server_of("n\x07", told, ["10.0.0.1"], 8080) is None


def test_names_without_a_server_hold_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    zeroconf = pytest.importorskip("zeroconf")

    class Forged:
        def __init__(self, network: Any, kind: str, listener: Any) -> None:
            for number in range(300):
                listener.add_service(network, kind, f"forged {number}.{kind}")

        def cancel(self) -> None:
            return

    monkeypatch.setattr(zeroconf, "ServiceBrowser", Forged)
    began = time.monotonic()
    assert stargus.discover(0.5) == []
    # Beside its time, what it takes to begin and to end on a slow machine.
    assert time.monotonic() - began < 5

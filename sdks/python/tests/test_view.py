"""The state of a stream against a naive model: whatever comes, in whatever order, cut anywhere."""

from __future__ import annotations

import random
from typing import Any

import pytest

from stargus.core.view import View
from stargus.errors import EventTooLarge, ProtocolError


def attributes_of(view: View) -> dict[str, dict[str, Any]]:
    return {key: item.as_dict() for key, item in view.items.items()}


def snapshot(view: View, items: dict[str, dict[str, Any]], revision: int, parts: int = 1) -> None:
    told = [{"key": key, "revision": revision, "attributes": value} for key, value in items.items()]
    size = max(1, -(-len(told) // parts))
    for part in range(parts):
        view.take("snapshot", {"view": "c", "revision": revision, "items": told[part * size : (part + 1) * size], "part": part + 1}, None, 10)


def live(view: View, revision: int) -> Any:
    return view.take("live", {"view": "c", "revision": revision}, f"e-{revision}", 10)


def test_random_histories() -> None:
    for seed in range(60):
        chance = random.Random(seed)
        server: dict[str, dict[str, Any]] = {}
        log: list[list[dict[str, Any]]] = []
        states = [{}]

        def commit() -> None:
            changes: dict[str, dict[str, Any]] = {}
            for key in chance.sample([f"k{n}" for n in range(6)], chance.randint(1, 3)):
                present = server.get(key)
                if present is not None and chance.random() < 0.25:
                    del server[key]
                    changes[key] = {"op": "delete", "collection": "c", "key": key, "changed": list(present), "removed": list(present)}
                elif present is None:
                    server[key] = {"a": chance.randint(0, 9)}
                    changes[key] = {"op": "add", "collection": "c", "key": key, "changed": ["a"], "removed": [], "attributes": dict(server[key])}
                else:
                    after = dict(present)
                    name = chance.choice("abc")
                    removed = []
                    if name in after and chance.random() < 0.4:
                        del after[name]
                        removed = [name]
                    else:
                        after[name] = chance.randint(0, 9)
                    server[key] = after
                    told = {} if removed else {name: after[name]}
                    changes[key] = {
                        "op": "change", "collection": "c", "key": key, "changed": [name], "removed": removed, "attributes": told,
                    }
            log.append(list(changes.values()))
            states.append({key: dict(value) for key, value in server.items()})

        for _ in range(chance.randint(1, 5)):
            commit()
        view = View("c")
        shown: dict[str, dict[str, Any]] = {}

        def heard(step: Any) -> None:
            for altered in step.altered:
                if altered.item is None:
                    shown.pop(altered.key)
                else:
                    shown[altered.key] = altered.item.as_dict()

        view.connected()
        snapshot(view, states[-1], len(log), chance.randint(1, 3))
        live(view, len(log))
        shown.update(attributes_of(view))
        for _ in range(30):
            what = chance.random()
            if what < 0.5:
                commit()
            if what < 0.2:
                # The connection is lost, in the middle of a commit or not, and it comes back from its cursor or with a snapshot.
                if view.revision < len(log) and chance.random() < 0.5:
                    view.take("changes", {"revision": view.revision + 1, "changes": log[view.revision][:1], "more": True}, None, 10)
                view.disconnected()
                view.connected()
                if chance.random() < 0.4:
                    view.take("reset", {"view": "c", "reason": "compacted"}, "", 10)
                    assert attributes_of(view) == shown
                    snapshot(view, states[-1], len(log), chance.randint(1, 3))
                    assert attributes_of(view) == shown
                    heard(live(view, len(log)))
            # What was seen already is told again, sometimes.
            start = max(0, view.revision - chance.randint(0, 2))
            for index in range(start, len(log)):
                changes = log[index]
                revision = index + 1
                if len(changes) > 1 and chance.random() < 0.5:
                    before = attributes_of(view)
                    view.take("changes", {"revision": revision, "changes": changes[:1], "more": True}, None, 10)
                    assert attributes_of(view) == before
                    heard(view.take("changes", {"revision": revision, "changes": changes[1:]}, f"e-{revision}", 10))
                else:
                    heard(view.take("changes", {"revision": revision, "changes": changes}, f"e-{revision}", 10))
                assert attributes_of(view) == states[view.revision]
                assert shown == states[view.revision]
            assert attributes_of(view) == states[-1]
            assert view.cursor == f"e-{len(log)}"


def test_the_first_snapshot_is_told_to_nobody() -> None:
    view = View("c")
    snapshot(view, {"a": {"n": 1}}, 3)
    step = live(view, 3)
    assert step.altered == [] and step.is_whole and step.is_live and view.revision == 3


def test_a_snapshot_that_breaks_off_is_dropped() -> None:
    view = View("c")
    view.connected()
    view.take("snapshot", {"view": "c", "revision": 1, "items": [{"key": "a", "revision": 1, "attributes": {}}], "part": 1}, None, 10)
    view.disconnected()
    assert attributes_of(view) == {} and view.cursor is None


def test_parts_out_of_order_make_no_sense() -> None:
    view = View("c")
    with pytest.raises(ProtocolError):
        view.take("snapshot", {"view": "c", "revision": 1, "items": [], "part": 2}, None, 10)


def test_events_of_another_view_are_passed_over() -> None:
    view = View("c")
    view.take("snapshot", {"view": "other", "revision": 1, "items": [{"key": "a", "revision": 1, "attributes": {}}], "part": 1}, None, 10)
    snapshot(view, {}, 1)
    live(view, 1)
    step = view.take("changes", {"revision": 2, "changes": [{"op": "add", "collection": "other", "key": "x", "attributes": {}}]}, "e-2", 10)
    assert step.altered == [] and view.revision == 2


def test_ops_of_a_newer_server() -> None:
    view = View("c")
    snapshot(view, {"a": {"n": 1}}, 1)
    live(view, 1)
    step = view.take(
        "changes",
        {"revision": 2, "changes": [
            {"op": "polish", "collection": "c", "key": "a", "changed": ["n"], "attributes": {"n": 2}}, {"op": "ponder", "collection": "c", "key": "b"},
        ]},
        "e-2", 10,
    )
    assert [altered.op for altered in step.altered] == ["change"] and attributes_of(view) == {"a": {"n": 2}}


def test_a_commit_without_end_is_refused() -> None:
    view = View("c")
    snapshot(view, {}, 1)
    live(view, 1)
    with pytest.raises(EventTooLarge):
        for _ in range(5):
            view.take("changes", {"revision": 2, "changes": [], "more": True}, None, 16 * 1024 * 1024)


@pytest.mark.parametrize("data", [{}, {"revision": "x", "changes": 3}, {"revision": 9}, {"revision": 9, "changes": [{"op": 1}]}])
def test_nonsense_is_a_protocol_error(data: dict[str, Any]) -> None:
    view = View("c")
    snapshot(view, {}, 1)
    live(view, 1)
    with pytest.raises(ProtocolError):
        view.take("changes", data, "e-9", 10)


def change(key: str, **told: Any) -> dict[str, Any]:
    return {"op": "change", "collection": "c", "key": key, "changed": ["n"], **told}


@pytest.mark.parametrize("is_sparse", [False, True])
def test_an_item_may_be_older_than_the_commit_that_tells_it(is_sparse: bool) -> None:
    view = View("c", is_sparse=is_sparse)
    snapshot(view, {"a": {"n": 1}, "b": {"n": 1}}, 1)
    live(view, 1)
    told = [change("a", attributes={"n": 2}, revision=7), change("b", attributes={"n": 3}), change("old", op="add", attributes={"n": 4}, revision=1)]
    step = view.take("changes", {"revision": 9, "changes": told}, "e-9", 10)
    assert {key: item.revision for key, item in view.items.items()} == {"a": 7, "b": 9, "old": 1} and view.revision == 9
    assert [altered.item.revision for altered in step.altered if altered.item is not None] == [7, 9, 1]
    # Brought back to what it was: a change of nothing, and another revision. It is for the cache, and for nobody else.
    step = view.take("changes", {"revision": 12, "changes": [change("a", changed=[], attributes={}, revision=11)]}, "e-12", 10)
    assert [(altered.key, altered.is_quiet) for altered in step.altered] == [("a", True)]
    assert view.items["a"].revision == 11 and (is_sparse or view.items["a"] == {"n": 2})


@pytest.mark.parametrize("revision", [0, -1, 10, 1.5, 2.0, "7", None, True])
def test_a_revision_of_an_item_that_makes_no_sense(revision: Any) -> None:
    view = View("c")
    snapshot(view, {"a": {"n": 1}}, 1)
    live(view, 1)
    with pytest.raises(ProtocolError):
        view.take("changes", {"revision": 9, "changes": [change("a", attributes={"n": 2}, revision=revision)]}, "e-9", 10)


@pytest.mark.parametrize("second", [change("b", attributes=[1]), change("b", revision=99), {"op": "change"}, 7])
def test_of_a_commit_that_makes_no_sense_nothing_is_shown(second: Any) -> None:
    view = View("c")
    snapshot(view, {"a": {"n": 1}, "b": {"n": 1}}, 1)
    live(view, 1)
    with pytest.raises(ProtocolError):
        view.take("changes", {"revision": 2, "changes": [change("a", attributes={"n": 2}), second]}, "e-2", 10)
    assert attributes_of(view) == {"a": {"n": 1}, "b": {"n": 1}} and view.revision == 1


@pytest.mark.parametrize("item", [{"key": 1, "revision": 1, "attributes": {}}, {"key": "a", "revision": "1", "attributes": {}},
                                  {"key": "a", "revision": 1, "attributes": []}])
def test_items_of_a_snapshot_that_make_no_sense(item: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        View("c").take("snapshot", {"revision": 1, "items": [item]}, None, 10)


def test_a_stream_that_does_not_say_where_it_is() -> None:
    view = View("c")
    snapshot(view, {}, 1)
    with pytest.raises(ProtocolError):
        view.take("live", {"revision": 1}, None, 10)
    with pytest.raises(ProtocolError):
        view.take("live", {"revision": "1"}, "e-1", 10)

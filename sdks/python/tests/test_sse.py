"""The parser of streams: the same events however the bytes are cut."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stargus.core.sse import SseParser
from stargus.errors import EventTooLarge

Told = list[tuple[str, str, "str | None"]]


def parsed(*chunks: bytes, most: int = 1_000_000) -> Told:
    parser = SseParser(most)
    return [(event.name, event.data, event.id) for chunk in chunks for event in parser.feed(chunk)]


CASES: list[tuple[str, bytes, Told]] = [
    ("one event", b"data: a\n\n", [("message", "a", None)]),
    ("a name and an id", b"event: live\nid: e-1\ndata: {}\n\n", [("live", "{}", "e-1")]),
    ("CR LF", b"event: a\r\ndata: 1\r\n\r\nevent: b\r\ndata: 2\r\n\r\n", [("a", "1", None), ("b", "2", None)]),
    ("CR", b"data: 1\r\rdata: 2\r\r", [("message", "1", None), ("message", "2", None)]),
    ("mixed ends", b"data: 1\r\ndata: 2\rdata: 3\n\r\n", [("message", "1\n2\n3", None)]),
    ("a mark at the start", b"\xef\xbb\xbfdata: a\n\n", [("message", "a", None)]),
    ("a mark later is a part of the name", b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [("message", "a", None)]),
    ("comments", b": hello\ndata: a\n:\n\n: x\n\n", [("message", "a", None)]),
    ("several lines", b"data: a\ndata:\ndata:  b\n\n", [("message", "a\n\n b", None)]),
    ("no colon", b"data\n\n", [("message", "", None)]),
    ("no data is no event", b"event: a\nid: 1\n\ndata: b\n\n", [("message", "b", None)]),
    ("an empty id resets", b"id\ndata: a\n\n", [("message", "a", "")]),
    ("an id with NUL is none", b"id: a\0b\ndata: a\n\n", [("message", "a", None)]),
    ("unknown fields", b"what: x\ndata: a\n\n", [("message", "a", None)]),
    ("without its blank line it is none", b"data: a\n\ndata: b\n", [("message", "a", None)]),
    ("characters of several bytes", "data: Ærø \U0001f600 \u2028\n\n".encode(), [("message", "Ærø \U0001f600 \u2028", None)]),
]


@pytest.mark.parametrize(("name", "text", "expected"), CASES, ids=[case[0] for case in CASES])
def test_at_every_split(name: str, text: bytes, expected: Told) -> None:
    assert parsed(text) == expected
    for cut in range(len(text) + 1):
        assert parsed(text[:cut], text[cut:]) == expected
    assert parsed(*(bytes([byte]) for byte in text)) == expected
    for one in range(len(text)):
        for two in range(one, len(text), 3):
            assert parsed(text[:one], text[one:two], text[two:]) == expected


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([b"data: a", b"data", b"id: 1", b"event: x", b":c", b"", b"\r", b"\n", b"\r\n", b"\xef\xbb\xbf"]), max_size=30), st.data())
def test_any_text_at_any_splits(parts: list[bytes], data: st.DataObject) -> None:
    text = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)])]
    assert parsed(*pieces) == parsed(text)


def test_retry() -> None:
    parser = SseParser(1000)
    parser.feed(b"retry: 1500\nretry: x\ndata: a\n\n")
    assert parser.retry == 1500


def test_an_event_without_end_is_refused_while_it_comes() -> None:
    parser = SseParser(1_000)
    with pytest.raises(EventTooLarge):
        for _ in range(100):
            parser.feed(b"data: " + b"x" * 100)
    parser = SseParser(1_000)
    with pytest.raises(EventTooLarge):
        for _ in range(100):
            parser.feed(b"data: " + b"x" * 100 + b"\n")


def test_the_bound_is_of_one_event() -> None:
    assert len(parsed(*[b"data: " + b"x" * 900 + b"\n\n"] * 5, most=1_000)) == 5


def test_a_large_event_in_small_pieces_costs_its_length() -> None:
    parser = SseParser(20_000_000)
    parser.feed(b"data: ")
    for _ in range(20_000):
        assert parser.feed(b"x" * 500) == []
    (event,) = parser.feed(b"\n\n")
    assert len(event.data) == 10_000_000

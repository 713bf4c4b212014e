"""The wire of feeds: rows out of bytes, however they were sliced."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetcd.couchdb._rows import HTTP_IN_BODY, Beat, End, Failure, Item, Mode, WireRow, reader_for, seq_text

# As 3.5.0 wrote them, cursors shortened.
NORMAL_UPDATES = b"""{"results":[
{"db_name":"_users","type":"updated","seq":"2-g1A"},
{"db_name":"u2","type":"created","seq":"3-g1A"}
],
"last_seq":"3-g1A"}

"""
LONGPOLL_UPDATES = (
    b'{"results":[\n{"db_name":"_users","type":"updated","seq":"2-g1A"},\r\n{"db_name":"u2","type":"created",'
    b'"seq":"3-g1A"}\n],\n"last_seq":"3-g1A"}\n\n'
)
CONTINUOUS_UPDATES = (
    b'\n{"db_name":"_users","type":"updated","seq":"2-g1A"}\n\n{"db_name":"u2","type":"created","seq":"3-g1A"}\n'
    b'{"last_seq":"3-g1A"}\n\n'
)
EVENTSOURCE_UPDATES = (
    b'data: {"seq":"2-g1A","id":"updated:_users","changes":[{"rev":"1-a"}]}\nid: "2-g1A"\n\n'
    b'event: heartbeat\ndata: \n\ndata: {"seq":"3-g1A","id":"created:u2","changes":[{"rev":"1-a"}]}\nid: "3-g1A"\n\n'
)
CHANGES = (
    b'{"results":[\n{"seq":"2-g1A","id":"a","changes":[{"rev":"1-0"}]},\r\n{"seq":"3-g1A","id":"b","changes":[{"rev":'
    b'"2-d"}],"deleted":true}\n],\n"last_seq":"3-g1A","pending":4}\n'
)


def read(mode: Mode, *pieces: bytes) -> list[Item]:
    reader = reader_for(mode)
    return [item for piece in pieces for item in reader(piece)]


def seqs(items: list[Item]) -> list[str | None]:
    return [seq_text(item.seq) for item in items if isinstance(item, WireRow)]


@pytest.mark.parametrize(
    ("mode", "body"),
    [
        ("normal", NORMAL_UPDATES),
        ("longpoll", LONGPOLL_UPDATES),
        ("continuous", CONTINUOUS_UPDATES),
        ("normal", CHANGES),
    ],
)
@given(data=st.data())
def test_rows_and_end_however_sliced(mode: Mode, body: bytes, data: st.DataObject) -> None:
    """Every slicing of an answer gives its two rows and its end."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    pieces = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    items = read(mode, *pieces)
    assert seqs(items) == ["2-g1A", "3-g1A"]
    assert isinstance(items[-1], End)
    assert items[-1].seq == "3-g1A"


@given(size=st.integers(1, 30))
def test_eventsource_rows_however_sliced(size: int) -> None:
    """Events of an event source are told without its heartbeats."""
    pieces = [EVENTSOURCE_UPDATES[start : start + size] for start in range(0, len(EVENTSOURCE_UPDATES), size)]
    items = read("eventsource", *pieces)
    assert seqs(items) == ["2-g1A", "3-g1A"]
    assert [item.id for item in items if isinstance(item, WireRow)] == ["updated:_users", "created:u2"]
    assert [type(item) for item in items] == [WireRow, Beat, WireRow]


def test_pending_is_told() -> None:
    """How much waits behind the end."""
    assert read("normal", CHANGES)[-1] == End("3-g1A", 4)


def test_one_line_answer() -> None:
    """An answer without line breaks, as something between may write it, is read too."""
    body = b'{"results":[{"seq":"1-a","id":"x","changes":[]},{"seq":"2-a","id":"y","changes":[]}],"last_seq":"2-a"}\n'
    items = read("normal", body)
    assert seqs(items) == ["1-a", "2-a"]
    assert items[-1] == End("2-a", None)


def test_brackets_and_end_in_one_line() -> None:
    """The end may stand behind the bracket."""
    assert read("longpoll", b'{"results":[\n],"last_seq":"2-a","pending":0}\n') == [End("2-a", 0)]


@pytest.mark.parametrize("mode", ["continuous", "normal", "eventsource"])
def test_status_line_in_the_body(mode: Mode) -> None:
    """A second answer inside the first one is a failure, and no row."""
    items = read(mode, b"HTTP/1.1 500 Internal Server Error\r\nServer: CouchDB\r\n\r\n")
    assert isinstance(items[0], Failure)
    assert items[0].error == HTTP_IN_BODY


@pytest.mark.parametrize("mode", ["continuous", "normal", "longpoll"])
def test_error_row(mode: Mode) -> None:
    """An error that the server writes after it began keeps its name and reason."""
    assert read(mode, b'{"error":"timeout","reason":"in time"}\n') == [Failure("timeout", "in time")]


@pytest.mark.parametrize("line", [b"<html>\n", b'{"seq":\n', b"[1]\n", b'{"x":1}\n', b'{"seq":"1","id":7}\n'])
def test_what_is_no_row_is_never_swallowed(line: bytes) -> None:
    """A line that does not read is a failure."""
    items = read("continuous", line)
    assert [type(item) for item in items] == [Failure]


def test_row_without_its_line_end_is_not_told() -> None:
    """Whether a row is whole is known at its line break only."""
    assert read("continuous", b'{"db_name":"a","type":"created","seq":"1"}') == []


def test_row_of_three_megabytes_in_small_pieces() -> None:
    """A large row comes whole, in time that grows with its size and not with the square of it."""
    row = json.dumps({"seq": "1-a", "id": "x", "changes": [], "doc": {"v": "x" * 3_000_000}}).encode() + b"\n"
    items = read("continuous", *[row[start : start + 16_384] for start in range(0, len(row), 16_384)])
    assert len(items) == 1
    assert isinstance(items[0], WireRow)
    assert len(bytes(items[0].doc)) > 3_000_000


@pytest.mark.parametrize(("seq", "text"), [("5-a", "5-a"), (5, "5"), ([5, "a"], '[5,"a"]'), (None, None)])
def test_cursors_are_sent_back_as_they_came(seq: object, text: str | None) -> None:
    """Text as it is, what old servers send as JSON."""
    assert seq_text(seq) == text

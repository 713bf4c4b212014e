"""The four modes of a feed on the wire, cut into rows however the network sliced them. Nothing here waits.

What 3.5.0 sends, measured:

- normal and longpoll: `{"results":[`, a row a line with commas between, `],`, `"last_seq":...}`. `_db_updates` puts the
  comma on a line of its own.
- continuous: a row a line, an empty line for a heartbeat, and `{"last_seq":...}` before a proper end.
- eventsource: `data:` and `id:` lines, and an empty line after each event. In that of `_db_updates` the row looks as it
  does in `_changes` of `_global_changes`: its id is `created:name`. At its second heartbeat, or at its first live
  event, the server writes a whole HTTP answer with status 500 into the body, without a chunk's frame, and leaves the
  connection open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import msgspec
from attrs import frozen

__all__ = ["HTTP_IN_BODY", "Beat", "End", "Failure", "Mode", "RowReader", "WireRow", "reader_for", "seq_text"]

Mode = Literal["normal", "longpoll", "continuous", "eventsource"]

HTTP_IN_BODY = "http_in_body"
"""The error of a Failure that is an HTTP answer where a row should be."""

LONGEST_SHOWN = 120  # bytes of a line that does not read, in an error


class _Revision(msgspec.Struct):
    rev: str


class WireRow(msgspec.Struct, gc=False):
    """Any row of any feed, as it is written."""

    seq: Any = None
    id: str | None = None
    changes: list[_Revision] = []
    deleted: bool = False
    doc: msgspec.Raw = msgspec.Raw()
    db_name: str | None = None
    type: str | None = None
    last_seq: Any = None
    pending: int | None = None
    error: str | None = None
    reason: str | None = None


class _Whole(msgspec.Struct):
    results: list[WireRow]
    last_seq: Any = None
    pending: int | None = None


@frozen
class End:
    """The proper end of an answer: the cursor behind all that was sent, and how many changes wait behind that."""

    seq: str | None
    pending: int | None = None


@frozen
class Failure:
    """An error inside an answer that began well, or bytes that are no row."""

    error: str
    reason: str


@frozen
class Beat:
    """A heartbeat of an event source. (Other modes send empty lines, which mean nothing but that bytes come.)"""


Item = WireRow | End | Failure | Beat
RowReader = Callable[[bytes], Iterator[Item]]

_row = msgspec.json.Decoder(WireRow)
_whole = msgspec.json.Decoder(_Whole)


def seq_text(seq: Any) -> str | None:
    """A cursor as it is sent back. It is opaque: text mostly, a number or a list on old servers."""
    return seq if seq is None or isinstance(seq, str) else msgspec.json.encode(seq).decode()


class _Lines:
    """Whole lines out of pieces, in linear time for a line of many megabytes too."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        end = data.rfind(b"\n")
        if end < 0:
            self._rest += data
            return []
        lines = bytes(self._rest + data[:end]) if self._rest else data[:end]
        self._rest = bytearray(data[end + 1 :])
        return lines.split(b"\n")


def reader_for(mode: Mode) -> RowReader:
    """Takes the pieces of one answer's body, and gives what they complete."""
    if mode == "continuous":
        return _Continuous().feed
    return _EventSource().feed if mode == "eventsource" else _Listed().feed


class _Continuous:
    def __init__(self) -> None:
        self._lines = _Lines()

    def feed(self, data: bytes) -> Iterator[Item]:
        for line in self._lines.feed(data):
            if line and not line.isspace():
                yield _read(line)


class _Listed:
    def __init__(self) -> None:
        self._lines = _Lines()

    def feed(self, data: bytes) -> Iterator[Item]:
        for line in self._lines.feed(data):
            bare = line.strip(b", \r\t")
            if bare.startswith(b'{"results":['):
                if bare.endswith(b"}"):
                    # A server, or something before it, that writes all on one line.
                    yield from _read_whole(bare)
                    continue
                bare = bare.removeprefix(b'{"results":[').strip(b", ")
            bare = bare.removeprefix(b"]").lstrip(b", ")
            if bare.startswith(b'"last_seq"'):
                bare = b"{" + bare
            if bare:
                yield _read(bare)


class _EventSource:
    def __init__(self) -> None:
        self._lines = _Lines()
        self._data: list[bytes] = []
        self._event = b""

    def feed(self, data: bytes) -> Iterator[Item]:
        for line in self._lines.feed(data):
            field, _, value = line.rstrip(b"\r").partition(b":")
            value = value.removeprefix(b" ")
            match field:
                case b"":
                    # An empty line ends an event; one that begins with a colon is a comment.
                    if not line.strip():
                        yield from self._end()
                case b"data":
                    self._data.append(value)
                case b"event":
                    self._event = value
                case b"id":
                    pass
                case _:
                    yield _read(line)

    def _end(self) -> Iterator[Item]:
        text, event = b"\n".join(self._data), self._event
        self._data, self._event = [], b""
        if event == b"heartbeat":
            yield Beat()
        elif text.strip():
            yield _read(text)


def _read(line: bytes) -> Item:
    if line.startswith(b"HTTP/1."):
        return Failure(HTTP_IN_BODY, line[:LONGEST_SHOWN].decode("utf-8", "replace").strip())
    try:
        row = _row.decode(line)
    except (msgspec.DecodeError, msgspec.ValidationError) as e:
        return Failure("garbled", f"{e}: {line[:LONGEST_SHOWN]!r}")
    if row.error is not None:
        return Failure(row.error, row.reason or row.error)
    if row.last_seq is not None:
        return End(seq_text(row.last_seq), row.pending)
    if row.seq is None and row.id is None and row.db_name is None:
        return Failure("garbled", f"no row: {line[:LONGEST_SHOWN]!r}")
    return row


def _read_whole(line: bytes) -> Iterator[Item]:
    try:
        whole = _whole.decode(line)
    except (msgspec.DecodeError, msgspec.ValidationError) as e:
        yield Failure("garbled", f"{e}: {line[:LONGEST_SHOWN]!r}")
        return
    yield from whole.results
    yield End(seq_text(whole.last_seq), whole.pending)

"""The messages of a watch stream, both ways."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from attrs import evolve

from aetcd._wire.decode import decode, decode_lines, encode
from aetcd._wire.framing import JSONValues
from aetcd._wire.message import Effect, Request
from aetcd.errors import DecodeError
from aetcd.etcd.v3._codec import Key, Route, body_of, key_range, whole
from aetcd.etcd.v3._errors import error_of, fault_of
from aetcd.etcd.v3._models import NO_HEADER, Event, Header

__all__ = [
    "WATCH",
    "WatchFrame",
    "cancel_request",
    "create_request",
    "decode_frame",
    "decode_frames",
    "watch_request",
]

WATCH = Route(operation="v3 watch", path="/watch", effect=Effect.READ)

# A member that has lost its leader then ends the stream with `no leader`, and does not keep silent for ever.
_HAS_LEADER = {"Grpc-Metadata-hasleader": "true"}


def watch_request(prefix: str, body: bytes) -> Request:
    """The request whose answer is a watch stream; `body` is the first message."""
    request = WATCH.request(prefix, body)
    return evolve(request, headers={**request.headers, **_HAS_LEADER})


class WatchFrame(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One message of a watch stream.

    header: Its revision is that of the server when it was sent; 0 in a `canceled` one: never move a cursor by that.
    watch_id: The watch that it is about; -1 where it is about none.
    created: The watch stands.
    canceled: The watch has ended, though the stream stays open; `cancel_reason` says why where the server does.
    compact_revision: Not 0 where the watch ended because what it asked for is compacted: the first revision left.
    fragment: More events of the same revision follow in the next frame.
    events: In order of revision; none in a frame that only tells of progress.
    """

    header: Header = NO_HEADER
    watch_id: int = 0
    created: bool = False
    canceled: bool = False
    compact_revision: int = 0
    cancel_reason: str = ""
    fragment: bool = False
    events: tuple[Event, ...] = ()


class _Envelope(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    result: WatchFrame | None = None


def decode_frames(values: JSONValues, data: bytes, *, peer: str | None = None) -> Iterator[WatchFrame]:
    """The frames that these bytes complete. Raises as `decode_frame`, where that value is reached."""
    lines = values.lines(data)
    envelopes = decode_lines(lines, _Envelope) or ()
    frames = [envelope.result for envelope in envelopes if envelope.result is not None]
    if len(frames) == len(envelopes) > 0:
        yield from frames
    else:  # one is no frame, or shares its line with another: one after the other, up to there
        for value in values.cut(lines):
            yield decode_frame(value, peer=peer)
    for value in values.tail():
        yield decode_frame(value, peer=peer)


def decode_frame(value: bytes, *, peer: str | None = None) -> WatchFrame:
    """Read one JSON value of a watch stream.

    Raises what the error means where the value is the one that ends a stream, and DecodeError where it is neither.
    """
    frame = decode(value, _Envelope).result
    if frame is not None:
        return frame
    fault = fault_of(value, 200)
    if not fault.text:
        raise DecodeError(f"the watch stream sent what is neither a result nor an error: {value[:80]!r}")
    raise error_of(fault, operation=WATCH.operation, peer=peer)


class _Wanted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    key: bytes
    range_end: bytes = b""
    start_revision: int = 0
    watch_id: int = 0
    filters: tuple[str, ...] = ()
    prev_kv: bool = False
    progress_notify: bool = False
    fragment: bool = False


class _CreateRequest(msgspec.Struct, frozen=True, gc=False):
    create_request: _Wanted


def create_request(
    key: Key,
    *,
    range_end: Key | None = None,
    prefix: bool = False,
    from_key: bool = False,
    start_revision: int = 0,
    prev_kv: bool = False,
    no_put: bool = False,
    no_delete: bool = False,
    progress_notify: bool = False,
    fragment: bool = False,
    watch_id: int = 0,
) -> bytes:
    """Asks for a watch on the stream.

    start_revision: The first revision to be told of; 0 is the next.
    no_put: Leaves out writes; `no_delete` deletions.
    progress_notify: Has the server tell of its revision while nothing happens (every ten minutes by default).
    fragment: Lets the server cut a revision with much in it into several frames.
    watch_id: Its name on the stream; 0 has the server choose one.

    Raises ValueError and TypeError for bad arguments.
    """
    first, end = key_range(key, range_end, prefix, from_key)
    wanted = _Wanted(
        key=first,
        range_end=end,
        start_revision=whole(start_revision, "start_revision"),
        watch_id=whole(watch_id, "watch_id"),
        filters=("NOPUT",) * no_put + ("NODELETE",) * no_delete,
        prev_kv=prev_kv,
        progress_notify=progress_notify,
        fragment=fragment,
    )
    return encode(_CreateRequest(wanted))


def cancel_request(watch_id: int) -> bytes:
    """Ends a watch on the stream; the server answers with a `canceled` frame."""
    return body_of({"cancel_request": {"watch_id": whole(watch_id, "watch_id")}})

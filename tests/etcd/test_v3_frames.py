from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from v3_servers import connected

from aetcd._transport.channel import Channel
from aetcd._transport.streams import Stream
from aetcd._wire.framing import JSONValues
from aetcd.errors import DecodeError, NoLeader, ServerError, Unauthenticated
from aetcd.etcd.v3 import V3, Event, Header, KeyValue
from aetcd.etcd.v3._frames import WATCH, WatchFrame, cancel_request, create_request, decode_frame, decode_frames
from aetcd.testing import EtcdServer


def test_created() -> None:
    """The first watch of a stream has the ID 0, which is left out."""
    frame = decode_frame(b'{"result":{"header":{"revision":"7"},"created":true}}')
    assert frame == WatchFrame(header=Header(revision=7), watch_id=0, created=True)


def test_events() -> None:
    """A PUT has no type on the wire; a DELETE has key and revision only."""
    frame = decode_frame(
        b'{"result":{"header":{"revision":"9"},"watch_id":"3","fragment":true,"events":['
        b'{"kv":{"key":"YQ==","create_revision":"8","mod_revision":"8","version":"1","value":"MQ=="}},'
        b'{"type":"DELETE","kv":{"key":"YQ==","mod_revision":"9"},"prev_kv":{"key":"YQ==","value":"MQ=="}}]}}'
    )
    assert (frame.watch_id, frame.fragment, frame.header.revision) == (3, True, 9)
    assert frame.events == (
        Event(kv=KeyValue(key=b"a", value=b"1", create_revision=8, mod_revision=8, version=1)),
        Event(type="DELETE", kv=KeyValue(key=b"a", mod_revision=9), prev_kv=KeyValue(key=b"a", value=b"1")),
    )


def test_compacted() -> None:
    """A cancelled watch says how far the history is gone, and its header carries no revision."""
    frame = decode_frame(b'{"result":{"header":{"cluster_id":"1"},"canceled":true,"compact_revision":"5"}}')
    assert (frame.canceled, frame.compact_revision, frame.header.revision) == (True, 5, 0)


def test_refused() -> None:
    """The reason comes as text."""
    frame = decode_frame(b'{"result":{"watch_id":"-1","canceled":true,"created":true,"cancel_reason":"no"}}')
    assert (frame.watch_id, frame.created, frame.canceled, frame.cancel_reason) == (-1, True, True, "no")


@pytest.mark.parametrize(
    ("value", "kind", "status", "code"),
    [
        (
            b'{"error":{"grpc_code":14,"http_code":503,"message":"etcdserver: no leader","http_status":"x"}}',
            NoLeader,
            503,
            14,
        ),
        (b'{"error":{"code":14,"message":"etcdserver: no leader","details":[]}}', NoLeader, 200, 14),
        (
            b'{"error":{"grpc_code":16,"http_code":401,"message":"etcdserver: invalid auth token"}}',
            Unauthenticated,
            401,
            16,
        ),
        (b'{"error":{"grpc_code":2,"http_code":500,"message":"strange"}}', ServerError, 500, 2),
    ],
)
def test_error_frames(value: bytes, kind: type[ServerError], status: int, code: int) -> None:
    """The value that ends a stream is raised as what it means."""
    with pytest.raises(kind) as caught:
        decode_frame(value, peer="http://a:1")
    assert (type(caught.value), caught.value.status, caught.value.code) == (kind, status, code)
    assert (caught.value.peer, caught.value.operation) == ("http://a:1", "v3 watch")


@pytest.mark.parametrize("value", [b"{}", b'{"novel":1}', b"[]", b"x", b'{"result":7}', b'{"error":{}}'])
def test_neither_result_nor_error(value: bytes) -> None:
    """A proxy's words in a stream are not taken for progress."""
    with pytest.raises(DecodeError):
        decode_frame(value)


def test_requests() -> None:
    """Every option under the gateway's name, and nothing that is zero."""
    assert json.loads(create_request("a")) == {"create_request": {"key": "YQ=="}}
    every = create_request(
        "a",
        prefix=True,
        start_revision=7,
        prev_kv=True,
        no_put=True,
        no_delete=True,
        progress_notify=True,
        fragment=True,
        watch_id=3,
    )
    assert json.loads(every)["create_request"] == {
        "key": "YQ==",
        "range_end": "Yg==",
        "start_revision": 7,
        "prev_kv": True,
        "filters": ["NOPUT", "NODELETE"],
        "progress_notify": True,
        "fragment": True,
        "watch_id": 3,
    }
    assert json.loads(create_request("a", no_delete=True))["create_request"]["filters"] == ["NODELETE"]
    assert json.loads(cancel_request(3)) == {"cancel_request": {"watch_id": 3}}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"key": ""}, "key"),
        ({"key": "a", "range_end": "b", "prefix": True}, "only one"),
        ({"key": "a", "start_revision": -1}, "start_revision"),
        ({"key": "a", "watch_id": -1}, "watch_id"),
    ],
)
def test_create_request_refuses(arguments: dict[str, Any], named: str) -> None:
    """A watch that cannot be is refused before it is asked for."""
    with pytest.raises(ValueError, match=named):
        create_request(**arguments)


ONE, TWO, ERROR = (
    b'{"result":{"watch_id":"1","created":true}}',
    b'{"result":{"watch_id":"2","created":true}}',
    b'{"error":{"grpc_code":14,"http_code":503,"message":"etcdserver: no leader","http_status":"x"}}',
)


@pytest.mark.parametrize(
    "pieces",
    [
        (ONE + b"\n" + TWO + b"\n",),
        (ONE + TWO,),
        (ONE + TWO + b"\n",),
        (ONE + b"\n\n" + TWO,),
        (ONE[:9], ONE[9:] + b"\n" + TWO[:4], TWO[4:] + b"\n"),
        (ONE + b"\n", TWO),
    ],
)
def test_frames_however_they_are_cut(pieces: tuple[bytes, ...]) -> None:
    """With and without newlines, several in a piece or one in several."""
    values = JSONValues()
    assert [frame.watch_id for piece in pieces for frame in decode_frames(values, piece)] == [1, 2]
    assert not values.pending


@pytest.mark.parametrize("end", [b"", b"\n"])
@pytest.mark.parametrize(("bad", "raised"), [(ERROR, NoLeader), (b"{}", DecodeError), (b'{"result":7}', DecodeError)])
def test_frames_before_a_bad_one(bad: bytes, raised: type[Exception], end: bytes) -> None:
    """They are given first, from one piece with it."""
    frames = decode_frames(JSONValues(), ONE + b"\n" + TWO + b"\n" + bad + end)
    assert [next(frames).watch_id, next(frames).watch_id] == [1, 2]
    with pytest.raises(raised):
        next(frames)


async def frames_until(stream: Stream, enough: Callable[[WatchFrame], bool]) -> list[WatchFrame]:
    values, seen = JSONValues(), []
    async with asyncio.timeout(10):
        while True:
            for frame in decode_frames(values, await stream.read()):
                seen.append(frame)
                if enough(seen[-1]):
                    return seen


async def test_a_real_stream(etcd: EtcdServer, prefix: str) -> None:
    """What the server sends for a past with a creation, a change and a deletion, and for one that is compacted."""
    async with connected(etcd.peers) as v3:
        first = (await v3.put(prefix + "a", "1", lease=(await v3.lease.grant(60)).id)).header.revision
        await v3.put(prefix + "a", "")
        last = (await v3.delete_range(prefix + "a")).header.revision
        body = create_request(prefix, prefix=True, start_revision=first, prev_kv=True, fragment=True)
        async with channel(v3).stream(WATCH.request("/v3", body)) as stream:
            seen = await frames_until(stream, lambda frame: bool(frame.events) and frame.header.revision >= last)
        assert (seen[0].created, seen[0].events) == (True, ())
        events = [event for frame in seen for event in frame.events]
        assert [(event.type, event.kv.value, event.kv.version) for event in events] == [
            ("PUT", b"1", 1),
            ("PUT", b"", 2),
            ("DELETE", b"", 0),
        ]
        assert [event.prev_kv and event.prev_kv.value for event in events] == [None, b"1", b""]
        assert (events[0].kv.lease > 0, events[2].kv.mod_revision) == (True, last)
        await v3.compact(last)
        async with channel(v3).stream(WATCH.request("/v3", create_request(prefix, start_revision=1))) as stream:
            ended = (await frames_until(stream, lambda frame: frame.canceled))[-1]
        assert (ended.compact_revision, ended.header.revision) == (last, 0)


def channel(v3: V3) -> Channel:
    return v3.gateway.channel

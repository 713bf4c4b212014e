from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from itertools import pairwise
from typing import Any

import pytest
from v3_servers import connected

import aetcd
from aetcd.errors import AetcdError, HistoryLost, RequestTimeout, WatchError
from aetcd.etcd.v3 import V3, Event, EventWatch, Put, _mux, _watch
from aetcd.etcd.v3._frames import WatchFrame, decode_frames
from aetcd.testing import EtcdCluster, EtcdServer, TCPProxy


@pytest.fixture
def server(etcd: EtcdServer) -> EtcdServer:
    return etcd


@pytest.fixture(params=[False, True], ids=["alone", "shared"])
async def v3(server: EtcdServer, request: pytest.FixtureRequest) -> AsyncIterator[V3]:
    async with connected(server.peers, watch_sharing=request.param) as v3:
        yield v3


async def take(events: EventWatch, count: int) -> list[Event]:
    async with asyncio.timeout(10):
        return [await anext(events) for _ in range(count)]


def told(events: list[Event], prefix: bytes = b"") -> list[tuple[str, bytes, bytes]]:
    return [(event.type, event.kv.key.removeprefix(prefix), event.kv.value) for event in events]


async def test_events(v3: V3, prefix: str) -> None:
    """As the server tells them: whole keys and values, and of a deletion the key and its revision."""
    lease = (await v3.lease.grant(60)).id
    async with v3.watch(prefix, prefix=True) as events:
        await v3.put(prefix + "a", b"\x00\xff")
        second = await v3.put(prefix + "a", "2", lease=lease)
        gone = await v3.delete_range(prefix + "a")
        got = await take(events, 3)
        assert told(got, prefix.encode()) == [("PUT", b"a", b"\x00\xff"), ("PUT", b"a", b"2"), ("DELETE", b"a", b"")]
        kv = got[1].kv
        assert (kv.mod_revision, kv.version, kv.lease) == (second.header.revision, 2, lease)
        assert kv.create_revision == got[0].kv.mod_revision
        assert (got[2].kv.mod_revision, got[2].kv.version) == (gone.header.revision, 0)
        assert [event.prev_kv for event in got] == [None, None, None]
        assert events.revision == gone.header.revision


async def test_keys_that_are_no_text(v3: V3, prefix: str) -> None:
    """Bytes come as they are."""
    key = prefix.encode() + bytes(range(256))
    async with v3.watch(key) as events:
        await v3.put(key, "1")
        await v3.delete_range(key)
        assert [event.kv.key for event in await take(events, 2)] == [key, key]


RANGES: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "one key": ("b", {}, ["b"]),
    "to an end": ("b", {"range_end": "d"}, ["b", "ba", "c"]),
    "prefix": ("b", {"prefix": True}, ["b", "ba"]),
}


@pytest.mark.parametrize("case", RANGES)
async def test_ranges(v3: V3, prefix: str, case: str) -> None:
    """As those of a read."""
    key, options, expected = RANGES[case]
    if "range_end" in options:
        options = {"range_end": prefix + options["range_end"]}
    async with v3.watch(prefix + key, **options) as events:
        for other in ("a", "b", "ba", "c", "d"):
            await v3.put(prefix + other, "1")
        await v3.put(prefix + "b", "last")
        got = [event.kv.key.decode().removeprefix(prefix) for event in await take(events, len(expected) + 1)]
        assert got == [*expected, "b"]


async def test_from_key(v3: V3, prefix: str) -> None:
    """Every key from one on, other people's too."""
    async with v3.watch(prefix + "m", from_key=True) as events:
        await v3.put(prefix + "a", "1")
        await v3.put(prefix + "z", "1")
        async with asyncio.timeout(10):
            async for event in events:
                assert event.kv.key >= (prefix + "m").encode()
                if event.kv.key == (prefix + "z").encode():
                    break


async def test_previous_values(v3: V3, prefix: str) -> None:
    """What stood before, where it was asked for."""
    await v3.put(prefix + "a", "1")
    async with v3.watch(prefix + "a", prev_kv=True) as events:
        await v3.put(prefix + "a", "2")
        await v3.delete_range(prefix + "a")
        await v3.put(prefix + "a", "3")
        previous = [event.prev_kv for event in await take(events, 3)]
        assert [kv and kv.value for kv in previous] == [b"1", b"2", None]


async def test_filters(v3: V3, prefix: str) -> None:
    """Writes or deletions are left out by the server."""
    async with (
        v3.watch(prefix, prefix=True, no_put=True) as deletions,
        v3.watch(prefix, prefix=True, no_delete=True) as puts,
    ):
        await v3.put(prefix + "a", "1")
        await v3.delete_range(prefix + "a")
        await v3.put(prefix + "b", "2")
        await v3.delete_range(prefix + "b")
        assert told(await take(deletions, 2), prefix.encode()) == [("DELETE", b"a", b""), ("DELETE", b"b", b"")]
        assert told(await take(puts, 2), prefix.encode()) == [("PUT", b"a", b"1"), ("PUT", b"b", b"2")]


async def test_start_revision(v3: V3, prefix: str) -> None:
    """The past is given first, the start included."""
    revisions = [(await v3.put(prefix + "a", str(i))).header.revision for i in range(3)]
    async with v3.watch(prefix + "a", start_revision=revisions[1]) as events:
        await v3.put(prefix + "a", "3")
        assert [event.kv.value for event in await take(events, 3)] == [b"1", b"2", b"3"]


async def test_batches(v3: V3, prefix: str) -> None:
    """All of one revision together."""
    async with v3.watch(prefix, prefix=True) as events:
        await v3.txn().then(*(Put(f"{prefix}{i}", "x") for i in range(100)))
        await v3.put(prefix + "last", "1")
        batches: list[Any] = []
        async with asyncio.timeout(10):
            async for batch in events.batches():
                batches.append(batch)
                if len(batches) == 2:
                    break
    assert [len(batch) for batch in batches] == [100, 1]
    assert len({event.kv.mod_revision for event in batches[0]}) == 1


@pytest.fixture
def frames(monkeypatch: pytest.MonkeyPatch) -> list[WatchFrame]:
    """The frames with events that the client has read from its streams, as it read them."""
    read: list[WatchFrame] = []

    def reading(*given: Any, **named: Any) -> Iterator[WatchFrame]:
        for frame in decode_frames(*given, **named):
            if frame.events:
                read.append(frame)
            yield frame

    for reader in (_mux, _watch):
        monkeypatch.setattr(reader, "decode_frames", reading)
    return read


def cuts(frames: list[WatchFrame]) -> list[int]:
    """The revisions within which the server has cut."""
    ends = [(one, one.events[-1].kv.mod_revision, two.events[0].kv.mod_revision) for one, two in pairwise(frames)]
    return [last for frame, last, following in ends if frame.fragment and last == following]


async def three_large_revisions(v3: V3, prefix: str) -> list[int]:
    """Of 1.4 MB each, the most that a request may write; a frame is cut behind 2 MB (both etcd's defaults)."""
    revisions = []
    for part in "abc":
        answer = await v3.txn().then(*(Put(f"{prefix}{part}{i:02}", part * 14_000) for i in range(100)))
        revisions.append(answer.revision)
    return revisions


async def test_a_revision_in_fragments(v3: V3, prefix: str, frames: list[WatchFrame]) -> None:
    """It is told as one batch, in order, and with all that belongs to it."""
    await three_large_revisions(v3, prefix)
    async with v3.watch(prefix, prefix=True, prev_kv=True) as events, aclosing(events.batches()) as batches:
        gone = (await v3.delete_range(prefix, prefix=True)).header.revision
        last = (await v3.put(prefix + "last", "1")).header.revision
        async with asyncio.timeout(10):
            whole, after = await anext(batches), await anext(batches)
    assert set(cuts(frames)) == {gone}
    wanted = [f"{prefix}{part}{i:02}".encode() for part in "abc" for i in range(100)]
    assert [(event.type, event.kv.key) for event in whole] == [("DELETE", key) for key in wanted]
    assert {event.kv.mod_revision for event in whole} == {gone}
    assert [event.prev_kv and (event.prev_kv.key, len(event.prev_kv.value)) for event in whole] == [
        (key, 14_000) for key in wanted
    ]
    assert [event.kv.mod_revision for event in after] == [last]


async def test_a_history_in_fragments(v3: V3, prefix: str, frames: list[WatchFrame]) -> None:
    """Of a past that the server cuts within its revisions, each is told once, and whole."""
    revisions = await three_large_revisions(v3, prefix)
    async with (
        v3.watch(prefix, prefix=True, start_revision=revisions[0]) as events,
        aclosing(events.batches()) as batches,
        asyncio.timeout(10),
    ):
        told = [await anext(batches) for _ in revisions]
        assert events.revision == revisions[-1]
    assert set(cuts(frames)) & set(revisions)
    assert [{event.kv.mod_revision for event in batch} for batch in told] == [{revision} for revision in revisions]
    assert [[event.kv.key for event in batch] for batch in told] == [
        [f"{prefix}{part}{i:02}".encode() for i in range(100)] for part in "abc"
    ]


@pytest.mark.parametrize("sharing", [False, True], ids=["alone", "shared"])
async def test_progress(sharing: bool) -> None:
    """While nothing happens to a range, the server's progress moves the revision to go on from."""
    often = ["--experimental-watch-progress-notify-interval=200ms"]
    async with EtcdServer(protocols=("v3",), extra_args=often) as server:
        async with connected(server.peers, watch_sharing=sharing) as v3, v3.watch("quiet") as events:
            reader = asyncio.ensure_future(anext(events))
            last = [await v3.put("busy", "x") for _ in range(3)][-1].header.revision
            async with asyncio.timeout(10):
                while events.revision < last:
                    await asyncio.sleep(0.02)
            written = await v3.put("quiet", "1")
            assert (await reader).kv.mod_revision == written.header.revision == last + 1


async def test_compacted(v3: V3, prefix: str) -> None:
    """A start that is gone is said so, with the first revision that is left."""
    first = (await v3.put(prefix + "a", "1")).header.revision
    last = (await v3.put(prefix + "a", "2")).header.revision
    await v3.compact(last)
    with pytest.raises(HistoryLost) as caught:
        async with v3.watch(prefix + "a", start_revision=first) as events:
            await take(events, 1)
    assert caught.value.first_available == last


async def test_it_goes_on(server: EtcdServer, prefix: str) -> None:
    """After a cut connection from where it was: nothing is lost or told twice."""
    for shared in (False, True):
        async with (
            connected(server.peers) as writer,
            TCPProxy(server.url) as proxy,
            connected([proxy.url], watch_sharing=shared) as v3,
            v3.watch(prefix, prefix=True) as events,
        ):
            await writer.put(prefix + "a", "1")
            assert told(await take(events, 1), prefix.encode()) == [("PUT", b"a", b"1")]
            proxy.cut()
            await writer.put(prefix + "b", "2")
            proxy.resume()
            await writer.put(prefix + "c", "3")
            assert told(await take(events, 2), prefix.encode()) == [("PUT", b"b", b"2"), ("PUT", b"c", b"3")]
            assert events.status().state == "live"


async def test_it_moves_to_another_member(cluster: EtcdCluster, prefix: str) -> None:
    """When its own dies."""
    async with connected(cluster.peers) as v3, v3.watch(prefix, prefix=True) as events:
        await v3.put(prefix + "a", "1")
        await take(events, 1)
        reading = next(seat.url for seat in v3.gateway.channel.pool.status() if seat.streams)
        await next(member for member in cluster.members if member.url == reading).kill()
        other = next(url for url in cluster.peers if url != reading)
        async with asyncio.timeout(20):
            while True:
                try:
                    await v3.put(prefix + "b", "2", peer=other)
                    break
                except AetcdError:  # whatever it says while there is no leader
                    await asyncio.sleep(0.1)
            async for event in events:
                if event.kv.value == b"2":
                    break


async def test_after_its_block(v3: V3, prefix: str) -> None:
    """Nothing more is to be had, and it cannot be entered again."""
    events = v3.watch(prefix)
    async with events:
        pass
    with pytest.raises(WatchError):
        await anext(events)
    with pytest.raises(WatchError):
        await events.__aenter__()


async def test_the_clients_status_tells_of_it(etcd35: EtcdServer, prefix: str) -> None:
    """As of any watch of the client, and only while it stands; so do those of a namespace."""
    async with aetcd.Client(etcd35.url, protocol="v3") as client:
        v3 = client.v3.namespace(prefix)
        async with v3.watch("a") as one, v3.watch(b"b\xff", prefix=True) as two, client.watch("c"):
            assert {watch.name for watch in client.status().watches} == {"a", "b\\xff...", "c"}
            assert repr(one) == f"<EventWatch 'a' live at revision {one.revision}>"
            assert one.status() in client.status().watches
            assert two.status().state == "live"
        assert not client.status().watches


async def test_a_start_that_is_not_reached(v3: V3, prefix: str) -> None:
    """HistoryLost: a cluster restored from a backup looks so. The next revision is none of these."""
    now = (await v3.put(prefix, "x")).header.revision
    with pytest.raises(HistoryLost, match="restored"):
        async with v3.watch(prefix, start_revision=now + 1000):
            pytest.fail("it must not stand")
    async with v3.watch(prefix, start_revision=now + 1) as events:
        await v3.put(prefix, "y")
        assert (await anext(events)).kv.value == b"y"


async def test_no_server(prefix: str) -> None:
    """It is not entered."""
    async with TCPProxy("http://127.0.0.1:1") as proxy, connected([proxy.url], prefix="/v3") as v3:
        proxy.stall()
        with pytest.raises(RequestTimeout):
            async with v3.watch(prefix, timeout=0.5):
                pytest.fail("there is no server")


async def test_bad_input(v3: V3) -> None:
    """Named before anything is sent."""
    for key, options, error, named in (
        ("", {}, ValueError, "key"),
        (1, {}, TypeError, "key"),
        ("a", {"prefix": True, "from_key": True}, ValueError, "only one"),
        ("a", {"range_end": ""}, ValueError, "range_end"),
        ("a", {"start_revision": -1}, ValueError, "start_revision"),
        ("a", {"no_put": None}, TypeError, "no_put"),
        ("a", {"no_delete": "yes"}, TypeError, "no_delete"),
        ("a", {"prev_kv": 1}, TypeError, "prev_kv"),
        ("a", {"progress_notify": 0}, TypeError, "progress_notify"),
        ("a", {"fragment": "no"}, TypeError, "fragment"),
    ):
        arguments: Any = (key,)
        with pytest.raises(error, match=named):
            v3.watch(*arguments, **options)

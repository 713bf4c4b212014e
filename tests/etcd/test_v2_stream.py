"""Streams of etcd v2: what is lost by them is had from the history, and equal watches share one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from floods import Flood

import aetcd
from aetcd._transport.streams import Stream
from aetcd.errors import ConnectFailed, HistoryLost
from aetcd.etcd.v2 import KeysResponse, _line
from aetcd.etcd.v2._endless import V2Watch
from aetcd.etcd.v2._line import Line
from aetcd.etcd.v2._waits import Wait
from aetcd.testing import EtcdServer, TCPProxy

FLOOD = 40_000
AHEAD = 800  # changes that a reader may be behind: servers keep 1,000


@pytest.fixture
async def client(etcd: EtcdServer) -> AsyncIterator[aetcd.Client]:
    async with aetcd.Client(etcd.url, protocol="v2") as client:
        yield client


class Requests:
    """The requests that watches made, `stream` or `poll`, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[str] = []
        opened = Line._open

        async def counted(line: Line, cursor: int | None, *, stream: bool) -> Wait:
            self.made.append("stream" if stream else "poll")
            return await opened(line, cursor, stream=stream)

        monkeypatch.setattr(Line, "_open", counted)


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Requests:
    return Requests(monkeypatch)


async def take(events: V2Watch, count: int, within: float = 20.0) -> list[KeysResponse]:
    async with asyncio.timeout(within):
        return [await anext(events) for _ in range(count)]


def indexes(events: list[KeysResponse]) -> list[int]:
    return [event.the_node.modified_index for event in events]


async def until(condition: Callable[[], Awaitable[bool]], within: float = 10.0) -> None:
    async with asyncio.timeout(within):
        while not await condition():
            await asyncio.sleep(0.005)


# Nothing lost and nothing twice


@pytest.mark.timeout(240)
async def test_a_flood_with_a_slow_reader(client: aetcd.Client, etcd: EtcdServer, prefix: str) -> None:
    """40,000 changes, by writers who keep within what a server remembers, and a reader who stops again and again: each
    is seen once, and in order.
    """
    flood = Flood(etcd, prefix, FLOOD)
    seen: list[int] = []
    async with client.watch(prefix, recursive=True) as changes:
        writing = asyncio.ensure_future(flood.write(lambda written: written - len(seen) < AHEAD))
        async with asyncio.timeout(200):
            while len(seen) < FLOOD:
                change = await anext(changes)
                seen.append(change.revision)
                if len(seen) % 1000 == 0:
                    await asyncio.sleep(0.02)
        await writing
    assert seen == sorted(flood.written)


async def test_a_flood_that_nobody_paces(client: aetcd.Client, etcd: EtcdServer, prefix: str) -> None:
    """Where the reader is further behind than a server remembers: all up to there, in order, and then an error."""
    flood = Flood(etcd, prefix, 8000, size=4000)
    seen: list[int] = []
    async with client.watch(prefix, recursive=True) as changes:
        await flood.write()
        with pytest.raises(HistoryLost) as caught:
            async with asyncio.timeout(30):
                async for change in changes:
                    seen.append(change.revision)
    assert caught.value.first_available is not None
    assert caught.value.first_available > seen[-1] + 1
    assert seen == sorted(flood.written)[: len(seen)]
    assert len(seen) >= 1000


async def test_a_flood_that_is_made_good(client: aetcd.Client, etcd: EtcdServer, prefix: str) -> None:
    """With `resync` the reader ends with the state that is there, and no change comes twice."""
    flood = Flood(etcd, prefix, 8000, size=4000)
    state: dict[str, str] = {}
    seen: list[int] = []
    resynced = 0
    async with client.watch(prefix, recursive=True, on_history_lost="resync") as changes:
        await flood.write()
        await client.delete(f"{prefix}0")
        last = (await client.set(f"{prefix}last", "x", full=True)).revision
        async with asyncio.timeout(30):
            while changes.revision < last:
                item = await anext(changes)
                if isinstance(item, aetcd.Resynced):
                    resynced += 1
                elif item.kind == "put":
                    state[item.key] = item.value
                    seen.append(item.revision)
                else:
                    del state[item.key]
        there = {node.key: node.value for node in await client.ls(prefix)}
    assert resynced >= 1
    assert state == there
    assert len(set(seen)) == len(seen)


async def test_a_stream_that_the_server_drops(
    client: aetcd.Client, etcd: EtcdServer, prefix: str, requests: Requests
) -> None:
    """It falls silent in the middle, without an end: what it left out comes from the history."""
    flood = Flood(etcd, prefix, 700, size=60_000, writers=4)
    async with client.v2.watch(prefix, recursive=True) as events:
        # More than all buffers between hold and the server's queue.
        await flood.write()
        assert requests.made == ["stream"]
        assert indexes(await take(events, 700, within=_line.SILENT - 1)) == sorted(flood.written)
        # The first one was dropped; the second was answered from the history, a third tells what comes.
        assert requests.made[:3] == ["stream", "stream", "stream"]
        assert requests.made.count("poll") > 10
        caught_up = len(requests.made)
        await Flood(etcd, prefix, 300).write()
        await take(events, 300)
        assert len(requests.made) - caught_up < 10


async def test_a_hundred_changes_at_once(
    client: aetcd.Client, etcd: EtcdServer, prefix: str, requests: Requests
) -> None:
    """A stream that told fewer changes than a server queues is believed; the next one costs one more request."""
    async with client.v2.watch(prefix, recursive=True) as events:
        await Flood(etcd, prefix, _line.QUEUE - 1).write()
        await take(events, _line.QUEUE - 1)
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(4 * _line.QUIET)
        assert requests.made == ["stream"]
        await client.set(f"{prefix}more", "x")
        await waiting
        waiting = asyncio.ensure_future(anext(events))
        await until(lambda: settled(requests, ["stream", "stream"]))
        await client.set(f"{prefix}more", "x")
        await waiting


async def settled(requests: Requests, made: list[str]) -> bool:
    return requests.made == made


async def test_catching_up_while_others_write(
    client: aetcd.Client, etcd: EtcdServer, prefix: str, requests: Requests
) -> None:
    """From the past to the present, and on: no gap and nothing twice where polls end and the stream goes on."""
    before = Flood(etcd, prefix, 300)
    await before.write()
    during = Flood(etcd, prefix, 1500, writers=2)
    seen: list[int] = []
    async with client.watch(prefix, recursive=True, since=min(before.written)) as changes:
        writing = asyncio.ensure_future(during.write(lambda written: written + 300 - len(seen) < AHEAD))
        async with asyncio.timeout(30):
            while len(seen) < 1800:
                seen.append((await anext(changes)).revision)
        await writing
    assert seen == sorted(before.written + during.written)
    # A poll for each change up to the present, and not one more for those that came meanwhile.
    assert requests.made.count("poll") < 300 + AHEAD
    assert requests.made.count("stream") < 10


async def test_a_gap_in_which_nothing_is(client: aetcd.Client, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing more lies between the past and the present, what comes next is not waited for in vain."""
    made = await client.set(f"{prefix}key", "1", full=True)
    for _ in range(3):
        await client.set(f"{prefix}other", "x")
    async with client.v2.watch(f"{prefix}key", wait_index=made.revision) as events:
        assert (await take(events, 1))[0].the_node.value == "1"
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0.1)
        await client.set(f"{prefix}key", "2")
        assert (await waiting).the_node.value == "2"
        await client.set(f"{prefix}key", "3")
        assert (await take(events, 1))[0].the_node.value == "3"


async def test_a_silent_gap(
    client: aetcd.Client, prefix: str, requests: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A poll of a gap that stays silent is given up, and the stream that stands meanwhile tells what comes."""
    monkeypatch.setattr(_line, "SILENT", 0.2)
    made = await client.set(f"{prefix}key", "1", full=True)
    await client.set(f"{prefix}other", "x")
    async with client.v2.watch(f"{prefix}key", wait_index=made.revision) as events:
        await take(events, 1)
        waiting = asyncio.ensure_future(anext(events))
        await until(lambda: settled(requests, ["stream", "stream", "poll", "poll", "stream"]))
        await client.set(f"{prefix}key", "2")
        assert (await waiting).the_node.value == "2"


@pytest.mark.parametrize("recursive", [False, True])
async def test_a_key_that_goes_is_told_once(client: aetcd.Client, prefix: str, recursive: bool) -> None:
    """Servers tell it twice to who streams that very key."""
    key = f"{prefix}key"
    async with client.watch(key, recursive=recursive) as changes:
        for _ in range(2):
            await client.set(key, "x")
            await client.delete(key)
        await client.set(key, "x", ttl=1)
        async with asyncio.timeout(10):
            kinds = [(await anext(changes)).kind for _ in range(6)]
    assert kinds == ["put", "delete", "put", "delete", "put", "expire"]


@pytest.mark.parametrize("past", [False, True])
async def test_a_neighbour_that_goes(client: aetcd.Client, prefix: str, past: bool) -> None:
    """From the history, a server also tells who watches `/ab` that the directory `/a` is gone."""
    made = await client.set(f"{prefix}a/key", "x", full=True)
    since = made.revision + 1
    if past:
        await client.delete(f"{prefix}a", recursive=True)
        await client.set(f"{prefix}ab", "1")
    async with client.v2.watch(f"{prefix}ab", wait_index=since) as events:
        if not past:
            await client.delete(f"{prefix}a", recursive=True)
            await client.set(f"{prefix}ab", "1")
        (event,) = await take(events, 1)
    assert (event.action, event.the_node.value) == ("set", "1")


@pytest.mark.parametrize("gone", ["within a change", "behind the head"])
async def test_a_stream_that_is_cut(
    client: aetcd.Client, prefix: str, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    """In the middle of what it tells: the next one begins at the cursor."""
    read = Stream.read
    cuts = 0

    async def broken(stream: Stream) -> bytes:
        nonlocal cuts
        chunk = await read(stream)
        if chunk and cuts < 3 and stream.operation == "v2 wait":
            cuts += 1
            monkeypatch.setattr(Stream, "read", cut)
            if gone == "within a change":
                return chunk[: len(chunk) // 2]
            raise ConnectFailed("cut", peer=stream.peer, operation=stream.operation)
        return chunk

    async def cut(stream: Stream) -> bytes:
        monkeypatch.setattr(Stream, "read", broken)
        raise ConnectFailed("cut", peer=stream.peer, operation=stream.operation)

    monkeypatch.setattr(Stream, "read", broken)
    async with client.v2.watch(f"{prefix}key") as events:
        for n in range(6):
            await client.set(f"{prefix}key", str(n))
        assert [event.the_node.value for event in await take(events, 6)] == [str(n) for n in range(6)]
    assert cuts == 3


# Equal watches


async def watchers(client: aetcd.Client) -> int:
    """What the server holds."""
    return (await client.v2.stats.store()).watchers


async def test_equal_watches_share_one_request(client: aetcd.Client, prefix: str, requests: Requests) -> None:
    """A hundred of the facade and the native API cost one request, and each gets every change."""
    before = await watchers(client)
    async with AsyncExitStack() as opened:
        first = await client.set(f"{prefix}other", "x", full=True)
        facade = [await opened.enter_async_context(client.watch(f"{prefix}key")) for _ in range(60)]
        await client.set(f"{prefix}other", "x")
        facade += [
            await opened.enter_async_context(client.watch(f"/{prefix}key", since=first.revision + 1)) for _ in range(20)
        ]
        native = [await opened.enter_async_context(client.v2.watch(f"{prefix}key")) for _ in range(20)]
        for n in range(20):
            await client.set(f"{prefix}key", str(n))
        wanted = [str(n) for n in range(20)]
        async with asyncio.timeout(10):
            for watch in facade:
                assert [(await anext(watch)).value for _ in range(20)] == wanted
        for events in native:
            assert [event.the_node.value for event in await take(events, 20)] == wanted
        assert requests.made == ["stream"]
        assert await watchers(client) == before + 1
        assert sum(peer.streams for peer in client.status().peers) == 1
    await until(lambda: left(client, before))
    assert not client.v2.lines._shared


async def left(client: aetcd.Client, before: int) -> bool:
    return await watchers(client) == before


async def test_watches_that_are_not_equal(client: aetcd.Client, prefix: str, requests: Requests) -> None:
    """Another key, or the same with all below it, is another request."""
    async with (
        client.watch(f"{prefix}a"),
        client.watch(f"{prefix}b"),
        client.watch(f"{prefix}a", recursive=True) as deep,
        client.watch(f"{prefix}a/") as same,
    ):
        await client.set(f"{prefix}a/b", "x")
        assert (await anext(deep)).key == f"{prefix}a/b"
        await client.delete(f"{prefix}a", recursive=True)
        assert (await anext(same)).kind == "delete"
    assert requests.made == ["stream"] * 3


async def test_a_slow_one_among_equal_watches(
    client: aetcd.Client, etcd: EtcdServer, prefix: str, requests: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds up nobody, leaves the shared request, catches up alone, and comes back."""
    monkeypatch.setattr(_line, "KEPT", 50)
    before = await watchers(client)
    flood = Flood(etcd, prefix, 600)
    async with (
        client.v2.watch(prefix, recursive=True) as slow,
        client.v2.watch(prefix, recursive=True) as fast,
    ):
        writing = asyncio.ensure_future(flood.write())
        first = await take(slow, 1)
        assert len(await take(fast, 600)) == 600
        await writing
        assert requests.made[0] == "stream"
        assert requests.made.count("poll") == 0
        (line,) = client.v2.lines._shared.values()
        assert line.floor > first[0].the_node.modified_index + 1
        assert indexes(first + await take(slow, 599)) == sorted(flood.written)
        assert requests.made.count("poll") > 100
        # Both wait for the same request again.
        waiting = [asyncio.ensure_future(anext(events)) for events in (slow, fast)]
        await until(lambda: left(client, before + 1))
        await client.set(f"{prefix}key", "x")
        assert [(await one).the_node.value for one in waiting] == ["x", "x"]


async def test_the_one_that_reads_for_all_may_leave(client: aetcd.Client, prefix: str, requests: Requests) -> None:
    """Whoever waits next reads on; nothing is lost by the cancel."""
    async with client.v2.watch(f"{prefix}key") as one, client.v2.watch(f"{prefix}key") as other:
        reading = asyncio.ensure_future(anext(one))
        await asyncio.sleep(0.02)
        waiting = asyncio.ensure_future(anext(other))
        await asyncio.sleep(0.02)
        reading.cancel()
        await asyncio.wait([reading])
        await client.set(f"{prefix}key", "1")
        assert (await waiting).the_node.value == "1"
        assert (await take(one, 1))[0].the_node.value == "1"
    assert requests.made == ["stream"]


async def test_entering_while_another_one_reads(
    client: aetcd.Client, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands as soon as the request does that all share, and need not wait for a change."""
    opened, read = Line._open, Wait.read
    opening, go_on, end = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def ends(wait: Wait) -> list[KeysResponse]:
        monkeypatch.setattr(Wait, "read", read)
        await end.wait()
        wait.ended = True
        return []

    async def slow(line: Line, cursor: int | None, *, stream: bool) -> Wait:
        opening.set()
        await go_on.wait()
        return await opened(line, cursor, stream=stream)

    monkeypatch.setattr(Wait, "read", ends)
    async with client.v2.watch(f"{prefix}key") as one, client.v2.watch(f"{prefix}key") as two:
        monkeypatch.setattr(Line, "_open", slow)
        waiting = [asyncio.ensure_future(anext(one)), asyncio.ensure_future(anext(two))]
        await asyncio.sleep(0.05)
        end.set()
        await opening.wait()
        three = client.v2.watch(f"{prefix}key")
        entering = asyncio.ensure_future(three.__aenter__())
        await asyncio.sleep(0.05)
        go_on.set()
        async with asyncio.timeout(3):
            await entering
        await client.set(f"{prefix}key", "2")
        assert [(await each).the_node.value for each in waiting] == ["2", "2"]
        assert (await take(three, 1))[0].the_node.value == "2"
        await three.__aexit__(None, None, None)


async def test_equal_watches_after_a_break(etcd: EtcdServer, prefix: str, requests: Requests) -> None:
    """They resume together."""
    async with (
        TCPProxy(etcd.url) as proxy,
        aetcd.Client(proxy.url, protocol="v2") as client,
        aetcd.Client(etcd.url, protocol="v2") as writer,
        AsyncExitStack() as opened,
    ):
        watches = [await opened.enter_async_context(client.watch(f"{prefix}key")) for _ in range(50)]
        for n in range(5):
            proxy.cut()
            await writer.set(f"{prefix}key", str(n))
            async with asyncio.timeout(10):
                assert [(await anext(watch)).value for watch in watches] == [str(n)] * 50
        # Each break costs a stream that is answered from the past, one from now on, and a poll between.
        assert len(requests.made) < 5 * 5


async def test_one_that_is_ahead_of_a_lost_history(
    client: aetcd.Client, etcd: EtcdServer, prefix: str, requests: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of equal watches, the one that came later loses nothing where the first has lost its place."""
    read = Wait.read
    end = asyncio.Event()

    async def ends(wait: Wait) -> list[KeysResponse]:
        monkeypatch.setattr(Wait, "read", read)
        await end.wait()
        wait.ended = True
        return []

    monkeypatch.setattr(Wait, "read", ends)
    async with client.watch(f"{prefix}key") as early:
        await Flood(etcd, f"{prefix}busy/", 1200).write()
        async with client.watch(f"{prefix}key") as late:
            assert requests.made == ["stream"]
            end.set()
            with pytest.raises(HistoryLost):
                await anext(early)
            await client.set(f"{prefix}key", "1")
            async with asyncio.timeout(5):
                assert (await anext(late)).value == "1"


# The native watch


async def test_native_events_are_whole(client: aetcd.Client, prefix: str) -> None:
    """Action, node, previous node, and what the head of the answer said."""
    made = await client.v2.set(f"{prefix}key", "1")
    async with client.v2.watch(f"/{prefix}key", wait_index=made.index) as events:
        await client.v2.compare_and_swap(f"{prefix}key", "2", previous_value="1", ttl=50)
        await client.v2.delete(f"{prefix}key")
        first, second, third = await take(events, 3)
    assert (first.action, first.the_node.value, first.cluster_id) == ("set", "1", made.cluster_id)
    assert first.index >= made.index
    assert (second.action, second.the_node.ttl) == ("compareAndSwap", 50)
    assert second.prev_node is not None
    assert second.prev_node.value == "1"
    assert (third.action, third.the_node.key) == ("delete", f"/{prefix}key")


async def test_native_watch_outlives_a_break(etcd: EtcdServer, prefix: str) -> None:
    """It goes on from its cursor, whenever the server is back."""
    async with (
        TCPProxy(etcd.url) as proxy,
        aetcd.Client(proxy.url, protocol="v2") as client,
        aetcd.Client(etcd.url, protocol="v2") as writer,
        client.v2.watch(prefix, recursive=True) as events,
    ):
        for n in range(10):
            waiting = asyncio.ensure_future(anext(events))
            await asyncio.sleep(0)
            proxy.refuse()
            proxy.cut()
            await writer.set(f"{prefix}key", str(n))
            proxy.resume()
            assert (await waiting).the_node.value == str(n)


@pytest.mark.parametrize("wait_index", [0, -1, True])
async def test_native_watch_refuses_what_is_no_index(client: aetcd.Client, wait_index: int) -> None:
    """Before anything is sent."""
    with pytest.raises((ValueError, TypeError), match="wait_index"):
        client.v2.watch("key", wait_index=wait_index)


async def test_native_watch_of_lost_history(client: aetcd.Client, etcd: EtcdServer, prefix: str) -> None:
    """It says so when it is entered."""
    made = await client.v2.set(f"{prefix}key", "1")
    await Flood(etcd, f"{prefix}busy/", 1100).write()
    with pytest.raises(HistoryLost):
        async with client.v2.watch(f"{prefix}key", wait_index=made.index):
            pass
    assert not client.v2.lines._shared


async def test_native_watch_in_the_future(client: aetcd.Client, prefix: str) -> None:
    """An index that the cluster has not reached."""
    made = await client.v2.set(f"{prefix}key", "1")
    async with client.v2.watch(f"{prefix}key"):
        with pytest.raises(HistoryLost, match="restored"):
            async with client.v2.watch(f"{prefix}key", wait_index=made.index + 5000):
                pass


async def test_native_watch_of_a_closed_client(etcd: EtcdServer, prefix: str) -> None:
    """Whoever iterates is told."""
    client = aetcd.Client(etcd.url, protocol="v2")
    async with client.v2.watch(f"{prefix}key") as events:
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0.02)
        await client.aclose()
        with pytest.raises(aetcd.ClientClosed):
            await waiting

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

import aetcd
from aetcd._transport.streams import Stream
from aetcd.errors import ConnectFailed, HistoryLost
from aetcd.etcd.v2 import KeysResponse, V2Node, _line
from aetcd.etcd.v2._keyspace import V2KeySpace
from aetcd.etcd.v2._waits import Wait
from aetcd.testing import EtcdServer, TCPProxy


@pytest.fixture
async def client(etcd: EtcdServer) -> AsyncIterator[aetcd.Client]:
    async with aetcd.Client(etcd.url, protocol="v2") as client:
        yield client


async def take(changes: aetcd.Watch, count: int, within: float = 20.0) -> list[aetcd.Change]:
    """The next changes, markers left out."""
    taken: list[aetcd.Change] = []
    async with asyncio.timeout(within):
        while len(taken) < count:
            item = await anext(changes)
            if isinstance(item, aetcd.Change):
                taken.append(item)
    return taken


async def until(condition: Callable[[], bool], within: float = 10.0) -> None:
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.005)


async def crowd(client: aetcd.Client, prefix: str, count: int) -> None:
    """Writes elsewhere, some at a time."""
    for n in range(0, count, 50):
        await asyncio.gather(*(client.set(f"{prefix}{i % 7}", str(i)) for i in range(n, min(count, n + 50))))


# Every change once, in order


async def test_every_change_under_concurrent_writes(client: aetcd.Client, prefix: str) -> None:
    """Many writers, one reader: each write is seen once, with indexes that grow."""
    async with client.watch(f"{prefix}in/", recursive=True) as changes:

        async def write(writer: int) -> list[int]:
            results = [await client.set(f"{prefix}in/{writer}", str(n), full=True) for n in range(40)]
            await client.set(f"{prefix}out", "x")
            return [result.node.modified_revision for result in results]

        written = await asyncio.gather(*(write(writer) for writer in range(6)))
        seen = await take(changes, 240)
        assert [change.revision for change in seen] == sorted(revision for each in written for revision in each)
        assert changes.revision == seen[-1].revision


async def test_kinds_of_changes(client: aetcd.Client, prefix: str) -> None:
    """Each action of v2 under its kind, with what was before; an expiry has one of its own."""
    key = f"{prefix}key"
    async with client.watch(prefix, recursive=True) as changes:
        await client.create(key, "1")
        await client.set(key, "2")
        await client.update(key, "3")
        await client.compare_and_swap(key, "4", previous_value="3")
        await client.compare_and_delete(key, previous_value="4")
        await client.set(key, "5", ttl=1)
        await client.mkdir(f"{prefix}dir")
        await client.rmdir(f"{prefix}dir")
        seen = await take(changes, 9)
    assert [(change.kind, change.raw) for change in seen if change.key == key] == [
        ("put", b"1"),
        ("put", b"2"),
        ("put", b"3"),
        ("put", b"4"),
        ("delete", None),
        ("put", b"5"),
        ("expire", None),
    ]
    assert seen[1].previous is not None
    assert seen[1].previous.value == "1"
    assert seen[-1].previous is not None
    assert seen[-1].previous.value == "5"
    directory = [change for change in seen if change.key != key]
    assert [(change.kind, change.node.is_directory) for change in directory] == [("put", True), ("delete", True)]


async def test_recursive_boundaries(client: aetcd.Client, prefix: str) -> None:
    """The key itself and what is under it, and nothing that only begins alike; hidden keys are hidden always."""
    since = (await client.set(f"{prefix}before", "x", full=True)).revision + 1
    async with client.watch(f"{prefix}config", recursive=True) as live:
        for name in ("config2", "config-x", "config/a", "config/_hidden", "config/b/c", "other/config/a"):
            await client.set(f"{prefix}{name}", "x")
        await client.delete(f"{prefix}config", recursive=True)
        await client.set(f"{prefix}config", "now a key")
        async with client.watch(f"{prefix}config", recursive=True, since=since) as past:
            for changes in (live, past):
                seen = await take(changes, 4)
                assert [(change.kind, change.key.removeprefix(prefix)) for change in seen] == [
                    ("put", "config/a"),
                    ("put", "config/b/c"),
                    ("delete", "config"),
                    ("put", "config"),
                ]


@pytest.mark.parametrize("recursive", [False, True])
@pytest.mark.parametrize("past", [False, True])
async def test_a_parent_that_is_deleted(client: aetcd.Client, prefix: str, recursive: bool, past: bool) -> None:
    """Its end is the watched key's, under the name that is watched."""
    key = f"{prefix}a/b/c"
    made = await client.set(f"{key}/d" if recursive else key, "x", full=True)
    since = made.revision + 1
    if past:
        await client.delete(f"{prefix}a", recursive=True)
    async with client.watch(key, recursive=recursive, since=since) as changes:
        if not past:
            await client.delete(f"{prefix}a", recursive=True)
        (change,) = await take(changes, 1)
    assert (change.kind, change.key, change.raw) == ("delete", key, None)


async def test_a_directory_that_expires(client: aetcd.Client, prefix: str) -> None:
    """Whoever watches a key in it is told of an expiry."""
    await client.mkdir(f"{prefix}dir", ttl=1)
    await client.set(f"{prefix}dir/key", "x")
    async with client.watch(f"{prefix}dir/key") as changes:
        (change,) = await take(changes, 1)
    assert (change.kind, change.key) == ("expire", f"{prefix}dir/key")


# Where a watch begins


async def test_initial_and_what_follows(client: aetcd.Client, prefix: str) -> None:
    """What exists, a marker, and changes, with no gap while others write."""
    await client.set(f"{prefix}d/a", "1")
    await client.set(f"{prefix}b", "2")
    await client.mkdir(f"{prefix}empty")

    async def write() -> None:
        for n in range(60):
            await client.set(f"{prefix}n", str(n))

    writing = asyncio.ensure_future(write())
    async with client.watch(prefix, recursive=True, initial=True) as changes:
        existing: dict[str, str] = {}
        async with asyncio.timeout(10):
            while isinstance(item := await anext(changes), aetcd.Change):
                existing[item.key.removeprefix(prefix)] = item.value
        assert isinstance(item, aetcd.Synced)
        first = int(existing.pop("n", "-1")) + 1
        assert existing == {"d/a": "1", "b": "2"}
        assert [change.value for change in await take(changes, 60 - first)] == [str(n) for n in range(first, 60)]
    await writing


async def test_since_is_inclusive(client: aetcd.Client, prefix: str) -> None:
    """It begins with that very change, and another watch goes on where one has ended."""
    results = [await client.set(f"{prefix}key", str(n), full=True) for n in range(6)]
    async with client.watch(f"{prefix}key", since=results[2].revision) as changes:
        assert [change.value for change in await take(changes, 2)] == ["2", "3"]
        goes_on = changes.revision + 1
    async with client.watch(f"{prefix}key", since=goes_on) as changes:
        assert [change.value for change in await take(changes, 2)] == ["4", "5"]


async def test_values_are_read_as_asked(client: aetcd.Client, prefix: str) -> None:
    """Those that exist and those that change."""
    await client.set(f"{prefix}key", {"n": 1})
    async with client.watch(f"{prefix}key", type=dict[str, int], initial=True) as changes:
        await client.set(f"{prefix}key", {"n": 2})
        assert [change.value for change in await take(changes, 2)] == [{"n": 1}, {"n": 2}]


# When it breaks


async def test_a_cut_connection(etcd: EtcdServer, prefix: str) -> None:
    """At any byte of any poll: what was written meanwhile comes once, and in order."""
    async with (
        TCPProxy(etcd.url) as proxy,
        aetcd.Client(proxy.url, protocol="v2") as client,
        aetcd.Client(etcd.url, protocol="v2") as writer,
        client.watch(f"{prefix}key") as changes,
    ):
        seen: list[str] = []
        for n in range(40):
            if n % 4 == 0:
                proxy.cut()
            elif n % 4 == 1:
                # Within the head, behind it, and within the change.
                proxy.cut_after(received=n * 12, match=b"wait=true")
            await writer.set(f"{prefix}key", str(n))
            if n % 3 == 0:
                seen += [change.value for change in await take(changes, n + 1 - len(seen))]
        seen += [change.value for change in await take(changes, 40 - len(seen))]
        assert seen == [str(n) for n in range(40)]


async def test_a_cut_right_behind_the_head(etcd: EtcdServer, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The head tells an index at or behind that of a change which never came: it is asked for again."""
    cut = asyncio.Event()
    read = Stream.read

    async def broken(stream: Stream) -> bytes:
        chunk = await read(stream)
        if stream.operation == "v2 wait" and chunk and not cut.is_set():
            cut.set()
            raise ConnectFailed("cut", peer=stream.peer, operation=stream.operation)
        return chunk

    monkeypatch.setattr(Stream, "read", broken)
    async with aetcd.Client(etcd.url, protocol="v2") as client:
        made = await client.set(f"{prefix}key", "1", full=True)
        async with client.watch(f"{prefix}key", since=made.revision) as changes:
            (change,) = await take(changes, 1)
        assert (cut.is_set(), change.value) == (True, "1")


async def test_an_idle_key_while_others_change(
    client: aetcd.Client, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its cursor goes with the store, so that it outlives a break after more changes than the server keeps."""
    monkeypatch.setattr(_line, "SILENT", 0.2)
    async with client.watch(f"{prefix}idle") as changes:
        for _ in range(4):
            await crowd(client, f"{prefix}busy/", 400)
            await client.set(f"{prefix}busy/last", "x")
            last = await client.get(f"{prefix}busy/last", full=True)
            assert last is not None
            await until(lambda reached=last.revision: (changes._intake.cursor or 0) > reached)
        for stream in client._pool._seats.streams():
            stream.fail(ConnectFailed("cut"))
        await client.set(f"{prefix}idle", "now")
        (change,) = await take(changes, 1)
        assert change.value == "now"


async def test_a_poll_that_cannot_be_replaced(
    client: aetcd.Client, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where others change faster than the cursor follows, the old poll stands, and still sees the next change."""
    monkeypatch.setattr(_line, "SILENT", 4.0)
    async with client.watch(f"{prefix}idle") as changes:
        await crowd(client, f"{prefix}busy/", 1200)
        refused = asyncio.Event()
        opened = Wait.open

        async def watched(*arguments: object) -> object:
            try:
                return await opened(*arguments)  # type: ignore[arg-type]
            except HistoryLost:
                refused.set()
                raise

        monkeypatch.setattr(Wait, "open", watched)
        async with asyncio.timeout(15):
            await refused.wait()
        await client.set(f"{prefix}idle", "now")
        (change,) = await take(changes, 1)
        assert change.value == "now"


# Lost history


async def test_history_that_is_gone(client: aetcd.Client, prefix: str) -> None:
    """More changes than the server keeps: an error that tells where it begins now."""
    since = (await client.set(f"{prefix}key", "1", full=True)).revision + 1
    await crowd(client, f"{prefix}busy/", 1100)
    with pytest.raises(HistoryLost) as caught:
        async with client.watch(f"{prefix}key", since=since):
            pass
    assert caught.value.first_available is not None
    assert since < caught.value.first_available
    async with client.watch(f"{prefix}busy", recursive=True, since=caught.value.first_available) as changes:
        assert (await take(changes, 1))[0].revision == caught.value.first_available


async def test_resync(etcd: EtcdServer, prefix: str) -> None:
    """What is lost is made good by the difference, deletions too, and the watch goes on."""
    async with (
        TCPProxy(etcd.url) as proxy,
        aetcd.Client(proxy.url, protocol="v2") as client,
        aetcd.Client(etcd.url, protocol="v2") as writer,
    ):
        for name in ("stays", "goes", "changes"):
            await writer.set(f"{prefix}in/{name}", "1")
        async with client.watch(f"{prefix}in", recursive=True, on_history_lost="resync") as changes:
            proxy.refuse()
            proxy.cut()
            await writer.delete(f"{prefix}in/goes")
            await writer.set(f"{prefix}in/changes", "2")
            await writer.set(f"{prefix}in/comes", "1")
            await crowd(writer, f"{prefix}busy/", 1100)
            proxy.resume()
            items: list[object] = []
            async with asyncio.timeout(15):
                while not items or not isinstance(items[-1], aetcd.Resynced):
                    items.append(await anext(changes))
            found = {(item.kind, item.key.rpartition("/")[2]) for item in items if isinstance(item, aetcd.Change)}
            assert found == {("delete", "goes"), ("put", "changes"), ("put", "comes")}
            await writer.set(f"{prefix}in/after", "1")
            assert (await take(changes, 1))[0].key == f"{prefix}in/after"


async def test_an_index_that_was_never_reached(client: aetcd.Client, prefix: str) -> None:
    """A server would be silent until it gets there: the cluster was restored, or it is another one."""
    now = (await client.set(f"{prefix}key", "1", full=True)).revision
    with pytest.raises(HistoryLost, match="restored"):
        async with client.watch(f"{prefix}key", since=now + 5000):
            pass


async def test_another_cluster(client: aetcd.Client, prefix: str) -> None:
    """Its indexes do not compare: a feed that comes to one says so, whatever its index."""
    feed = V2KeySpace(client.v2, "").feed(f"{prefix}key", recursive=False, type=None)
    feed.check_cluster("cdf818194e3a8c32")
    with pytest.raises(HistoryLost, match="another cluster"):
        async with feed.open(None):
            pass
    made = await client.set(f"{prefix}key", "1", full=True)
    with pytest.raises(HistoryLost, match="another cluster"):
        async with feed.open(made.revision):
            pass
    with pytest.raises(HistoryLost, match="another cluster"):
        await feed.snapshot()


async def test_an_action_that_is_unknown(client: aetcd.Client, prefix: str) -> None:
    """It is not passed over."""
    feed = V2KeySpace(client.v2, "").feed(f"{prefix}key", recursive=False, type=None)
    event = KeysResponse(action="rename", node=V2Node(key=f"/{prefix}key", modified_index=1))
    with pytest.raises(aetcd.DecodeError, match="rename"):
        feed.change(event)


async def test_no_connection_is_left(etcd: EtcdServer, prefix: str) -> None:
    """A watch that is left drops its poll."""
    async with TCPProxy(etcd.url) as proxy, aetcd.Client(proxy.url, protocol="v2") as client:
        async with client.watch(f"{prefix}key"):
            held = proxy.connections
        await proxy.wait_for(lambda proxy: proxy.connections < held)

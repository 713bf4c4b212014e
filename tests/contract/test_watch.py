"""Watches: every change once, in order, or an error that says what was lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any

import pytest

import aetcd
from aetcd.etcd.v3 import Put
from aetcd.testing import EtcdServer, TCPProxy

Connect = Callable[..., Awaitable[aetcd.Client]]
Eventually = Callable[..., Awaitable[None]]

KEPT_BY_V2 = 1000
"""Events that a v2 server keeps, of all keys together."""


@pytest.fixture(params=["v3", "v3 alone", "v2"])
def speech(request: pytest.FixtureRequest) -> str:
    """What clients speak, and whether each watch has a connection of its own."""
    spoken: str = request.param
    return spoken


@pytest.fixture
def protocol(speech: str) -> str:
    return speech.split(maxsplit=1)[0]


@pytest.fixture
async def connect(connect: Connect, speech: str) -> Connect:
    async def make(*peers: str, **settings: Any) -> aetcd.Client:
        return await connect(*peers, **{"watch_sharing": "alone" not in speech, **settings})

    return make


async def take(changes: aetcd.Watch, count: int) -> list[aetcd.Change]:
    """The next changes, within ten seconds."""
    taken = []
    async with asyncio.timeout(10):
        for _ in range(count):
            item = await anext(changes)
            assert isinstance(item, aetcd.Change), item
            taken.append(item)
    return taken


async def write_many(client: aetcd.Client, count: int, *, key: str = "many/{:05}", at_once: int = 50) -> None:
    """Write as many keys, in groups that are on their way at once."""
    for first in range(0, count, at_once):
        await asyncio.gather(*(client.set(key.format(n), str(n)) for n in range(first, min(count, first + at_once))))


async def lose_history(client: aetcd.Client, protocol: str) -> None:
    """Have the server forget what was before, of all keys."""
    if protocol == "v3":
        last = await client.set("last", "", full=True)
        await client.v3.compact(last.revision)
    else:
        await write_many(client, KEPT_BY_V2 + 10, key="flood/{:02}")
        await client.delete("flood", recursive=True)
        for peer in client.status().peers:
            # Each member forgets by itself, when it has applied so much: all shall have come as far.
            await client.v2.get("/", quorum=True, peer=peer.url)


# Standing and order


async def test_it_stands_when_it_is_entered(client: aetcd.Client, connect: Connect, prefix: str) -> None:
    """What is written by anybody after the block was entered is seen, and nothing from before."""
    other = await connect(namespace=prefix)
    await client.set("key", "before")
    async with client.watch("key") as changes:
        await other.set("key", "after")
        (change,) = await take(changes, 1)
    assert (change.kind, change.key, change.value, change.is_create) == ("put", "key", "after", False)
    assert change.previous is not None
    assert change.previous.value == "before"


async def test_every_change_once_and_in_order(client: aetcd.Client) -> None:
    """Writes of many kinds arrive as they were made, with revisions that grow."""
    async with client.watch("", recursive=True) as changes:
        await client.create("a", "1")
        await client.set("b/c", "1")
        await client.update("a", "2")
        await client.compare_and_swap("a", "3", previous_value="2")
        await client.compare_and_delete("a", previous_value="3")
        await client.create("a", "4")
        await client.delete("b/c")
        seen = await take(changes, 7)
    assert [(change.kind, change.key, change.value) for change in seen] == [
        ("put", "a", "1"),
        ("put", "b/c", "1"),
        ("put", "a", "2"),
        ("put", "a", "3"),
        ("delete", "a", None),
        ("put", "a", "4"),
        ("delete", "b/c", None),
    ]
    assert [change.is_create for change in seen] == [True, True, False, False, False, True, False]
    before = [change.previous and change.previous.value for change in seen]
    assert before == [None, None, "1", "2", "3", None, "1"]
    revisions = [change.revision for change in seen]
    assert revisions == sorted(set(revisions))


async def test_writes_of_many_at_once(client: aetcd.Client) -> None:
    """None is lost or doubled where many write at the same moment."""
    async with client.watch("many", recursive=True) as changes:
        writing = asyncio.ensure_future(write_many(client, 200))
        seen = await take(changes, 200)
        await writing
        await client.set("many/end", "")
        (end,) = await take(changes, 1)
    assert sorted(change.key for change in seen) == [f"many/{n:05}" for n in range(200)]
    assert [change.revision for change in seen] == sorted({change.revision for change in seen})
    assert end.key == "many/end"


async def test_recursive_keeps_to_its_keys(client: aetcd.Client, protocol: str) -> None:
    """`key` and all under `key/`, and never `key2`, `key-x` or `key.`; a key alone is that key alone."""
    keys = ["key-x", "key2", "key.", "key/a", "ke", "key0/b", "key/b/c", "key3/a", "key/end", "end"]
    if protocol == "v3":
        keys.insert(2, "key")  # on v2 a directory and a key cannot have one name
    async with (
        client.watch("key", recursive=True) as under,
        client.watch("key/", recursive=True) as below,
        client.watch("key/a") as alone,
        client.watch("end") as other,
    ):
        for key in keys:
            await client.set(key, "")
        await client.set("key/a", "again")
        wanted = [key for key in keys if key == "key" or key.startswith("key/")] + ["key/a"]
        assert [change.key for change in await take(under, len(wanted))] == wanted
        inside = [key for key in wanted if key != "key"]
        assert [change.key for change in await take(below, len(inside))] == inside
        assert [change.value for change in await take(alone, 2)] == ["", "again"]
        assert [change.key for change in await take(other, 1)] == ["end"]


async def test_deletion_of_a_whole_directory(client: aetcd.Client, protocol: str) -> None:
    """On v3 each key is told, at one revision; on v2 the server tells the directory alone."""
    for key in ("dir/a", "dir/b/c", "dir2"):
        await client.set(key, "x")
    async with client.watch("dir", recursive=True) as changes:
        await client.delete("dir", recursive=True)
        await client.set("dir/end", "")
        if protocol == "v3":
            first, second, end = await take(changes, 3)
            assert {(change.kind, change.key) for change in (first, second)} == {
                ("delete", "dir/a"),
                ("delete", "dir/b/c"),
            }
            assert first.revision == second.revision
        else:
            gone, end = await take(changes, 2)
            assert (gone.kind, gone.key, gone.node.is_directory) == ("delete", "dir", True)
        assert end.key == "dir/end"


async def test_a_key_is_told_that_its_directory_went(client: aetcd.Client) -> None:
    """Whoever watches a key learns that it was deleted with all above it."""
    await client.set("dir/key", "x")
    async with client.watch("dir/key") as changes:
        await client.rmdir("dir", recursive=True)
        (gone,) = await take(changes, 1)
    assert (gone.kind, gone.key, gone.value) == ("delete", "dir/key", None)


async def test_batches(client: aetcd.Client, prefix: str, protocol: str) -> None:
    """All changes of one revision come together; on v2 each write has its own."""
    async with (
        asyncio.timeout(10),
        client.watch("", recursive=True) as changes,
        aclosing(changes.batches()) as batches,
    ):
        if protocol == "v3":
            puts = (Put(f"{prefix}{name}", name) for name in "abc")
            answer = await client.v3.txn().then(*puts)
            batch = await anext(batches)
            assert [item.key for item in batch if isinstance(item, aetcd.Change)] == ["a", "b", "c"]
            assert {item.revision for item in batch} == {answer.revision}
            assert changes.revision == answer.revision
        for name in "de":
            await client.set(name, name)
        for name in "de":
            (item,) = await anext(batches)
            assert isinstance(item, aetcd.Change)
            assert item.key == name
            assert changes.revision == item.revision


async def test_two_watches_of_one_key(client: aetcd.Client) -> None:
    """Each gives every change; the end of one is nothing to the other."""
    async with client.watch("key") as one:
        async with client.watch("key") as two:
            await client.set("key", "1")
            assert (await take(two, 1))[0].value == "1"
        await client.set("key", "2")
        assert [change.value for change in await take(one, 2)] == ["1", "2"]


# Cursors


async def test_since_is_inclusive(client: aetcd.Client) -> None:
    """The first revision asked for is the first one given."""
    first, second, third = [await client.set("key", str(n), full=True) for n in range(3)]
    for result, values in ((first, ["0", "1", "2"]), (second, ["1", "2"]), (third, ["2"])):
        async with client.watch("key", since=result.node.modified_revision) as changes:
            assert [change.value for change in await take(changes, len(values))] == values


async def test_going_on_in_another_client(client: aetcd.Client, connect: Connect, prefix: str) -> None:
    """`since=changes.revision + 1` goes on where a watch was left, wherever that is, with nothing lost or doubled."""
    other = await connect(namespace=prefix)
    seen: list[str] = []
    async with client.watch("key") as changes:
        position = changes.revision
    for n in range(12):
        await client.set("key", str(n))
    for reader in (client, other, client, other):
        async with reader.watch("key", since=position + 1) as changes:
            assert changes.revision == position
            seen += [change.value for change in await take(changes, 3)]
            position = changes.revision
    assert seen == [str(n) for n in range(12)]


async def test_leaving_in_the_middle_of_a_revision(client: aetcd.Client, prefix: str, protocol: str) -> None:
    """A revision counts once it was handed out whole: what is left of it is given again, never skipped."""
    async with client.watch("", recursive=True) as changes:
        before = changes.revision
        if protocol == "v3":
            await client.v3.txn().then(*(Put(f"{prefix}{name}", name) for name in "abc"))
        else:
            for name in "abc":
                await client.set(name, name)
        (first,) = await take(changes, 1)
        assert first.key == "a"
        position = changes.revision
    assert position == (before if protocol == "v3" else first.revision)
    async with client.watch("", recursive=True, since=position + 1) as changes:
        rest = "abc" if protocol == "v3" else "bc"
        assert [change.key for change in await take(changes, len(rest))] == list(rest)


async def test_cancelled_waiting_loses_nothing(client: aetcd.Client) -> None:
    """A reader that gives up again and again sees every change once."""
    seen: list[str] = []

    async def write() -> None:
        for n in range(50):
            await client.set("key", str(n))

    async with asyncio.timeout(20), client.watch("key") as changes:
        writing = asyncio.ensure_future(write())
        turns = 0
        while len(seen) < 50:
            reading = asyncio.ensure_future(anext(changes))
            for _ in range(turns % 7):
                await asyncio.sleep(0)
            turns += 1
            reading.cancel()
            with suppress(asyncio.CancelledError):
                item = await reading
                assert isinstance(item, aetcd.Change)
                seen.append(item.value)
            await asyncio.sleep(0)
        await writing
    assert seen == [str(n) for n in range(50)]


# What exists first


async def test_initial(client: aetcd.Client) -> None:
    """First what exists, then the marker, then changes."""
    for key in ("app/a", "app/b/c", "app2", "app-x"):
        await client.set(key, key)
    async with asyncio.timeout(10), client.watch("app", recursive=True, initial=True) as changes:
        existing = await take(changes, 2)
        marker = await anext(changes)
        assert isinstance(marker, aetcd.Synced)
        assert changes.revision == marker.revision
        await client.set("app/a", "new")
        (change,) = await take(changes, 1)
    assert [(item.kind, item.key, item.value) for item in existing] == [
        ("put", "app/a", "app/a"),
        ("put", "app/b/c", "app/b/c"),
    ]
    assert all(item.revision <= marker.revision for item in existing)
    assert (change.key, change.value) == ("app/a", "new")
    assert change.revision > marker.revision


@pytest.mark.parametrize("recursive", [True, False])
async def test_initial_of_nothing(client: aetcd.Client, recursive: bool) -> None:
    """The marker comes also where nothing exists."""
    async with asyncio.timeout(10), client.watch("missing", recursive=recursive, initial=True) as changes:
        assert isinstance(await anext(changes), aetcd.Synced)
        key = "missing/a" if recursive else "missing"
        await client.set(key, "x")
        assert [(change.key, change.is_create) for change in await take(changes, 1)] == [(key, True)]


async def test_initial_of_more_than_is_kept(client: aetcd.Client) -> None:
    """What exists may be more than the buffer holds."""
    await write_many(client, 1100)
    async with client.watch("many", recursive=True, initial=True) as changes:
        assert len(await take(changes, 1100)) == 1100
        assert isinstance(await anext(changes), aetcd.Synced)
        await client.set("many/end", "")
        assert (await take(changes, 1))[0].key == "many/end"


async def test_initial_of_one_key(client: aetcd.Client) -> None:
    """The key alone."""
    await client.set("key", "x")
    await client.set("key-2", "x")
    async with asyncio.timeout(10), client.watch("key", initial=True) as changes:
        assert [change.key for change in await take(changes, 1)] == ["key"]
        assert isinstance(await anext(changes), aetcd.Synced)


async def test_no_gap_between_what_exists_and_changes(client: aetcd.Client) -> None:
    """A counter that is written all the while is seen without a step missing or doubled, however the start falls."""
    await client.set("n", 0)
    done = False

    async def count() -> None:
        n = 0
        while not done:
            n += 1
            await client.set("n", n)

    counting = asyncio.ensure_future(count())
    try:
        for _ in range(8):
            async with asyncio.timeout(10), client.watch("n", initial=True, type=int) as changes:
                (first,) = await take(changes, 1)
                assert isinstance(await anext(changes), aetcd.Synced)
                following = await take(changes, 5)
            assert [change.value for change in following] == [first.value + step for step in range(1, 6)]
    finally:
        done = True
        await counting


# wait()


async def test_wait(client: aetcd.Client) -> None:
    """The next change of a key, and what came already where it is asked for."""
    waiting = asyncio.ensure_future(client.wait("key", timeout=10))
    while not any(watch.state == "live" for watch in client.status().watches):
        await asyncio.sleep(0.005)
    await client.set("key", "1")
    change = await waiting
    assert (change.kind, change.value) == ("put", "1")
    assert (await client.wait("key", since=change.revision, timeout=10)).value == "1"
    assert (await client.wait("", recursive=True, since=change.revision, timeout=10, type=int)).value == 1
    assert client.status().watches == []


async def test_wait_in_vain(client: aetcd.Client) -> None:
    """It raises RequestTimeout, and leaves no watch."""
    with pytest.raises(aetcd.RequestTimeout, match="'key'"):
        await client.wait("key", timeout=0.2)
    with pytest.raises(TimeoutError):
        await client.wait("key", timeout=aetcd.Timeout(0.2))
    assert client.status().watches == []


# Lost history


async def test_history_that_is_gone(client: aetcd.Client, protocol: str) -> None:
    """HistoryLost, with the first revision that can still be had."""
    first = await client.set("key", "1", full=True)
    await client.set("key", "2")
    await lose_history(client, protocol)
    with pytest.raises(aetcd.HistoryLost) as caught:
        async with client.watch("key", since=first.node.modified_revision) as changes:
            await take(changes, 1)
    assert caught.value.first_available is not None
    assert caught.value.first_available > first.node.modified_revision
    async with client.watch("key", since=caught.value.first_available) as changes:
        await client.set("key", "3")
        assert (await take(changes, 1))[0].value == "3"


@pytest.mark.parametrize("on_history_lost", ["raise", "resync"])
async def test_history_lost_while_it_was_away(
    connect: Connect, client: aetcd.Client, etcd: EtcdServer, prefix: str, protocol: str, on_history_lost: str
) -> None:
    """A watch whose connection broke for too long raises, or gives the difference, deletions included, and goes on."""
    async with TCPProxy(etcd.url) as proxy:
        far = await connect(proxy.url, namespace=prefix)
        for key in ("app/kept", "app/changed", "app/gone", "app/dir/gone", "app2"):
            await client.set(key, "old")
        async with far.watch("app", recursive=True, on_history_lost=on_history_lost) as changes:
            await client.set("app/kept", "seen")
            assert (await take(changes, 1))[0].value == "seen"
            proxy.refuse()
            proxy.cut()
            await client.set("app/changed", "between")
            await client.set("app/changed", "new")
            await client.delete("app/gone")
            await client.rmdir("app/dir", recursive=True)
            await client.set("app/made", "new")
            await client.set("app2", "new")
            await lose_history(client, protocol)
            proxy.resume()
            if on_history_lost == "raise":
                with pytest.raises(aetcd.HistoryLost):
                    await take(changes, 1)
                return
            difference = await take(changes, 4)
            marker = await anext(changes)
            await client.set("app/kept", "after")
            (after,) = await take(changes, 1)
            assert isinstance(marker, aetcd.Resynced)
            assert after.revision > marker.revision
            position = changes.revision
        assert {(change.kind, change.key, change.value) for change in difference} == {
            ("put", "app/changed", "new"),
            ("put", "app/made", "new"),
            ("delete", "app/gone", None),
            ("delete", "app/dir/gone", None),
        }
        assert (after.key, after.value) == ("app/kept", "after")
        assert position == after.revision


# Broken connections and slow readers


async def test_cut_connections(
    connect: Connect, client: aetcd.Client, etcd: EtcdServer, prefix: str, eventually: Eventually
) -> None:
    """Nothing is lost or doubled, however often and wherever the connection breaks."""
    async with TCPProxy(etcd.url) as proxy:
        far = await connect(proxy.url, namespace=prefix)
        async with far.watch("n", recursive=True) as changes:
            for n in range(60):
                if n % 12 == 5:
                    proxy.cut()
                await client.set(f"n/{n % 3}", str(n))
            proxy.cut_after(received=50)
            for n in range(60, 90):
                await client.set(f"n/{n % 3}", str(n))
            seen = await take(changes, 90)
            await client.set("n/end", "end")
            assert (await take(changes, 1))[0].value == "end"
    assert [change.value for change in seen] == [str(n) for n in range(90)]


async def test_a_slow_reader(client: aetcd.Client, eventually: Eventually) -> None:
    """It slows its own watch, which keeps at most 1,000 changes for it, and nobody else's; it loses nothing."""
    total = 1200
    async with client.watch("many", recursive=True) as slow, client.watch("many", recursive=True) as quick:
        seen: list[aetcd.Change] = []
        for n in range(0, total, 100):
            # In steps, since a v2 server forgets what a reader that is 1,000 changes behind has not had.
            await write_many(client, 100, key=f"many/{n:04}-{{:02}}")
            seen += await take(quick, 100)
        await eventually(lambda: slow.status().lag > 900)
        for _ in range(20):
            await asyncio.sleep(0.005)
            assert slow.status().lag <= 1000
        assert quick.status().lag == 0
        later = await take(slow, total)
    assert [change.key for change in later] == [change.key for change in seen]
    assert len({change.key for change in later}) == total


async def test_a_slow_reader_of_large_values(client: aetcd.Client, eventually: Eventually) -> None:
    """At most 16 MiB of values are kept for it, those that stood there before included; it loses nothing."""
    total, size = 30, 1_000_000
    async with client.watch("big") as slow, client.watch("big") as quick:
        for n in range(total):
            await client.set("big", f"{n:02}" * (size // 2))
            await take(quick, 1)
        await eventually(lambda: slow.status().lag >= 8)
        assert slow.status().lag <= 16
        later = await take(slow, total)
    assert [change.raw[:2] for change in later if change.raw] == [b"%02d" % n for n in range(total)]


# Life


async def test_closing_the_client_ends_it(connect: Connect) -> None:
    """Whoever waits for a change gets ClientClosed."""
    client = await connect()
    async with client.watch("key") as changes:
        waiting = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0)
        await client.aclose()
        with pytest.raises(aetcd.ClientClosed):
            await waiting
        with pytest.raises(aetcd.ClientClosed):
            await anext(changes)
    with pytest.raises(aetcd.ClientClosed):
        async with client.watch("key"):
            pass


async def test_reading_outside_its_block(client: aetcd.Client) -> None:
    """WatchError, before the block and after it."""
    changes = client.watch("key")
    with pytest.raises(aetcd.WatchError):
        await anext(changes)
    async with changes:
        pass
    with pytest.raises(aetcd.WatchError):
        await anext(changes)
    with pytest.raises(aetcd.WatchError):
        async with changes:
            pass


async def test_a_server_that_is_down(connect: Connect) -> None:
    """Entering raises within the client's timeout, and leaves no watch."""
    async with TCPProxy("127.0.0.1:1") as proxy:
        proxy.refuse()
        client = await connect(proxy.url, timeout=0.5)
        with pytest.raises(aetcd.TransportError):
            async with client.watch("key"):
                pass
        assert client.status().watches == []


async def test_how_it_is(client: aetcd.Client, eventually: Eventually) -> None:
    """`status()` and `repr` tell its name, state, position and lag."""
    async with client.watch("app", recursive=True) as changes:
        assert "'app'" in repr(changes)
        assert "live" in repr(changes)
        written = [await client.set("app/x", "1", full=True) for _ in range(3)]
        await eventually(lambda: changes.status().lag == 3)
        (status,) = client.status().watches
        assert (status.name, status.state, status.last_error) == ("app", "live", None)
        assert status.revision < written[0].revision
        await take(changes, 2)
        assert changes.status().lag == 1
        assert changes.status().revision == written[1].node.modified_revision
    assert client.status().watches == []
    assert changes.status().state == "ended"


async def test_an_error_in_the_block(client: aetcd.Client) -> None:
    """It reaches the caller as it is."""
    with pytest.raises(LookupError, match="mine"):
        async with client.watch("key"):
            raise LookupError("mine")
    assert client.status().watches == []

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

import aetcd
from aetcd._transport.channel import Channel
from aetcd._trust import Trust
from aetcd._wire.message import Request
from aetcd.errors import KeyExists, NotOwner, OutcomeUnknown, SessionLost
from aetcd.etcd._entries import Entry
from aetcd.etcd.v2 import V2, KeysResponse
from aetcd.etcd.v2._keyspace import V2KeySpace
from aetcd.etcd.v2._session import V2Lease
from aetcd.etcd.v2._store import V2Store
from aetcd.testing import EtcdServer, TCPProxy


@pytest.fixture
async def client(etcd: EtcdServer) -> AsyncIterator[aetcd.Client]:
    async with aetcd.Client(etcd.url, protocol="v2") as client:
        yield client


@pytest.fixture
def store(client: aetcd.Client) -> V2Store:
    return V2Store(V2KeySpace(client.v2, ""))


@pytest.fixture
def slow_lease(client: aetcd.Client) -> V2Lease:
    """One that only the test renews."""
    return V2KeySpace(client.v2, "").lease()


def clock() -> float:
    return asyncio.get_running_loop().time()


async def until(condition: Callable[[], Awaitable[bool]], within: float = 15.0) -> None:
    async with asyncio.timeout(within):
        while not await condition():
            await asyncio.sleep(0.02)


# Keys of a session


async def test_keys_live_while_it_lives(client: aetcd.Client, prefix: str) -> None:
    """Past several TTLs, unchanged and unseen by watchers; and no longer than it does."""
    async with client.session(ttl=2) as session:
        made = await client.set(f"{prefix}a", "1", session=session, full=True)
        await client.create(f"{prefix}b", "2", session=session)
        async with client.watch(prefix, recursive=True) as changes:
            started = clock()

            async def three_lives() -> bool:
                assert session.held
                return clock() - started > 6.5

            await until(three_lives)
            kept = await client.get(f"{prefix}a", full=True)
            assert kept is not None
            assert kept.node.created_revision == made.node.created_revision
            assert kept.node.value == "1"
            assert changes.status().lag == 0
    assert not await client.exists(f"{prefix}a")
    assert not await client.exists(f"{prefix}b")


async def test_a_short_one_is_granted_more(client: aetcd.Client) -> None:
    """Of one second the clock skew would leave nothing."""
    async with client.session(ttl=1) as session:
        assert session.granted_ttl == 2
        assert session.held


async def test_overlapping_renewals(client: aetcd.Client, slow_lease: V2Lease, prefix: str) -> None:
    """Each moves the index that the others compare with, and all succeed."""
    await slow_lease.begin(30)
    for n in range(3):
        await _set(client, slow_lease, f"/{prefix}{n}")
    trust = Trust(clock)
    before = clock()
    await asyncio.gather(*(slow_lease.renew(trust, None, 10.0) for _ in range(8)))
    assert trust.until >= before + 30
    await slow_lease.end()
    assert not await client.exists(f"{prefix}0")


async def test_a_renewal_whose_answer_was_lost(etcd: EtcdServer, prefix: str) -> None:
    """The next one finds the index that it left."""
    async with TCPProxy(etcd.url) as proxy, aetcd.Client(proxy.url, protocol="v2") as client:
        lease = V2KeySpace(client.v2, "").lease()
        await lease.begin(30)
        await _set(client, lease, f"/{prefix}key")
        trap = proxy.cut_after(received=0, match=b"refresh=true")
        trust = Trust(clock)
        with pytest.raises(OutcomeUnknown):
            await lease.renew(trust, None, 5.0)
        assert trap is not None
        assert not trust.held
        await lease.renew(trust, None, 5.0)
        assert trust.held
        await lease.end()
        assert not await client.exists(f"{prefix}key")


async def test_trust_is_in_the_weakest_key(client: aetcd.Client, prefix: str) -> None:
    """It is not confirmed while one of the keys is not."""
    failing: set[str] = set()

    class Channels(Channel):
        async def send(self, request: Request, **settings: object) -> object:  # type: ignore[override]
            if request.path.rpartition("/")[2] in failing:
                raise OutcomeUnknown("no answer")
            return await super().send(request, **settings)  # type: ignore[arg-type]

    v2 = V2(Channels(client._pool, client.v2._channel.auth))
    lease = V2KeySpace(v2, "").lease()
    await lease.begin(30)
    for name in ("first", "last"):
        await _set(client, lease, f"/{prefix}{name}")
    trust = Trust(clock)
    failing.add("last")
    with pytest.raises(OutcomeUnknown):
        await lease.renew(trust, None, 5.0)
    assert not trust.held
    failing.clear()
    await lease.renew(trust, None, 5.0)
    assert trust.held
    await lease.end()


async def test_a_key_on_its_way_during_a_renewal(client: aetcd.Client, slow_lease: V2Lease, prefix: str) -> None:
    """The renewal did not know of it, and so it is refreshed before it counts as kept."""
    await slow_lease.begin(30)
    trust = Trust(clock)
    path = f"/{prefix}key"

    async def write() -> KeysResponse:
        answer = await client.v2.set(path, "v", ttl=30)
        await slow_lease.renew(trust, None, 5.0)
        return answer

    made = await slow_lease.hold(path, write)
    now = await client.get(path, full=True)
    assert now is not None
    assert now.node.modified_revision > made.the_node.modified_index
    await slow_lease.end()


@pytest.mark.parametrize("how", ["delete", "set", "update"])
async def test_a_key_taken_out_of_it(client: aetcd.Client, prefix: str, how: str) -> None:
    """Deleted or written without the session it is no longer its own, as on v3: the session goes on without it."""
    key = f"{prefix}key"
    async with client.session(ttl=2) as session:
        await client.set(key, "1", session=session)
        await client.set(f"{prefix}other", "1", session=session)
        await (client.delete(key) if how == "delete" else getattr(client, how)(key, "2"))
        started = clock()

        async def a_life() -> bool:
            return clock() - started > 2.5

        await until(a_life)
        assert session.held
        assert await client.exists(f"{prefix}other")
    assert await client.get(key) == (None if how == "delete" else "2")


async def test_create_of_a_key_that_is_there(client: aetcd.Client, prefix: str) -> None:
    """It stays what it was, also when the session ends."""
    await client.set(f"{prefix}key", "1")
    async with client.session(ttl=5) as session:
        with pytest.raises(KeyExists):
            await client.create(f"{prefix}key", "2", session=session)
    assert await client.get(f"{prefix}key") == "1"


async def test_trust_ends_with_the_servers(etcd: EtcdServer, prefix: str) -> None:
    """Cut off, a session is lost before its keys expire, and not before it must be."""
    async with (
        TCPProxy(etcd.url) as proxy,
        aetcd.Client(proxy.url, protocol="v2") as client,
        aetcd.Client(etcd.url, protocol="v2") as other,
        client.session(ttl=4) as session,
    ):
        await client.set(f"{prefix}key", "1", session=session)
        proxy.stall()
        cut = clock()
        async with asyncio.timeout(10):
            await session.lost.wait()
        assert 1.5 < clock() - cut < 3.5
        assert not session.held
        assert await other.exists(f"{prefix}key")
        with pytest.raises(SessionLost):
            await client.set(f"{prefix}late", "1", session=session)
        proxy.resume()


# Entries


async def test_a_queue(client: aetcd.Client, store: V2Store, prefix: str) -> None:
    """Entries in order of creation, without what is hidden or a directory; an empty one has a revision too."""
    before = await client.set(f"{prefix}x", "1", full=True)
    empty = await store.queue(f"{prefix}q")
    assert (list(empty.entries), empty.revision) == ([], before.revision)
    async with client.session(ttl=10) as session:
        entries = [await store.enter(f"{prefix}q", str(n).encode(), session) for n in range(12)]
        await client.v2.set(f"/{prefix}q/_hidden", "x")
        await client.mkdir(f"{prefix}q/directory")
        queue = await store.queue(f"{prefix}q")
        assert list(queue.entries) == entries
        assert [entry.raw for entry in entries] == [str(n).encode() for n in range(12)]
        assert await store.leave(entries[0], session)
        assert not await store.leave(entries[0], session)
        assert list((await store.queue(f"{prefix}q")).entries) == entries[1:]
    assert not (await store.queue(f"{prefix}q")).entries


async def test_entering_when_the_answer_is_lost(etcd: EtcdServer, prefix: str) -> None:
    """The entry is found again under its name, and there is one of it."""
    async with TCPProxy(etcd.url) as proxy, aetcd.Client(proxy.url, protocol="v2") as client:
        store = V2Store(V2KeySpace(client.v2, ""))
        async with client.session(ttl=10) as session:
            proxy.cut_after(received=0, match=b"prevExist=false")
            entry = await store.enter(f"{prefix}q", b"mine", session)
            (found,) = (await store.queue(f"{prefix}q")).entries
            # A renewal may have moved its index already.
            assert (found.key, found.raw, found.created_revision) == (entry.key, b"mine", entry.created_revision)
        assert not (await store.queue(f"{prefix}q")).entries


async def test_swap_among_renewals(client: aetcd.Client, store: V2Store, slow_lease: V2Lease, prefix: str) -> None:
    """It keeps the creation index, whatever the index was moved to."""
    async with client.session(ttl=20) as session:
        entry: Entry = await store.enter(f"{prefix}q", b"0", session)
        lease = session.require()
        trust = Trust(clock)
        for n in range(1, 10):
            swapped, *_ = await asyncio.gather(
                store.swap(entry, str(n).encode(), session),
                *(lease.renew(trust, None, 5.0) for _ in range(3)),
            )
            assert (swapped.created_revision, swapped.raw) == (entry.created_revision, str(n).encode())
        assert [found.raw for found in (await store.queue(f"{prefix}q")).entries] == [b"9"]
        await client.delete(entry.key)
        with pytest.raises(NotOwner):
            await store.swap(entry, b"late", session)
        assert not await client.exists(entry.key)


@pytest.mark.parametrize("how", ["delete", "replace"])
async def test_an_entry_that_is_gone(client: aetcd.Client, store: V2Store, prefix: str, how: str) -> None:
    """Its session is over, and does not touch what stands there now."""
    async with client.session(ttl=6) as session:
        entry = await store.enter(f"{prefix}q", b"", session)
        await (client.delete(entry.key) if how == "delete" else client.set(entry.key, "foreign"))
        async with asyncio.timeout(3):
            await session.lost.wait()
        with pytest.raises(SessionLost):
            session.require()
    assert await client.get(entry.key) == (None if how == "delete" else "foreign")


async def test_cancelled_entering_leaves_nothing(client: aetcd.Client, store: V2Store, prefix: str) -> None:
    """At whichever step: once the session is closed, nothing stands in the queue."""
    cancelled = 0
    for steps in itertools.chain(range(30), range(30, 100, 10)):
        async with client.session(ttl=30) as session:
            entering = asyncio.ensure_future(store.enter(f"{prefix}q", b"", session))
            for _ in range(steps):
                await asyncio.sleep(0)
            entering.cancel()
            await asyncio.wait([entering])
            cancelled += entering.cancelled()
        assert not (await store.queue(f"{prefix}q")).entries, steps
    assert cancelled >= 3  # how many steps it takes depends on how much each turn of the loop brings


async def test_a_session_of_another_protocol(etcd: EtcdServer, client: aetcd.Client, prefix: str) -> None:
    """It cannot keep keys of this one."""
    async with aetcd.Client(etcd.url, protocol="v3") as other, other.session(ttl=5) as session:
        with pytest.raises(TypeError, match="session"):
            await client.set(f"{prefix}key", "1", session=session)


async def _set(client: aetcd.Client, lease: V2Lease, path: str) -> None:
    await lease.hold(path, lambda: client.v2.set(path, "v", ttl=lease.ttl))

"""Read-write locks: readers together, a writer alone, in order of arrival."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

import pytest

import aetcd
from aetcd.etcd.v3 import Put
from aetcd.recipes._rwlock import READ, WRITE, shared

Eventually = Callable[..., Awaitable[None]]


async def places(client: aetcd.Client) -> Sequence[str]:
    return [entry.key for entry in (await client._store().queue("job")).entries]


async def until_queued(client: aetcd.Client, count: int) -> None:
    async with asyncio.timeout(10):
        while len(await places(client)) != count:
            await asyncio.sleep(0.005)


async def stopped(*tasks: asyncio.Future[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


class Stand:
    """An entry, as far as a rule looks at it."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw


@pytest.mark.parametrize(
    ("queue", "owning"),
    [("", 0), ("r", 1), ("rrr", 3), ("w", 1), ("wrr", 1), ("rrwr", 2), ("ww", 1), ("?rr", 1), ("r?r", 1)],
)
def test_the_rule(queue: str, owning: int) -> None:
    """Readers up to the first who is none own together; any other, a lock's entry too, alone."""
    said = {"r": READ, "w": WRITE, "?": b""}
    assert shared([Stand(said[one]) for one in queue]) == owning


async def test_readers_share(client: aetcd.Client, other: aetcd.Client) -> None:
    """Readers of two clients hold it at the same time, each with a token of its own."""
    async with (
        asyncio.timeout(10),
        client.rwlock("job").read() as one,
        other.rwlock("job", timeout=0).read() as two,
    ):
        assert one.held
        assert two.held
        assert one.fencing_token < two.fencing_token
        holders = await client.rwlock("job").holders()
        assert [(holder.value, holder.revision) for holder in holders] == [
            ("read", one.fencing_token),
            ("read", two.fencing_token),
        ]
    assert await client.rwlock("job").holders() == []


@pytest.mark.parametrize(("holds", "wants"), [("write", "write"), ("write", "read"), ("read", "write")])
async def test_a_writer_is_alone(client: aetcd.Client, other: aetcd.Client, holds: str, wants: str) -> None:
    """With another writer, and with a reader, whichever was first; it is had when the first has left."""
    async with asyncio.timeout(10):
        async with getattr(client.rwlock("job"), holds)() as first:
            with pytest.raises(aetcd.LockTimeout):
                await getattr(other.rwlock("job"), wants)().acquire(timeout=0)
            assert len(await places(client)) == 1
            second = getattr(other.rwlock("job"), wants)()
            waiting = asyncio.ensure_future(second.acquire())
            await until_queued(client, 2)
            assert not waiting.done()
            token = first.fencing_token
        await waiting
        assert second.held
        assert second.fencing_token > token
        assert [holder.value for holder in await client.rwlock("job").holders()] == [wants]
        await second.release()


async def test_a_waiting_writer_holds_later_readers_back(client: aetcd.Client, other: aetcd.Client) -> None:
    """So that readers who come and go never starve it; then the readers behind it come in together."""
    order: list[str] = []
    together = asyncio.Event()
    inside = 0

    async def write() -> None:
        async with other.rwlock("job").write():
            order.append("write")

    async def read(client: aetcd.Client) -> None:
        nonlocal inside
        async with client.rwlock("job").read():
            order.append("read")
            inside += 1
            if inside == 2:
                together.set()
            await together.wait()

    async with asyncio.timeout(20):
        async with client.rwlock("job").read():
            tasks = [asyncio.ensure_future(write())]
            await until_queued(client, 2)
            for reader in (client, other):
                tasks.append(asyncio.ensure_future(read(reader)))
                await until_queued(client, len(tasks) + 1)
            contenders = await client.rwlock("job").contenders()
            assert [contender.value for contender in contenders] == ["read", "write", "read", "read"]
            with pytest.raises(aetcd.LockTimeout):
                await other.rwlock("job").read().acquire(timeout=0)
            assert order == []
        await asyncio.gather(*tasks)
    assert order == ["write", "read", "read"]


async def test_readers_behind_a_writer_that_gave_up(client: aetcd.Client) -> None:
    """They need not wait for the holder any more."""
    async with asyncio.timeout(10), client.rwlock("job").read():
        writing = asyncio.ensure_future(client.rwlock("job").write().acquire())
        await until_queued(client, 2)
        reader = client.rwlock("job").read()
        reading = asyncio.ensure_future(reader.acquire())
        await until_queued(client, 3)
        await stopped(writing)
        await reading
        assert reader.held
        await reader.release()


async def test_a_crowd_of_readers_and_writers(client: aetcd.Client, other: aetcd.Client) -> None:
    """At no moment is a writer with anybody else, and all get through, in order of their tokens."""
    chance = random.Random(7)
    readers = writers = 0
    begun: list[int] = []

    async def use(client: aetcd.Client, side: str) -> None:
        nonlocal readers, writers
        async with getattr(client.rwlock("job"), side)() as held:
            begun.append(held.fencing_token)
            readers, writers = readers + (side == "read"), writers + (side == "write")
            assert writers == 0 or (writers, readers) == (1, 0)
            await asyncio.sleep(0.002)
            readers, writers = readers - (side == "read"), writers - (side == "write")

    sides = [chance.choice(["read", "read", "write"]) for _ in range(24)]
    async with asyncio.timeout(60):
        await asyncio.gather(*(use((client, other)[n % 2], side) for n, side in enumerate(sides)))
    assert len(set(begun)) == len(sides)
    assert await places(client) == []


async def test_a_lock_of_the_same_name(client: aetcd.Client) -> None:
    """To it all who are in the queue are contenders, and to readers it is a writer."""
    async with asyncio.timeout(10):
        async with client.lock("job"):
            for side in (client.rwlock("job").read(), client.rwlock("job").write()):
                with pytest.raises(aetcd.LockTimeout):
                    await side.acquire(timeout=0)
        async with client.rwlock("job").read(), client.rwlock("job").read():
            with pytest.raises(aetcd.LockTimeout):
                await client.lock("job").acquire(timeout=0)


async def test_one_side_at_a_time(client: aetcd.Client) -> None:
    """A task that has a side of it is told at once that it cannot have the other, nor the same again."""
    lock = client.rwlock("job")
    async with asyncio.timeout(10):
        for mine, others in ((lock.read(), lock.write()), (lock.write(), lock.read())):
            async with mine as held:
                for side in (mine, others):
                    with pytest.raises(aetcd.CoordinationError, match="re-entrant"):
                        await side.acquire()
                assert held.held
                assert not others.held
                with pytest.raises(aetcd.NotOwner):
                    await others.release()
                assert len(await places(client)) == 1


@pytest.mark.parametrize("side", ["read", "write"])
async def test_a_guarded_write(client: aetcd.Client, protocol: str, side: str) -> None:
    """Both sides guard writes to the cluster; on v2 there are none."""
    async with asyncio.timeout(10), getattr(client.rwlock("job"), side)() as held:
        guarded = held.guarded(client.v3.txn().then(Put(f"{client._namespace}state", "done")))
        if protocol == "v2":
            with pytest.raises(aetcd.Unsupported):
                await guarded
        else:
            assert (await guarded).succeeded
            assert await client.get("state") == "done"


@pytest.mark.parametrize("how", ["deleted", "revoked"])
@pytest.mark.parametrize("side", ["read", "write"])
async def test_a_side_that_is_lost(client: aetcd.Client, side: str, how: str) -> None:
    """Its block is cancelled and LockLost raised; the other reader's is not."""

    async def hold() -> None:
        async with asyncio.timeout(10), getattr(client.rwlock("job"), side)():
            (key,) = [key for key in await places(client) if key not in others]
            found = await client.get(key, full=True)
            if how == "revoked" and found.node.lease is not None:
                await client.v3.lease.revoke(found.node.lease)
            else:
                await client.delete(key)
            await asyncio.Event().wait()

    others: list[str] = []
    if side == "read":
        async with client.rwlock("job").read() as reader:
            others += await places(client)
            with pytest.raises(aetcd.LockLost, match="read lock 'job'"):
                await asyncio.ensure_future(hold())
            assert reader.held
    else:
        with pytest.raises(aetcd.LockLost, match="write lock 'job'"):
            await hold()
    assert await places(client) == []


async def test_a_loss_that_is_only_flagged(client: aetcd.Client) -> None:
    """With `on_lost="flag"` the block goes on."""
    async with asyncio.timeout(10), client.rwlock("job", on_lost="flag").write() as held:
        await client.delete((await places(client))[0])
        await held.lost.wait()
        assert not held.held
        await asyncio.sleep(0)


@pytest.mark.parametrize("side", ["read", "write"])
@pytest.mark.parametrize("is_free", [True, False], ids=["free", "held"])
async def test_cancelled_acquire_leaves_no_orphan(client: aetcd.Client, side: str, is_free: bool) -> None:
    """At whichever step a contender gives up, it does not stand in the queue afterwards."""
    holder = client.rwlock("job").write()
    if not is_free:
        await holder.acquire()
    before = await places(client)
    gave_up = 0
    for steps in (*range(30), *range(30, 120, 6), *range(120, 500, 40)):
        contender = getattr(client.rwlock("job", ttl=60), side)()
        acquiring = asyncio.ensure_future(contender.acquire())
        for _ in range(steps):
            await asyncio.sleep(0)
        if acquiring.done():
            await contender.release()
        else:
            gave_up += 1
            await stopped(acquiring)
        assert await places(client) == before, f"after {steps} steps"
    assert gave_up >= 3
    if not is_free:
        await holder.release()


async def test_what_is_shown(client: aetcd.Client) -> None:
    """Its name, and of each side whether it is held."""
    lock = client.rwlock("job", ttl=20)
    assert repr(lock) == "<RWLock 'job' ttl=20>"
    assert repr(lock.read()) == "<ReadLock 'job' not held ttl=20>"
    async with lock.write():
        assert repr(lock.write()) == "<WriteLock 'job' held ttl=20>"
        assert repr(lock.read()) == "<ReadLock 'job' not held ttl=20>"

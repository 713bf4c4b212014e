"""The lock: whose a hold is, what it protects, and what is left when it goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

import aetcd
from aetcd.etcd.v3 import Get, Put, Txn, Value
from aetcd.recipes import _berths

Connect = Callable[..., Awaitable[aetcd.Client]]
Eventually = Callable[..., Awaitable[None]]


async def places(client: aetcd.Client, name: str) -> Sequence[str]:
    """The keys of those who stand in a queue, the first of them in front."""
    return [entry.key for entry in (await client._store().queue(name)).entries]


async def until_queued(client: aetcd.Client, name: str, count: int) -> None:
    async with asyncio.timeout(10):
        while len(await places(client, name)) != count:
            await asyncio.sleep(0.005)


async def revoked(client: aetcd.Client, key: str) -> None:
    """As an administrator ends whatever a key is tied to; v2 has no leases, so there the key itself."""
    found = await client.get(key, full=True)
    if found.node.lease is None:
        await client.delete(key)
    else:
        await client.v3.lease.revoke(found.node.lease)


# Who is there


async def test_who_holds_and_who_waits(client: aetcd.Client, other: aetcd.Client) -> None:
    """`holder()` tells the one in front, `contenders()` all in their order; nobody and nothing of a free lock."""
    lock = client.lock("job")
    assert await lock.holder() is None
    assert await lock.contenders() == []
    async with asyncio.timeout(10), lock:
        waiting = asyncio.ensure_future(other.lock("job").acquire())
        await until_queued(client, "job", 2)
        holder = await other.lock("job").holder()
        assert holder is not None
        assert holder.revision == lock.fencing_token
        assert holder.name == (await places(client, "job"))[0]
        assert holder.value == ""
        contenders = await other.lock("job").contenders()
        assert [contender.name for contender in contenders] == await places(client, "job")
        assert contenders[0] == holder
        waiting.cancel()
        await asyncio.wait([waiting])
    assert await lock.holder() is None


# Whose it is


async def test_a_task_is_not_shown_the_hold_of_another(client: aetcd.Client) -> None:
    """One object in two tasks: who does not hold it has no token, and cannot release it."""
    lock = client.lock("job")
    seen: list[object] = []
    go = asyncio.Event()

    async def stranger() -> None:
        await go.wait()
        seen.append(lock.held)
        for use in (lambda: lock.fencing_token, lambda: lock.lost, lambda: lock.guarded(None)):
            with pytest.raises(aetcd.NotOwner, match="job"):
                use()
        with pytest.raises(aetcd.NotOwner):
            await lock.release()
        with pytest.raises(aetcd.LockTimeout):
            await lock.acquire(timeout=0)
        seen.append(lock.held)

    other = asyncio.ensure_future(stranger())
    async with asyncio.timeout(10), lock:
        go.set()
        await other
        assert seen == [False, False]
        assert lock.held


async def test_tasks_of_one_object_have_tokens_of_their_own(client: aetcd.Client) -> None:
    """Each task is shown its own hold, also while the others wait."""
    lock = client.lock("job")
    tokens: list[int] = []

    async def use() -> None:
        async with lock:
            tokens.append(lock.fencing_token)
            await asyncio.sleep(0)
            assert tokens[-1] == lock.fencing_token

    async with asyncio.timeout(20):
        await asyncio.gather(*(use() for _ in range(6)))
    assert tokens == sorted(set(tokens))


async def test_what_a_block_begins_may_use_its_hold(client: aetcd.Client) -> None:
    """The tasks that are begun inside the block see the holder's token and its loss."""
    lock = client.lock("job")

    async def helper() -> tuple[bool, int, bool]:
        return lock.held, lock.fencing_token, lock.lost.is_set()

    async with asyncio.timeout(10), lock:
        waiting = asyncio.ensure_future(client.lock("job").acquire())
        assert await asyncio.gather(helper(), helper()) == [(True, lock.fencing_token, False)] * 2
        waiting.cancel()
        await asyncio.wait([waiting])


async def test_a_hold_that_its_task_left_behind(client: aetcd.Client) -> None:
    """Where the task that acquired it has ended, as that of a test's fixture has, any other may release it."""
    lock = client.lock("job")
    await asyncio.ensure_future(lock.acquire())
    assert lock.held
    assert lock.fencing_token > 0
    await lock.release()
    assert await places(client, "job") == []


# What it protects


async def test_a_guarded_write(client: aetcd.Client, protocol: str) -> None:
    """It is done while the lock is held, and answers what the transaction alone would; v2 has nothing of the kind."""
    async with asyncio.timeout(10), client.lock("job") as lock:
        if protocol == "v2":
            with pytest.raises(aetcd.Unsupported, match="fencing token"):
                await lock.guarded(client.v3.txn().then(Put("state", "done")))
            return
        key = client._chosen.space.server_key("state")
        result = await lock.guarded(client.v3.txn().then(Put(key, "done"), Get(key)))
        assert result.succeeded
        assert result.revision > lock.fencing_token
        assert result.results[1].kvs[0].value == b"done"
        again = await lock.guarded(Txn(when=(Value(key) == "else",), then=(Put(key, "lost"),))).commit()
        assert not again.succeeded
        assert not lock.lost
        assert await client.get("state") == "done"
        with pytest.raises(TypeError, match="txn"):
            await lock.guarded("nonsense")


@pytest.mark.parametrize("protocol", ["v3"])
async def test_a_guarded_write_of_one_who_holds_it_no_longer(client: aetcd.Client) -> None:
    """LockLost: nothing is written, and the block knows at once, before any watch has told it."""
    key = f"{client._namespace}state"
    lock = client.lock("job", on_lost="flag")
    await lock.acquire()
    guarded = lock.guarded(client.v3.txn().then(Put(key, "done")))
    client._store().shared.clear()  # as if the watch were far behind
    lock._holding().contender._line._places.clear()
    await client.delete((await places(client, "job"))[0])
    assert lock.held
    with pytest.raises(aetcd.LockLost, match="job") as caught:
        await guarded
    assert isinstance(caught.value.__cause__, aetcd.NotOwner)
    assert lock.lost
    assert not lock.held
    assert await client.get("state") is None
    with pytest.raises(aetcd.LockLost):
        await lock.guarded(client.v3.txn().then(Put(key, "done")))
    with pytest.raises(aetcd.LockLost):
        await lock.release()


# What goes wrong


@pytest.mark.parametrize("how", ["revoked", "deleted"])
async def test_a_holder_whose_entry_is_taken_away(client: aetcd.Client, other: aetcd.Client, how: str) -> None:
    """By an administrator who revokes its lease, or deletes its key: the block is cancelled, and the next one holds."""

    async def hold() -> None:
        async with asyncio.timeout(10), client.lock("job", ttl=30):
            held.set()
            await asyncio.Event().wait()

    held = asyncio.Event()
    holding = asyncio.ensure_future(hold())
    await held.wait()
    (key,) = await places(client, "job")
    next_one = other.lock("job")
    waiting = asyncio.ensure_future(next_one.acquire())
    await until_queued(client, "job", 2)
    await (revoked(other, key) if how == "revoked" else other.delete(key))
    async with asyncio.timeout(10):
        with pytest.raises(aetcd.LockLost, match="job"):
            await holding
        await waiting
    assert next_one.held
    await next_one.release()
    assert await places(client, "job") == []


@pytest.mark.parametrize("how", ["revoked", "deleted"])
async def test_a_waiter_whose_entry_is_taken_away(client: aetcd.Client, other: aetcd.Client, how: str) -> None:
    """It is told so while it waits, does not get the lock later, and those behind it are not held up."""
    holder, last = client.lock("job"), client.lock("job")
    await holder.acquire()
    waiting = asyncio.ensure_future(client.lock("job", ttl=30).acquire())
    await until_queued(client, "job", 2)
    key = (await places(client, "job"))[1]
    behind = asyncio.ensure_future(last.acquire())
    await until_queued(client, "job", 3)
    await (revoked(other, key) if how == "revoked" else other.delete(key))
    async with asyncio.timeout(10):
        with pytest.raises(aetcd.SessionLost):
            await waiting
        await holder.release()
        await behind
    assert last.held
    await last.release()


async def test_the_whole_queue_is_deleted(client: aetcd.Client, other: aetcd.Client) -> None:
    """Holder and waiter are both told."""
    holder, waiter = client.lock("job", on_lost="flag"), client.lock("job")
    async with asyncio.timeout(10):
        await holder.acquire()
        waiting = asyncio.ensure_future(waiter.acquire())
        await until_queued(client, "job", 2)
        await other.delete("job", recursive=True)
        await holder.lost.wait()
        with pytest.raises(aetcd.SessionLost):
            await waiting
        with pytest.raises(aetcd.LockLost):
            await holder.release()
    assert await places(client, "job") == []


async def test_cancelled_release_leaves_no_orphan(client: aetcd.Client, eventually: Eventually) -> None:
    """Whoever is cancelled while it gives the lock up, at whichever step, does not stand in the queue for ever."""
    cut_short = 0
    for steps in (*range(25), *range(25, 60, 5), *range(60, 300, 60)):
        lock = client.lock("job", ttl=600)
        given_up = asyncio.Event()

        async def use(lock: aetcd.Lock, given_up: asyncio.Event) -> None:
            await lock.acquire()
            given_up.set()
            await lock.release()

        using = asyncio.ensure_future(use(lock, given_up))
        await given_up.wait()
        for _ in range(steps):
            await asyncio.sleep(0)
        cut_short += using.cancel()
        await asyncio.wait([using])

        async def gone() -> bool:
            return await places(client, "job") == []

        await eventually(gone)
    assert cut_short  # where the machine is busy, an answer is there after few turns of the loop


async def test_two_cancels_of_one_who_waits(client: aetcd.Client, eventually: Eventually) -> None:
    """The second one comes while the queue is being left because of the first."""
    async with asyncio.timeout(30), client.lock("job"):
        for steps in range(0, 40, 3):
            waiting = asyncio.ensure_future(client.lock("job", ttl=600).acquire())
            await until_queued(client, "job", 2)
            waiting.cancel()
            for _ in range(steps):
                await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
            assert waiting.cancelled()

            async def gone() -> bool:
                return len(await places(client, "job")) == 1

            await eventually(gone)


# What it costs


@pytest.mark.parametrize("protocol", ["v3"])
async def test_one_session_serves_one_contender_after_the_other(
    connect: Connect, client: aetcd.Client, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock that is taken again and again has one lease, which ends soon after the last has left."""
    monkeypatch.setattr(_berths, "LINGER", 1.0)
    before = set(await client.v3.lease.list())
    for _ in range(5):
        async with client.lock("job"):
            pass
    (lease,) = set(await client.v3.lease.list()) - before

    async def ended() -> bool:
        return lease not in await client.v3.lease.list()

    await eventually(ended)
    closing = await connect()
    async with closing.lock("job"):
        pass
    await closing.aclose()
    assert set(await client.v3.lease.list()) == before


@pytest.mark.parametrize("protocol", ["v3"])
async def test_two_who_wait_have_sessions_of_their_own(client: aetcd.Client) -> None:
    """So that the end of one takes the other's entry with it never."""
    async with asyncio.timeout(10), client.lock("job"):
        waiting = [asyncio.ensure_future(client.lock("job").acquire()) for _ in range(3)]
        await until_queued(client, "job", 4)
        found = [await client.get(key, full=True) for key in await places(client, "job")]
        assert len({result.node.lease for result in found}) == 4
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        assert len(await places(client, "job")) == 1

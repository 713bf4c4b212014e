"""Semaphores: never more than the limit, in order of arrival, and one limit for all."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

import aetcd
from aetcd.etcd.v3 import Put
from aetcd.recipes._semaphore import permitted


async def places(client: aetcd.Client) -> Sequence[str]:
    return [entry.key for entry in (await client._store().queue("job")).entries]


async def until_queued(client: aetcd.Client, count: int) -> None:
    async with asyncio.timeout(10):
        while len(await places(client)) != count:
            await asyncio.sleep(0.005)


async def stopped(task: asyncio.Future[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


class Stand:
    """An entry, as far as a rule looks at it."""

    def __init__(self, said: int | None) -> None:
        self.raw = b"" if said is None else b"permit of %d" % said


@pytest.mark.parametrize(
    ("queue", "owning"),
    [([], 0), ([2], 1), ([2, 2], 2), ([2, 2, 2], 2), ([2, 3, 2], 1), ([3, 3, 2, 3], 2), ([None, 2], 1), ([2, None], 1)],
)
def test_the_rule(queue: list[int | None], owning: int) -> None:
    """As many as the first says, and nobody behind one who says another number."""
    assert permitted([Stand(said) for said in queue]) == owning


async def test_no_more_than_the_limit(client: aetcd.Client, other: aetcd.Client) -> None:
    """Of many tasks of two clients never more than the limit are inside, and so many are at times."""
    inside = most = 0
    tokens: list[int] = []

    async def use(client: aetcd.Client) -> None:
        nonlocal inside, most
        async with client.semaphore("job", limit=3) as permit:
            tokens.append(permit.fencing_token)
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.01)
            assert permit.held
            inside -= 1

    async with asyncio.timeout(60):
        await asyncio.gather(*(use((client, other)[n % 2]) for n in range(18)))
    assert most == 3
    assert len(set(tokens)) == 18
    assert await places(client) == []


async def test_first_come_first_served(client: aetcd.Client, other: aetcd.Client) -> None:
    """Who waits gets a permit in the order of arrival, whichever of the holders leaves."""
    order: list[int] = []

    async def use(number: int) -> None:
        async with (client, other)[number % 2].semaphore("job", limit=2):
            order.append(number)
            await asyncio.sleep(0.005)

    async with asyncio.timeout(30):
        first, second = client.semaphore("job", limit=2), client.semaphore("job", limit=2)
        await first.acquire()
        await second.acquire()
        tasks = []
        for number in range(5):
            tasks.append(asyncio.ensure_future(use(number)))
            await until_queued(client, number + 3)
        assert order == []
        contenders = await client.semaphore("job", limit=2).contenders()
        assert [contender.revision for contender in contenders[:2]] == [first.fencing_token, second.fencing_token]
        assert len(contenders) == 7
        assert len(await client.semaphore("job", limit=2).holders()) == 2
        await second.release()
        await asyncio.gather(*tasks)
        await first.release()
    assert order == [0, 1, 2, 3, 4]


async def test_who_would_not_wait(client: aetcd.Client) -> None:
    """LockTimeout where all permits are taken, at once or after the time; nothing is left in the queue."""
    semaphore = client.semaphore("job", limit=1)
    async with asyncio.timeout(10), semaphore:
        for patience in (0, 0.1):
            with pytest.raises(aetcd.LockTimeout, match="job"):
                async with client.semaphore("job", limit=1, timeout=patience):
                    pytest.fail("one too many")
        assert len(await places(client)) == 1


@pytest.mark.parametrize("limit", [1, 3])
async def test_another_limit_is_refused(client: aetcd.Client, other: aetcd.Client, limit: int) -> None:
    """While somebody holds or waits, all say the same. When nobody is left, another limit may be agreed on."""
    async with asyncio.timeout(10):
        async with client.semaphore("job", limit=2):
            before = await places(client)
            with pytest.raises(aetcd.CoordinationError, match=f"limit 2, not {limit}"):
                await other.semaphore("job", limit=limit).acquire()
            assert await places(client) == before
        async with other.semaphore("job", limit=limit) as permit:
            assert permit.held


async def test_one_with_another_limit_who_was_there_first(client: aetcd.Client, other: aetcd.Client) -> None:
    """Who came when another one was in front waits for that, so that neither limit is exceeded."""
    async with asyncio.timeout(10):
        first = client.semaphore("job", limit=2)
        await first.acquire()
        store, session = other._store(), other.session(ttl=20)
        async with session:
            # Another with a limit of its own, at the moment before it is refused.
            await store.enter("job", b"permit of 5", session)
            behind = client.semaphore("job", limit=2)
            waiting = asyncio.ensure_future(behind.acquire())
            await until_queued(client, 3)
            assert len(await client.semaphore("job", limit=2).holders()) == 1
            with pytest.raises(aetcd.LockTimeout):
                await client.semaphore("job", limit=2).acquire(timeout=0)
            assert not waiting.done()
        await waiting
        assert behind.held
        await first.release()
        await behind.release()


async def test_a_name_that_is_something_else(client: aetcd.Client) -> None:
    """A lock of that name is no semaphore; CoordinationError says so."""
    async with asyncio.timeout(10), client.lock("job"):
        with pytest.raises(aetcd.CoordinationError, match="no semaphore"):
            await client.semaphore("job", limit=2).acquire()
        assert len(await places(client)) == 1


@pytest.mark.parametrize(("limit", "error"), [(0, ValueError), (-1, ValueError), (True, TypeError), (1.5, TypeError)])
async def test_bad_limits(client: aetcd.Client, limit: Any, error: type[Exception]) -> None:
    """They are refused before anything is sent, and named."""
    with pytest.raises(error, match="limit"):
        client.semaphore("job", limit=limit)


async def test_one_permit_for_each_task(client: aetcd.Client) -> None:
    """Tasks share the object and not the permit; a second one of the same task is refused."""
    semaphore = client.semaphore("job", limit=2)
    go = asyncio.Event()
    seen: list[tuple[bool, int]] = []

    async def other_task() -> None:
        await go.wait()
        assert not semaphore.held
        async with semaphore as permit:
            seen.append((permit.held, permit.fencing_token))

    task = asyncio.ensure_future(other_task())
    async with asyncio.timeout(10), semaphore as permit:
        go.set()
        await task
        assert seen[0][0]
        assert seen[0][1] > permit.fencing_token
        with pytest.raises(aetcd.CoordinationError, match="re-entrant"):
            await semaphore.acquire()
        assert permit.held


async def test_a_guarded_write(client: aetcd.Client, protocol: str) -> None:
    """A permit guards writes to the cluster; on v2 there are none."""
    async with asyncio.timeout(10), client.semaphore("job", limit=2) as permit:
        guarded = permit.guarded(client.v3.txn().then(Put(f"{client._namespace}state", "done")))
        if protocol == "v2":
            with pytest.raises(aetcd.Unsupported):
                await guarded
        else:
            assert (await guarded).succeeded
            assert await client.get("state") == "done"


@pytest.mark.parametrize("how", ["deleted", "revoked"])
async def test_a_permit_that_is_lost(client: aetcd.Client, other: aetcd.Client, how: str) -> None:
    """Its block is cancelled and LockLost raised, those of others are not, and the next in line has it."""

    async def hold() -> None:
        async with asyncio.timeout(10), client.semaphore("job", limit=2):
            held.set()
            await asyncio.Event().wait()

    held = asyncio.Event()
    async with asyncio.timeout(20), other.semaphore("job", limit=2) as permit:
        holding = asyncio.ensure_future(hold())
        await held.wait()
        key = (await places(client))[1]
        third = other.semaphore("job", limit=2)
        waiting = asyncio.ensure_future(third.acquire())
        await until_queued(client, 3)
        found = await client.get(key, full=True)
        if how == "revoked" and found.node.lease is not None:
            await client.v3.lease.revoke(found.node.lease)
        else:
            await client.delete(key)
        with pytest.raises(aetcd.LockLost, match="semaphore 'job'"):
            await holding
        await waiting
        assert permit.held
        await asyncio.ensure_future(third.release())
    assert await places(client) == []


@pytest.mark.parametrize("is_free", [True, False], ids=["free", "held"])
async def test_cancelled_acquire_leaves_no_orphan(client: aetcd.Client, is_free: bool) -> None:
    """At whichever step a contender gives up, it does not stand in the queue afterwards."""
    holder = client.semaphore("job", limit=1)
    if not is_free:
        await holder.acquire()
    before = await places(client)
    gave_up = 0
    for steps in (*range(30), *range(30, 120, 6), *range(120, 500, 40)):
        contender = client.semaphore("job", limit=1, ttl=60)
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

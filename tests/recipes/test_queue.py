"""Queues of work: in order, one worker at a time, and no item lost with its worker."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from attrs import frozen

import aetcd
from aetcd.testing import EtcdServer, TCPProxy

Connect = Callable[..., Awaitable[aetcd.Client]]
Eventually = Callable[..., Awaitable[None]]
Keys = Callable[[str], Awaitable[list[str]]]


@frozen
class Letter:
    to: str
    lines: int = 1


async def test_first_in_first_out(client: aetcd.Client, other: aetcd.Client, keys: Keys) -> None:
    """Items are claimed in order of arrival, and gone when they are done."""
    queue = client.queue("mail", type=int)
    for n in range(5):
        await (client, other)[n % 2].queue("mail").put(n)
    assert await queue.size() == 5
    done = []
    for _ in range(5):
        async with queue.claim(0) as item:
            assert item.held
            done.append(item.value)
    assert done == [0, 1, 2, 3, 4]
    assert await queue.size() == 0
    assert await keys("mail") == []


async def test_values_are_typed(client: aetcd.Client) -> None:
    """As `get` reads them; one that does not fit is named when it is read, and can be got rid of."""
    queue = client.queue("mail", type=Letter)
    await queue.put(Letter("ann", 3))
    await queue.put("not a letter")
    async with queue.claim() as item:
        assert item.value == Letter("ann", 3)
    item = await queue.get()
    assert item.raw == b"not a letter"
    with pytest.raises(aetcd.DecodeError, match=item.key):
        item.value
    await item.ack()
    await client.queue("mail").put("text")
    async with client.queue("mail").claim() as plain:
        assert plain.value == "text"


async def test_one_worker_at_a_time(client: aetcd.Client, other: aetcd.Client) -> None:
    """What one has claimed no other gets, until it is given back: then it is the first again."""
    queue = client.queue("mail")
    await queue.put("a")
    await queue.put("b")
    item = await queue.get()
    assert item.value == "a"
    second = await other.queue("mail").get()
    assert second.value == "b"
    with pytest.raises(aetcd.LockTimeout, match="mail"):
        await other.queue("mail").get(0)
    with pytest.raises(aetcd.LockTimeout, match="mail"):
        await other.queue("mail").get(0.1)
    await item.release()
    assert not item.held
    again = await other.queue("mail").get(0)
    assert again.value == "a"
    await again.ack()
    await second.ack()


async def test_a_block_that_fails_gives_it_back(client: aetcd.Client) -> None:
    """Not done is not done."""
    queue = client.queue("mail")
    await queue.put("a")
    with pytest.raises(ZeroDivisionError):
        async with queue.claim():
            1 / 0
    async with queue.claim(0) as item:
        assert item.value == "a"


async def test_waiting_for_work(client: aetcd.Client, other: aetcd.Client, eventually: Eventually) -> None:
    """A worker that waits is woken by an item, and by the end of a claim."""
    getting = asyncio.ensure_future(client.queue("mail").get(10))
    await eventually(lambda: [watch.state for watch in client.status().watches] == ["live"])
    await other.queue("mail").put("a")
    item = await getting
    waiting = asyncio.ensure_future(other.queue("mail").get(10))
    await eventually(lambda: "live" in [watch.state for watch in other.status().watches])
    await item.release()
    assert (await waiting).value == "a"


async def test_many_workers(client: aetcd.Client, other: aetcd.Client) -> None:
    """Each item is done once, whoever does it, and none is left."""
    done: list[int] = []

    async def work(queue: aetcd.WorkQueue[int]) -> None:
        while True:
            async with queue.claim() as item:
                if item.value < 0:
                    return
                done.append(item.value)

    async with asyncio.timeout(40):
        workers = [asyncio.ensure_future(work((client, other)[n % 2].queue("mail", type=int))) for n in range(4)]
        await asyncio.gather(*(client.queue("mail").put(n) for n in range(30)))
        await asyncio.gather(*(client.queue("mail").put(-1) for _ in workers))
        await asyncio.gather(*workers)
    assert sorted(done) == list(range(30))
    assert await client.queue("mail").size() == 0


async def test_iteration(client: aetcd.Client) -> None:
    """A queue is an endless iterator of claims."""
    queue = client.queue("mail", type=int)
    for n in range(3):
        await queue.put(n)
    seen = []
    async for item in queue:
        seen.append(item.value)
        await item.ack()
        if item.value == 2:
            break
    assert seen == [0, 1, 2]


async def test_the_smallest_priority_first(client: aetcd.Client) -> None:
    """And among equals the one that came first."""
    queue = client.priority_queue("mail")
    for value, priority in (("c", 5), ("d", 5), ("b", 0), ("a", -7), ("e", 2**31 - 1), ("first", -(2**31))):
        await queue.put(value, priority=priority)
    found = []
    for _ in range(6):
        async with queue.claim(0) as item:
            found.append((item.value, item.priority))
    assert [value for value, _ in found] == ["first", "a", "b", "c", "d", "e"]
    assert [priority for _, priority in found] == [-(2**31), -7, 0, 5, 5, 2**31 - 1]


@pytest.mark.parametrize("shared", [False, True], ids=["own session", "shared session"])
async def test_a_worker_that_is_cut_off(
    client: aetcd.Client, connect: Connect, etcd: EtcdServer, proxy: Callable[[str], Awaitable[TCPProxy]], shared: bool
) -> None:
    """Its item comes back when its session has ended; it is told, and cannot delete what is another's."""
    middle = await proxy(etcd.url)
    worker = await connect(middle.url)
    await client.queue("mail").put("a")
    async with worker.session(ttl=2) as session:
        item = await worker.queue("mail", ttl=2, session=session if shared else None).get()
        middle.refuse()
        middle.cut()
        async with asyncio.timeout(15):
            again = await client.queue("mail").get()
            assert again.value == "a"
            await item.lost.wait()
        assert not item.held
        middle.resume()
        with pytest.raises(aetcd.SessionLost, match="mail"):
            await item.ack()
        assert again.held
        assert await client.queue("mail").size() == 1
    await again.ack()
    assert await client.queue("mail").size() == 0


async def test_an_acknowledgement_over_a_bad_connection(
    client: aetcd.Client, connect: Connect, etcd: EtcdServer, proxy: Callable[[str], Awaitable[TCPProxy]]
) -> None:
    """It is tried again for as long as the claim lasts."""
    middle = await proxy(etcd.url)
    worker = await connect(middle.url)
    await client.queue("mail").put("a")
    item = await worker.queue("mail").get()
    middle.refuse()
    middle.cut()
    acknowledging = asyncio.ensure_future(item.ack())
    await asyncio.wait([acknowledging], timeout=0.5)
    assert not acknowledging.done()
    middle.resume()
    async with asyncio.timeout(20):
        await acknowledging
    assert await client.queue("mail").size() == 0


async def test_a_claim_that_was_taken_away(
    client: aetcd.Client, keys: Keys, end_session: Callable[[str], Awaitable[None]]
) -> None:
    """Revoked, or deleted by hand: the worker is told, and its block ends with SessionLost; the item comes back."""
    await client.queue("mail").put("a")
    for how in ("revoked", "deleted"):

        async def work(how: str) -> None:
            async with asyncio.timeout(10), client.queue("mail").claim() as item:
                (claim,) = await keys("mail/claims")
                await (end_session if how == "revoked" else client.delete)(claim)
                await item.lost.wait()
                assert not item.held

        with pytest.raises(aetcd.SessionLost, match="mail"):
            await work(how)
        assert await keys("mail/claims") == []
    async with client.queue("mail").claim(0) as item:
        assert item.value == "a"


async def test_an_item_deleted_by_hand(client: aetcd.Client, keys: Keys) -> None:
    """Is no more than gone: the one who had it is not troubled, and others never see it."""
    await client.queue("mail").put("a")
    async with client.queue("mail").claim() as item:
        await client.delete(item.key)
    assert await keys("mail") == []


async def test_workers_share_a_session(client: aetcd.Client) -> None:
    """Claims end with their own acknowledgement, and the session goes on."""
    async with client.session(ttl=30) as session:
        queue = client.queue("mail", session=session)
        for n in range(3):
            await queue.put(str(n))
        items = [await queue.get(0) for _ in range(3)]
        assert [item.value for item in items] == ["0", "1", "2"]
        await items[1].ack()
        assert session.held
        assert [item.held for item in items] == [True, False, True]
    with pytest.raises(aetcd.SessionLost):
        await queue.get(0)
    assert await client.queue("mail").size() == 2
    async with client.queue("mail").claim(0) as item:
        assert item.value == "0"


async def test_a_cancelled_worker_claims_nothing(
    client: aetcd.Client, keys: Keys, eventually: Eventually, cancel_everywhere: Any
) -> None:
    """Wherever it is cancelled, the item is there for the next, at once."""
    item = await client.queue("mail").put("a")

    async def work(held_back: aetcd.Client) -> None:
        await (await held_back.queue("mail").get()).release()

    async def work_with_session(held_back: aetcd.Client) -> None:
        async with held_back.session(ttl=30) as shared:
            await (await held_back.queue("mail", session=shared).get()).release()

    async def no_claims() -> bool:
        return not await keys("late/claims")

    async def wait_for_work(held_back: aetcd.Client) -> None:
        over = asyncio.Event()
        for left in await keys("late/items"):
            await client.delete(left)

        async def put() -> None:
            while "live" not in [watch.state for watch in held_back.status().watches] and not over.is_set():
                await asyncio.sleep(0.001)
            await client.queue("late").put("b")

        putting = asyncio.ensure_future(put())
        try:
            async with held_back.session(ttl=30) as shared:
                try:
                    await (await held_back.queue("late", session=shared).get()).release()
                finally:
                    # A second await of the caller's may have been cut short: the rest is done in the background.
                    with suppress(TimeoutError):
                        await eventually(no_claims)
                    held.extend(await keys("late/claims"))
        finally:
            over.set()
            await putting

    held: list[str] = []
    assert await cancel_everywhere(wait_for_work, "late/claims") >= 8
    assert held == []
    assert await cancel_everywhere(work, "mail", [item]) >= 6
    assert await cancel_everywhere(work_with_session, "mail", [item]) >= 6
    async with client.queue("mail").claim(0) as again:
        assert again.key == item


async def test_bad_arguments_of_a_queue(client: aetcd.Client) -> None:
    """Are named, before anything is sent."""
    for make in (client.queue, client.priority_queue):
        for settings, error, argument in (
            ({"ttl": 0}, ValueError, "ttl"),
            ({"session": 3}, TypeError, "session"),
            ({"type": object()}, TypeError, "type"),
        ):
            with pytest.raises(error, match=argument):
                make("mail", **settings)
        with pytest.raises(ValueError, match="name"):
            make("")
        with pytest.raises(TypeError, match="value"):
            await make("mail").put(object())
        with pytest.raises(ValueError, match="timeout"):
            await make("mail").get(-1)
    with pytest.raises(TypeError, match="priority"):
        await client.priority_queue("mail").put("x", priority=1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="priority"):
        await client.priority_queue("mail").put("x", priority=2**31)
    assert repr(client.priority_queue("mail")) == "<PriorityQueue 'mail'>"

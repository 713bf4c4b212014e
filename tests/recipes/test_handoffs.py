"""The watch that a client's contenders share: one for all of them, and nobody's loss when it breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from circles import circles

import aetcd
from aetcd._transport.trace import RequestEvent
from aetcd.recipes._queues import line_of

Connect = Callable[..., Awaitable[aetcd.Client]]
Eventually = Callable[..., Awaitable[None]]
EndSession = Callable[[str], Awaitable[None]]

CONTENDERS = 20


async def count(client: aetcd.Client, name: str) -> int:
    return len((await client._store().queue(name)).entries)


def queue_watches(client: aetcd.Client) -> int:
    return len(client.status().watches)


async def crowd(client: aetcd.Client, wanted: int) -> list[asyncio.Future[None]]:
    """So many who wait for one lock that is held."""
    waiting = [asyncio.ensure_future(client.lock("job").acquire()) for _ in range(wanted)]
    async with asyncio.timeout(20):
        while await count(client, "job") != wanted + 1:
            await asyncio.sleep(0.005)
    return waiting


async def stopped(tasks: Iterable[asyncio.Future[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_one_watch_for_all_of_a_client(client: aetcd.Client, eventually: Eventually) -> None:
    """The holder and all who wait share one watch, which ends when the last of them has left."""
    holder = client.lock("job")
    await holder.acquire()
    waiting = await crowd(client, CONTENDERS)
    await eventually(lambda: queue_watches(client) == 1)
    await stopped(waiting)
    assert queue_watches(client) == 1
    assert holder.held
    await holder.release()
    await eventually(lambda: queue_watches(client) == 0)


async def test_one_who_gives_up_disturbs_nobody(client: aetcd.Client) -> None:
    """Of many who wait some are cancelled: the others still get the lock, in their order."""
    order: list[int] = []
    locks = client.lock("job")

    async def use(number: int) -> None:
        async with locks:
            order.append(number)

    tasks: list[asyncio.Future[None]] = []
    async with asyncio.timeout(30):
        async with client.lock("job"):
            for number in range(8):
                tasks.append(asyncio.ensure_future(use(number)))
                while await count(client, "job") != number + 2:
                    await asyncio.sleep(0.005)
            await stopped(tasks[1::3])
        await asyncio.wait(tasks)
    assert order == [0, 2, 3, 5, 6]
    assert await count(client, "job") == 0


async def test_contenders_of_two_clients_in_turns(client: aetcd.Client, other: aetcd.Client) -> None:
    """Who follows may be another client's: it is told by its own watch, and the order is that of arrival."""
    order: list[int] = []
    inside = 0

    async def use(number: int) -> None:
        nonlocal inside
        async with (client, other)[number % 2].lock("job"):
            inside += 1
            assert inside == 1
            order.append(number)
            await asyncio.sleep(0)
            inside -= 1

    tasks: list[asyncio.Future[None]] = []
    async with asyncio.timeout(30):
        async with client.lock("job"):
            for number in range(8):
                tasks.append(asyncio.ensure_future(use(number)))
                while await count(client, "job") != number + 2:
                    await asyncio.sleep(0.005)
        await asyncio.gather(*tasks)
    assert order == list(range(8))


@pytest.mark.parametrize("protocol", ["v3"])
@pytest.mark.parametrize(("coalesce", "requests"), [(False, 2.0), (True, 1.4)])
async def test_what_a_hand_over_costs(connect: Connect, coalesce: bool, requests: float) -> None:
    """Two requests: one enters, one leaves and sees the next stand. Mostly they go together. Nobody else is woken."""
    sent: list[str] = []

    def told(event: RequestEvent) -> None:
        sent.append(event.operation)

    client = await connect(trace=aetcd.Trace(on_request=told), coalesce=coalesce)
    rounds = 10

    async def use() -> None:
        for _ in range(rounds):
            async with client.lock("job", ttl=60):
                pass

    async with asyncio.timeout(30):
        await asyncio.gather(*(use() for _ in range(5)))
    # Beside them: a lease for each contender, the watch and its read, the version, and reads by those who came first.
    assert sent.count("v3 txn") <= requests * 5 * rounds
    assert sent.count("v3 lease grant") == 5
    assert sent.count("v3 range") <= 15, "who is next was seen to stand when the one before it left"


@pytest.mark.parametrize("protocol", ["v3"])
async def test_names_of_entries_are_used_again(client: aetcd.Client, prefix: str) -> None:
    """A range passes over every name there ever was: there are no more of them than contenders."""

    async def use() -> None:
        for _ in range(10):
            async with client.lock("job"):
                pass

    before = (await client.v3.range("x", count_only=True)).header.revision
    async with asyncio.timeout(30):
        await asyncio.gather(*(use() for _ in range(5)))
        names: dict[bytes, list[int]] = {}
        async with client.v3.watch(prefix, prefix=True, start_revision=before + 1) as events:
            while sum(map(len, names.values())) < 50:
                event = await anext(events)
                if event.type == "PUT":
                    names.setdefault(event.kv.key, []).append(event.kv.create_revision)
    assert len(names) <= 5
    assert all(revisions == sorted(set(revisions)) for revisions in names.values())


@pytest.mark.parametrize("protocol", ["v3"])
async def test_name_is_free_when_its_entry_is_gone_for_certain(client: aetcd.Client) -> None:
    """By the server's answer to its own removal; and no two entries of a session have one at a time."""
    store = client._store()
    async with client.session(60) as session:

        async def enter() -> Any:
            return await store.enter("queue", b"", session)

        one, two = await enter(), await enter()
        assert one.key != two.key
        assert await store.leave(one, session)
        three = await enter()
        assert three.key == one.key
        assert three.created_revision > two.created_revision
        assert await store.hand_over(two, session, three) == (True, True)
        four = await enter()
        assert four.key == two.key
        await client.delete(four.key)
        assert not await store.leave(four, session)
        assert (await enter()).key not in {three.key, four.key}


async def test_the_watch_may_break(
    connect: Connect, etcd: aetcd.testing.EtcdServer, proxy: Callable[..., Awaitable[Any]], client: aetcd.Client
) -> None:
    """Its connections are cut while many wait: it is begun again, and everybody gets the lock."""
    between = await proxy(etcd.url)
    shaky = await connect(between.url, timeout=5)
    holder = client.lock("job")
    async with asyncio.timeout(60):
        await holder.acquire()
        waiting = [asyncio.ensure_future(through(shaky)) for _ in range(5)]
        while await count(client, "job") != 6:
            await asyncio.sleep(0.005)
        between.cut()
        await holder.release()
        between.resume()
        await asyncio.gather(*waiting)
        await shaky.aclose()
    assert await count(client, "job") == 0


async def through(client: aetcd.Client) -> None:
    async with client.lock("job", ttl=30):
        pass


async def test_an_answer_that_is_late_keeps_nobody_waiting(
    client: aetcd.Client, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next in line waits for the word of who leaves before it reads itself, but not for long."""
    store: Any = type(client._store())
    hand_over, answered = store.hand_over, asyncio.Event()

    async def late(self: Any, *given: Any) -> Any:
        told = await hand_over(self, *given)
        await answered.wait()
        return told

    monkeypatch.setattr(store, "hand_over", late)
    holder = client.lock("job")
    await holder.acquire()
    (waiting,) = await crowd(client, 1)
    line = line_of(client._store(), "job")
    await eventually(lambda: line.length == 2)
    leaving = asyncio.ensure_future(holder.release())
    async with asyncio.timeout(3):
        await waiting
    assert not leaving.done()
    answered.set()
    await leaving


class Behind:
    """Watches of queues that tell nothing new, as those of a member that is behind, until they are let go on.

    short_of: The key whose deletion they do not come to, nor to what came after.
    """

    def __init__(self) -> None:
        self._go = asyncio.Event()
        self._go.set()
        self._short_of: str | None = None

    def stop(self) -> None:
        self._go.clear()

    def go_on(self, *, short_of: str) -> None:
        self._short_of = short_of
        self._go.set()

    async def tell(self, change: Any) -> None:
        await self._go.wait()
        if change.kind != "put" and change.key == self._short_of:
            await asyncio.Event().wait()


@pytest.fixture
def behind(client: aetcd.Client, monkeypatch: pytest.MonkeyPatch) -> Behind:
    """Holds back what the server's watches tell the test's clients of their queues; all else is up to date."""
    behind, store = Behind(), type(client._store())
    changes = store.changes

    @asynccontextmanager
    async def held_back(*given: Any, **named: Any) -> AsyncIterator[Any]:
        async with changes(*given, **named) as told:

            async def slowly() -> AsyncIterator[Any]:
                async for change in told:
                    await behind.tell(change)
                    yield change

            yield slowly()

    monkeypatch.setattr(store, "changes", held_back)
    return behind


async def behind_a_holder(
    client: aetcd.Client, holder: aetcd.Lock, eventually: Eventually
) -> tuple[asyncio.Future[None], str]:
    """One who waits for the lock that a holder has, and its entry, which its client's line has seen."""
    await holder.acquire()
    (waiting,) = await crowd(client, 1)
    await eventually(lambda: line_of(client._store(), "job").length == 2)
    return waiting, (await client._store().queue("job")).entries[1].key


async def test_who_was_deleted_does_not_follow_another_client(
    client: aetcd.Client, other: aetcd.Client, end_session: EndSession, eventually: Eventually, behind: Behind
) -> None:
    """It sees that the one before it has left, and not yet that its own entry is gone: it asks before it trusts."""
    holder = other.lock("job")
    waiting, own = await behind_a_holder(client, holder, eventually)
    behind.stop()
    await holder.release()
    await end_session(own)
    behind.go_on(short_of=own)
    with pytest.raises(aetcd.SessionLost, match=own):
        await asyncio.wait_for(waiting, 5)


async def test_who_was_deleted_is_handed_nothing(
    client: aetcd.Client, end_session: EndSession, eventually: Eventually, behind: Behind
) -> None:
    """Its own client's holder leaves, and is told by the server that the next one in line stands no longer."""
    holder = client.lock("job")
    waiting, own = await behind_a_holder(client, holder, eventually)
    behind.stop()
    await end_session(own)
    await holder.release()
    with pytest.raises(aetcd.SessionLost, match=own):
        await asyncio.wait_for(waiting, 5)


async def test_hand_overs_leave_nothing_to_the_collector(client: aetcd.Client) -> None:
    """A holder knows its place in the queue, and is known to it, until it leaves."""

    async def hold() -> None:
        for _ in range(10):
            async with client.lock("job"):
                pass

    await asyncio.gather(hold(), hold())
    with circles() as found:
        await asyncio.gather(hold(), hold())
    assert found == {}

"""Elections: terms as context managers, guarded proclamations, and who leads as others see it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

import aetcd
from aetcd.etcd.v3 import Put

Connect = Callable[..., Awaitable[aetcd.Client]]
Eventually = Callable[..., Awaitable[None]]


async def places(client: aetcd.Client) -> Sequence[str]:
    return [entry.key for entry in (await client._store().queue("post")).entries]


async def until_queued(client: aetcd.Client, count: int) -> None:
    async with asyncio.timeout(10):
        while len(await places(client)) != count:
            await asyncio.sleep(0.005)


class Observed:
    """What an observer has been told."""

    def __init__(self) -> None:
        self.values: list[str | None] = []
        self.error: BaseException | None = None


@asynccontextmanager
async def observed(client: aetcd.Client) -> AsyncIterator[Observed]:
    """Observe in a task of its own, from the first answer on."""
    seen = Observed()
    begun = asyncio.Event()

    async def observe() -> None:
        try:
            async with aclosing(client.election("post").observe()) as leaders:
                async for leader in leaders:
                    seen.values.append(leader.value if leader else None)
                    begun.set()
        except aetcd.AetcdError as e:
            seen.error = e
            begun.set()

    task = asyncio.ensure_future(observe())
    async with asyncio.timeout(10):
        await begun.wait()
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.wait([task])


# Terms


async def test_a_term_is_a_block(client: aetcd.Client, other: aetcd.Client) -> None:
    """`async with` of what a campaign has won resigns at its end; another leads then, with a larger token."""
    async with asyncio.timeout(10):
        async with await client.election("post", value="one").campaign() as term:
            assert term.held
            campaign = asyncio.ensure_future(other.election("post", value="two").campaign())
            await until_queued(client, 2)
            assert not campaign.done()
        assert not term.held
        assert term.resigned
        following = await campaign
        assert following.fencing_token > term.fencing_token
        leader = await client.election("post").leader()
        assert leader == aetcd.Leader(name=(await places(client))[0], value="two", revision=following.fencing_token)
        await following.resign()
    assert await places(client) == []


async def test_a_term_has_one_block(client: aetcd.Client) -> None:
    """It is over at its end: who wants another one campaigns again. So is one that was resigned before."""
    async with asyncio.timeout(10):
        term = await client.election("post").campaign()
        async with term:
            with pytest.raises(aetcd.CoordinationError, match="post"):
                async with term:
                    pass
        with pytest.raises(aetcd.CoordinationError, match="campaign again"):
            async with term:
                pass
        resigned = await client.election("post").campaign()
        await resigned.resign()
        with pytest.raises(aetcd.CoordinationError):
            async with resigned:
                pass


@pytest.mark.parametrize("how", ["deleted", "revoked"])
@pytest.mark.parametrize("on_lost", ["cancel", "flag"])
async def test_a_term_that_is_lost(client: aetcd.Client, other: aetcd.Client, on_lost: Any, how: str) -> None:
    """By an administrator: its block is cancelled and LeadershipLost raised, or only `lost` set. The next one leads."""
    went_on = False

    async def lead() -> None:
        nonlocal went_on
        async with await client.election("post", on_lost=on_lost).campaign() as term:
            leading.set()
            await term.lost.wait()
            await asyncio.sleep(0)
            assert not term.held
            went_on = True

    leading = asyncio.Event()
    holding = asyncio.ensure_future(lead())
    await leading.wait()
    (key,) = await places(client)
    campaign = asyncio.ensure_future(other.election("post").campaign())
    await until_queued(client, 2)
    found = await client.get(key, full=True)
    if how == "revoked" and found.node.lease is not None:
        await client.v3.lease.revoke(found.node.lease)
    else:
        await client.delete(key)
    async with asyncio.timeout(10):
        if on_lost == "cancel":
            with pytest.raises(aetcd.LeadershipLost, match="post"):
                await holding
        else:
            await holding
        assert went_on is (on_lost == "flag")
        await (await campaign).resign()
    assert await places(client) == []


async def test_a_block_that_is_not_cancelled_by_a_resignation(client: aetcd.Client) -> None:
    """Whoever resigns within the block goes on in it, and is told of no loss."""
    async with asyncio.timeout(10), await client.election("post").campaign() as term:
        await term.resign()
        await asyncio.sleep(0.02)
        assert not term.lost
        with pytest.raises(aetcd.LeadershipLost):
            await term.proclaim("still me")
        with pytest.raises(aetcd.LeadershipLost):
            await term.guarded(client.v3.txn().then(Put("state", "mine")))


# What a leader writes


async def test_proclaiming_after_the_entry_is_gone(client: aetcd.Client) -> None:
    """The server itself refuses it, before any watch has told: LeadershipLost, and nobody sees the value."""
    async with asyncio.timeout(10), client.election("post", value="one", on_lost="flag") as term:
        line = term._contender._line
        line._places.clear()  # as if the watch were far behind
        await client.delete((await places(client))[0])
        assert term.held
        with pytest.raises(aetcd.LeadershipLost, match="post") as caught:
            await term.proclaim("two")
        assert isinstance(caught.value.__cause__, aetcd.NotOwner)
        assert term.lost
        assert await client.election("post").leader() is None


async def test_a_guarded_write(client: aetcd.Client, protocol: str) -> None:
    """Only a leader's is done; v2 has none."""
    async with asyncio.timeout(10), client.election("post", on_lost="flag") as term:
        key = f"{client._namespace}state"
        guarded = term.guarded(client.v3.txn().then(Put(key, "one")))
        if protocol == "v2":
            with pytest.raises(aetcd.Unsupported):
                await guarded
            return
        assert (await guarded).succeeded
        term._contender._line._places.clear()  # as if the watch were far behind
        await client.delete((await places(client))[0])
        with pytest.raises(aetcd.LeadershipLost):
            await term.guarded(client.v3.txn().then(Put(key, "two")))
        assert term.lost
        assert await client.get("state") == "one"


# Who watches


async def test_an_observer_of_another_client(client: aetcd.Client, other: aetcd.Client, eventually: Eventually) -> None:
    """It is told of each leader and of what each proclaims, and of none in between; not of those who wait."""
    async with asyncio.timeout(20), observed(other) as seen:
        assert seen.values == [None]
        async with client.election("post", value="one") as term:
            await eventually(lambda: seen.values[-1] == "one")
            await term.proclaim("one, busy")
            await eventually(lambda: seen.values[-1] == "one, busy")
            campaign = asyncio.ensure_future(client.election("post", value="two").campaign())
            await until_queued(client, 2)
        following = await campaign
        await eventually(lambda: seen.values[-1] == "two")
        await following.resign()
        await eventually(lambda: seen.values[-1] is None)
        assert seen.values == [None, "one", "one, busy", "two", None]


async def test_an_observer_is_told_what_stands_first(client: aetcd.Client) -> None:
    """Its first answer is a linearizable read, though the client's watch may be behind, and it never goes back."""
    async with asyncio.timeout(20):
        for number in range(10):
            async with client.election("post", value=str(number)) as term:
                await term.proclaim(f"{number}!")
                async with observed(client) as seen:
                    pass
                assert seen.values[0] == f"{number}!"
            async with observed(client) as seen:
                pass
            assert seen.values == [None]


async def test_observers_share_a_watch(client: aetcd.Client, eventually: Eventually) -> None:
    """With each other, and with the candidates of their client; it ends when all have left."""
    async with asyncio.timeout(20):
        async with client.election("post", value="one"), observed(client) as a, observed(client) as b:
            await eventually(lambda: len(client.status().watches) == 1)
            assert (a.values, b.values) == (["one"], ["one"])
        await eventually(lambda: not client.status().watches)


async def test_an_observer_of_a_client_that_is_closed(connect: Connect) -> None:
    """It is told so, and does not wait for ever."""
    closing = await connect()
    async with observed(closing) as seen:
        await closing.aclose()
        async with asyncio.timeout(10):
            while seen.error is None:
                await asyncio.sleep(0.005)
        assert isinstance(seen.error, aetcd.ClientClosed)


# Giving up


async def test_cancelled_campaign_leaves_no_orphan(client: aetcd.Client) -> None:
    """At whichever step a candidate gives up, it does not stand in the queue afterwards."""
    gave_up = 0
    for steps in (*range(30), *range(30, 120, 6), *range(120, 500, 40)):
        campaign = asyncio.ensure_future(client.election("post", ttl=60).campaign())
        for _ in range(steps):
            await asyncio.sleep(0)
        if campaign.done():
            await campaign.result().resign()
        else:
            gave_up += 1
            campaign.cancel()
            await asyncio.wait([campaign])
        assert await places(client) == [], f"after {steps} steps"
    assert gave_up >= 3

"""What a session tells of itself, and recipes that share one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

import pytest

import aetcd
from aetcd import SessionState
from aetcd.testing import EtcdServer, TCPProxy

Connect = Callable[..., Awaitable[aetcd.Client]]
Eventually = Callable[..., Awaitable[None]]


async def gather(session: aetcd.Session, seen: list[SessionState]) -> None:
    async with aclosing(session.states()) as states:
        async for state in states:
            seen.append(state)


async def test_a_bad_connection_is_told_before_the_loss(
    connect: Connect, etcd: EtcdServer, proxy: Callable[[str], Awaitable[TCPProxy]], eventually: Eventually
) -> None:
    """RENEWED, SUSPENDED while no renewal comes through, RENEWED again; the session was its own all the time."""
    middle = await proxy(etcd.url)
    client = await connect(middle.url)
    seen: list[SessionState] = []
    async with client.session(ttl=6) as session:
        await client.set("key", "x", session=session)  # on v2 a session is its keys
        watching = asyncio.ensure_future(gather(session, seen))
        await eventually(lambda: seen == [SessionState.RENEWED])
        middle.refuse()
        middle.cut()
        await eventually(lambda: seen == [SessionState.RENEWED, SessionState.SUSPENDED])
        assert session.held
        assert session.state is SessionState.SUSPENDED
        middle.resume()
        await eventually(lambda: seen[2:] == [SessionState.RENEWED])
        assert session.held
    async with asyncio.timeout(5):
        await watching
    assert seen == [SessionState.RENEWED, SessionState.SUSPENDED, SessionState.RENEWED]


async def test_lost_ends_the_iteration(timed: aetcd.Client, clock: Any, eventually: Eventually) -> None:
    """By the clock: doubtful after a third of the TTL, lost after all of it, and nothing after that."""
    seen: list[SessionState] = []
    # Renewed at every sixth of so long a TTL, of the loop's time: that does not come within the test.
    async with timed.session(ttl=600_000) as session:
        watching = asyncio.ensure_future(gather(session, seen))
        await eventually(lambda: seen == [SessionState.RENEWED])
        clock.ahead += 190_000
        assert session.state is SessionState.RENEWED
        clock.ahead += 30_000
        await eventually(lambda: seen[1:] == [SessionState.SUSPENDED])
        clock.ahead += 400_000
        async with asyncio.timeout(5):
            await watching
        assert session.lost
    assert seen == [SessionState.RENEWED, SessionState.SUSPENDED, SessionState.LOST]


async def test_what_was_seen_to_be_over_does_not_come_back(timed: aetcd.Client, clock: Any) -> None:
    """Whoever looked at it when its time had run out was told the truth, though a renewal came through later."""
    looks: list[Callable[[aetcd.Session], bool]] = [
        lambda session: session.held,
        lambda session: session.expires_in > 0,
    ]
    for look in looks:
        async with timed.session(ttl=600_000) as session:
            clock.ahead += 600_001
            assert not look(session)
            assert session.lost
            session._trust.confirm(clock(), 600_000)  # the answer to a renewal that was on its way
            assert not session.held


async def test_revoked(client: aetcd.Client, protocol: str) -> None:
    """LOST as soon as a renewal finds out (v3: on v2 a session is its keys, and outlives those deleted)."""
    seen: list[SessionState] = []
    async with asyncio.timeout(10), client.session(ttl=3) as session:
        await client.set("key", "x", session=session)
        watching = asyncio.ensure_future(gather(session, seen))
        found = await client.get("key", full=True)
        assert found is not None
        if protocol == "v3":
            assert found.node.lease is not None
            await client.v3.lease.revoke(found.node.lease)
            await watching
            assert seen[-1] is SessionState.LOST
        else:
            await client.delete("key")
            await asyncio.sleep(0)
            assert session.state is SessionState.RENEWED
    await watching


async def test_a_client_that_is_closed(connect: Connect, eventually: Eventually) -> None:
    """LOST: nobody renews it any more."""
    closing = await connect()
    seen: list[SessionState] = []
    async with closing.session(ttl=30) as session:
        watching = asyncio.ensure_future(gather(session, seen))
        await eventually(lambda: bool(seen))
        await closing.aclose()
        await watching
    assert seen == [SessionState.RENEWED, SessionState.LOST]


async def test_a_session_that_was_never_opened(client: aetcd.Client) -> None:
    """Has no states to tell; it is not trusted, before and after."""
    session = client.session()
    assert [session.state, session.held] == [SessionState.LOST, False]
    with pytest.raises(aetcd.SessionLost):
        await anext(session.states())
    async with session:
        assert [session.state, session.held] == [SessionState.RENEWED, True]
    assert [session.state, session.held] == [SessionState.LOST, False]
    assert [state async for state in session.states()] == []


async def test_one_session_for_all(
    client: aetcd.Client, other: aetcd.Client, end_session: Callable[[str], Awaitable[None]], protocol: str
) -> None:
    """Recipes that share one stand and fall together; each can end before."""
    await client.queue("mail").put("a")
    async with asyncio.timeout(20), client.session(ttl=3) as session:
        await client.barrier("gate", session=session).hold()
        item = await client.queue("mail", session=session).get()
        registration = client.registry("api", session=session).register("here")
        await registration.open()
        phase = client.double_barrier("phase", count=1, session=session)
        await phase.enter()
        assert [item.held, registration.held, phase.held] == [True] * 3
        await registration.aclose()
        assert [item.held, registration.held, phase.held] == [True, False, True]
        if protocol == "v3":
            await end_session("gate")
            await session.lost.wait()
            assert [item.held, registration.held, phase.held] == [False] * 3
    await client.barrier("gate").wait(0)
    async with other.queue("mail").claim(0) as again:
        assert again.key == item.key

"""Barriers that nothing opens but the store, and double barriers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

import aetcd
from aetcd.testing import EtcdServer, TCPProxy

Connect = Callable[..., Awaitable[aetcd.Client]]
Eventually = Callable[..., Awaitable[None]]
Keys = Callable[[str], Awaitable[list[str]]]
Proxy = Callable[[str], Awaitable[TCPProxy]]


async def standing(client: aetcd.Client, count: int = 1) -> None:
    """Until so many watches of a client are live."""
    async with asyncio.timeout(10):
        while [watch.state for watch in client.status().watches].count("live") < count:
            await asyncio.sleep(0.005)


# Barrier


async def test_it_holds_back_until_it_is_released(client: aetcd.Client, other: aetcd.Client) -> None:
    """All who wait go on then, and who comes later does not wait."""
    barrier = client.barrier("gate")
    await barrier.hold()
    assert await other.barrier("gate").held()
    waiting = [asyncio.ensure_future(other.barrier("gate").wait(10)) for _ in range(5)]
    await standing(other, 5)
    assert not any(task.done() for task in waiting)
    await other.barrier("gate").release()
    await asyncio.gather(*waiting)
    await client.barrier("gate").wait(0)
    assert not await barrier.held()


async def test_what_was_never_held_is_open(client: aetcd.Client) -> None:
    """Nobody waits, and releasing it changes nothing."""
    await client.barrier("gate").wait()
    await client.barrier("gate").release()


async def test_not_released_in_time(client: aetcd.Client) -> None:
    """LockTimeout, which names it."""
    await client.barrier("gate").hold()
    for timeout in (0, 0.1):
        with pytest.raises(aetcd.LockTimeout, match="gate"):
            await client.barrier("gate").wait(timeout)


async def test_held_by_somebody_else(client: aetcd.Client, other: aetcd.Client) -> None:
    """Is an error; by the same object it is no change."""
    barrier = client.barrier("gate")
    await barrier.hold()
    await barrier.hold()
    with pytest.raises(aetcd.CoordinationError, match="gate"):
        await other.barrier("gate").hold()
    assert await barrier.held()


async def test_held_again_at_once(client: aetcd.Client, other: aetcd.Client) -> None:
    """Who waited when it was released goes on, though it is held again before he looks."""
    barrier = client.barrier("gate")
    await barrier.hold()
    waiting = asyncio.ensure_future(other.barrier("gate").wait(10))
    await standing(other)
    await barrier.release()
    await barrier.hold()
    await waiting
    assert await barrier.held()


async def test_written_by_hand(client: aetcd.Client, other: aetcd.Client) -> None:
    """Is still held: only its absence opens it."""
    await client.barrier("gate").hold()
    waiting = asyncio.ensure_future(other.barrier("gate").wait(10))
    await standing(other)
    for n in range(3):
        await client.set("gate", str(n))
        await asyncio.wait([waiting], timeout=0.1)
        assert not waiting.done()
    await client.barrier("gate").release()
    await waiting


async def test_deleted_by_hand(client: aetcd.Client, other: aetcd.Client) -> None:
    """Is released."""
    await client.barrier("gate").hold()
    waiting = asyncio.ensure_future(other.barrier("gate").wait(10))
    await standing(other)
    await client.delete("gate")
    await waiting


async def test_a_barrier_of_a_session(
    client: aetcd.Client, other: aetcd.Client, end_session: Callable[[str], Awaitable[None]]
) -> None:
    """Ends with it: closed in order, or revoked."""
    for how in ("closed", "revoked"):
        async with client.session(ttl=30) as session:
            await client.barrier("gate", session=session).hold()
            waiting = asyncio.ensure_future(other.barrier("gate").wait(10))
            await standing(other)
            if how == "revoked":
                await end_session("gate")
        await waiting


async def test_a_dead_watch_opens_nothing(
    client: aetcd.Client, connect: Connect, etcd: EtcdServer, proxy: Proxy, eventually: Eventually
) -> None:
    """While its connection is cut again and again, and refused, the waiting goes on; then it ends."""
    middle = await proxy(etcd.url)
    cut_off = await connect(middle.url)
    await client.barrier("gate").hold()
    waiting = asyncio.ensure_future(cut_off.barrier("gate").wait())
    await standing(cut_off)
    for _ in range(3):
        middle.cut()
        await eventually(lambda: middle.connections > 0)
        assert not waiting.done()
    middle.refuse()
    middle.cut()
    await asyncio.wait([waiting], timeout=0.5)
    assert not waiting.done()
    await client.barrier("gate").release()
    await asyncio.wait([waiting], timeout=0.5)
    assert not waiting.done()
    middle.resume()
    async with asyncio.timeout(20):
        await waiting


async def test_a_cancelled_hold_leaves_nothing(client: aetcd.Client, cancel_everywhere: Any) -> None:
    """Wherever it is cancelled, with a session and without."""

    async def hold(held_back: aetcd.Client) -> None:
        await held_back.barrier("gate").hold()
        await client.barrier("gate").release()

    async def hold_with_session(held_back: aetcd.Client) -> None:
        async with held_back.session(ttl=30) as session:
            await held_back.barrier("gate", session=session).hold()

    assert await cancel_everywhere(hold, "gate") >= 2
    assert await cancel_everywhere(hold_with_session, "gate") >= 2


# Double barrier


async def test_in_together_and_out_together(client: aetcd.Client, other: aetcd.Client, keys: Keys) -> None:
    """Nobody is in before the last has come, nobody is out before the last has left; twice, by the same name."""
    for _ in range(2):
        inside: list[int] = []
        left: list[int] = []
        may_leave = asyncio.Event()

        async def take_part(n: int, inside: list[int], left: list[int], may_leave: asyncio.Event) -> None:
            barrier = (client, other)[n % 2].double_barrier("phase", count=4)
            async with barrier:
                inside.append(n)
                assert barrier.held
                if n == 3:
                    await may_leave.wait()
            left.append(n)

        async with asyncio.timeout(20):
            first = [asyncio.ensure_future(take_part(n, inside, left, may_leave)) for n in range(3)]
            await standing(client, 2)
            await standing(other, 1)
            assert inside == []
            last = asyncio.ensure_future(take_part(3, inside, left, may_leave))
            while len(inside) < 4 or len(await keys("phase/members")) > 1:
                await asyncio.sleep(0.005)
            assert left == []
            may_leave.set()
            await asyncio.gather(*first, last)
        assert sorted(left) == [0, 1, 2, 3]
    assert await keys("phase/members") == []


async def test_alone(client: aetcd.Client) -> None:
    """A barrier for one opens at once, also for who does not want to wait."""
    barrier = client.double_barrier("phase", count=1)
    await barrier.enter(timeout=0)
    with pytest.raises(aetcd.CoordinationError, match="phase"):
        await barrier.enter()
    await barrier.leave()
    with pytest.raises(aetcd.CoordinationError, match="phase"):
        await barrier.leave()


async def test_too_few_have_come(client: aetcd.Client, keys: Keys) -> None:
    """LockTimeout, and who gave up no longer counts."""
    for timeout in (0, 0.2):
        with pytest.raises(aetcd.LockTimeout, match="phase"):
            async with client.double_barrier("phase", count=2, timeout=timeout):
                pytest.fail("it opened for one")
        assert await keys("phase") == []


async def test_not_all_have_left(client: aetcd.Client, other: aetcd.Client, keys: Keys) -> None:
    """LockTimeout; who leaves by an exception waits for nobody."""
    one, two = client.double_barrier("phase", count=2), other.double_barrier("phase", count=2)
    await asyncio.gather(one.enter(), two.enter())
    with pytest.raises(aetcd.LockTimeout, match="phase"):
        await one.leave(0.1)
    assert len(await keys("phase/members")) == 1
    late = client.double_barrier("phase", count=2)
    with pytest.raises(ZeroDivisionError):
        async with late:  # it joins the round that is still on
            1 / 0
    await two.leave(0)


async def test_a_member_that_is_gone(
    client: aetcd.Client,
    other: aetcd.Client,
    keys: Keys,
    end_session: Callable[[str], Awaitable[None]],
    eventually: Eventually,
) -> None:
    """Is waited for by nobody, and is told that it was not counted to the end."""
    one, two = client.double_barrier("phase", count=2, ttl=3), other.double_barrier("phase", count=2, ttl=3)
    entering = asyncio.ensure_future(one.enter())
    await standing(client, 1)
    (own,) = await keys("phase/members")
    await asyncio.gather(entering, two.enter())
    leaving = asyncio.ensure_future(two.leave(10))
    await end_session(own)
    await leaving
    await eventually(lambda: not one.held)
    with pytest.raises(aetcd.SessionLost, match="phase"):
        await one.leave()


async def test_lost_while_it_waited(
    client: aetcd.Client, keys: Keys, end_session: Callable[[str], Awaitable[None]]
) -> None:
    """SessionLost: it would wait for ever, not being counted."""
    entering = asyncio.ensure_future(client.double_barrier("phase", count=2, ttl=3).enter())
    async with asyncio.timeout(10):
        while not (own := await keys("phase/members")):
            await asyncio.sleep(0.005)
        await end_session(own[0])
        with pytest.raises(aetcd.SessionLost):
            await entering


async def test_a_round_that_is_over_lets_nobody_in(client: aetcd.Client, other: aetcd.Client) -> None:
    """What an earlier round left behind opens nothing for a later one."""
    for _ in range(2):
        one, two = client.double_barrier("phase", count=2), other.double_barrier("phase", count=2)
        with pytest.raises(aetcd.LockTimeout):
            await one.enter(0.2)
        await asyncio.gather(one.enter(10), two.enter(10))
        await asyncio.gather(one.leave(10), two.leave(10))


async def test_a_watch_that_dies_lets_nobody_in(
    client: aetcd.Client, connect: Connect, etcd: EtcdServer, proxy: Proxy, eventually: Eventually
) -> None:
    """Cut again and again it goes on waiting, and goes in when the other has come."""
    middle = await proxy(etcd.url)
    cut_off = await connect(middle.url)
    entering = asyncio.ensure_future(cut_off.double_barrier("phase", count=2).enter())
    await standing(cut_off, 2)
    for _ in range(3):
        middle.cut()
        await eventually(lambda: middle.connections > 0)
        assert not entering.done()
    async with asyncio.timeout(20):
        await client.double_barrier("phase", count=2).enter()
        await entering


async def test_a_cancelled_member_leaves_nothing(keys: Keys, eventually: Eventually, cancel_everywhere: Any) -> None:
    """Wherever it is cancelled, with a session of its own and with a shared one, which goes on."""
    left: list[str] = []

    async def enter(held_back: aetcd.Client) -> None:
        await held_back.double_barrier("phase", count=2).enter()

    async def nobody() -> bool:
        return not await keys("phase")

    async def enter_with_session(held_back: aetcd.Client) -> None:
        async with held_back.session(ttl=30) as shared:
            try:
                await held_back.double_barrier("phase", count=2, session=shared).enter()
            finally:
                with suppress(TimeoutError):
                    await eventually(nobody)
                left.extend(await keys("phase"))

    assert await cancel_everywhere(enter, "phase") >= 4
    assert await cancel_everywhere(enter_with_session, "phase") >= 4
    assert left == []


@pytest.mark.parametrize(
    ("settings", "error", "argument"),
    [
        ({"count": 0}, ValueError, "count"),
        ({"count": True}, TypeError, "count"),
        ({"count": 2, "ttl": 0}, ValueError, "ttl"),
        ({"count": 2, "timeout": -1}, ValueError, "timeout"),
        ({"count": 2, "session": "s"}, TypeError, "session"),
    ],
)
async def test_bad_arguments_of_a_double_barrier(
    client: aetcd.Client, settings: Any, error: type[Exception], argument: str
) -> None:
    """Are named, before anything is sent."""
    with pytest.raises(error, match=argument):
        client.double_barrier("phase", **settings)


async def test_bad_arguments_of_a_barrier(client: aetcd.Client) -> None:
    """Are named."""
    with pytest.raises(ValueError, match="name"):
        client.barrier("")
    with pytest.raises(TypeError, match="session"):
        client.barrier("gate", session="s")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="timeout"):
        await client.barrier("gate").wait(-1)
    assert repr(client.barrier("gate")) == "<Barrier 'gate'>"
    assert repr(client.double_barrier("phase", count=2)) == "<DoubleBarrier 'phase' count=2>"

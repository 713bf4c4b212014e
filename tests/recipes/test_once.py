"""What is done once in a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from attrs import frozen

import aetcd
from aetcd.testing import EtcdServer, TCPProxy

Connect = Callable[..., Awaitable[aetcd.Client]]
Eventually = Callable[..., Awaitable[None]]
Keys = Callable[[str], Awaitable[list[str]]]


@frozen
class Schema:
    version: int


async def unwanted() -> None:
    pytest.fail("it was run again")


async def test_one_runs_and_all_have_the_result(client: aetcd.Client, other: aetcd.Client, keys: Keys) -> None:
    """Ten callers of two clients: the function runs once, and a later call runs nothing."""
    runs = 0

    async def migrate() -> Schema:
        nonlocal runs
        runs += 1
        await asyncio.sleep(0.05)
        return Schema(7)

    async with asyncio.timeout(20):
        found = await asyncio.gather(
            *((client, other)[n % 2].once("migration", type=Schema).run(migrate) for n in range(10))
        )
    assert found == [Schema(7)] * 10
    assert runs == 1
    assert await client.once("migration", type=Schema).run(unwanted) == Schema(7)
    assert await other.once("migration", type=Schema).result(0) == Schema(7)
    assert await other.once("migration").done()
    assert await keys("migration") == ["migration/result"]


@pytest.mark.parametrize(("value", "kind"), [(None, None), ("text", None), (b"bytes", bytes), ([1, 2], list[int])])
async def test_results(client: aetcd.Client, value: Any, kind: Any) -> None:
    """The runner gets what all others get: the stored value, as the type asked for."""

    async def function() -> Any:
        return value

    assert await client.once("work", type=kind).run(function) == value
    assert await client.once("work", type=kind).run(unwanted) == value


async def test_waiting_for_somebody_elses_result(client: aetcd.Client, other: aetcd.Client) -> None:
    """LockTimeout where it was not there in time; `result` runs nothing."""
    started, go_on = asyncio.Event(), asyncio.Event()

    async def function() -> str:
        started.set()
        await go_on.wait()
        return "done"

    running = asyncio.ensure_future(client.once("work").run(function))
    await started.wait()
    assert not await other.once("work").done()
    for timeout in (0, 0.1):
        with pytest.raises(aetcd.LockTimeout, match="work"):
            await other.once("work").run(unwanted, timeout=timeout)
        with pytest.raises(aetcd.LockTimeout, match="work"):
            await other.once("work").result(timeout)
    waiting = asyncio.ensure_future(other.once("work").result())
    go_on.set()
    async with asyncio.timeout(10):
        assert await running == await waiting == "done"


async def test_a_function_that_fails(client: aetcd.Client, other: aetcd.Client, keys: Keys) -> None:
    """Its exception is its caller's; one of those who wait runs his."""
    started, go_on = asyncio.Event(), asyncio.Event()

    async def fail() -> None:
        started.set()
        await go_on.wait()
        raise ZeroDivisionError

    async def succeed() -> str:
        return "done"

    failing = asyncio.ensure_future(client.once("work").run(fail))
    await started.wait()
    waiting = asyncio.ensure_future(other.once("work").run(succeed))
    go_on.set()
    async with asyncio.timeout(10):
        with pytest.raises(ZeroDivisionError):
            await failing
        assert await waiting == "done"
    assert await keys("work") == ["work/result"]


async def test_a_result_that_cannot_be_stored(client: aetcd.Client, keys: Keys) -> None:
    """Is refused, and leaves the work to be done."""

    async def function() -> object:
        return object()

    with pytest.raises(TypeError, match="result"):
        await client.once("work").run(function)
    assert await keys("work") == []


async def test_forgotten_results(client: aetcd.Client) -> None:
    """After `reset()` the next call runs its function."""

    async def function() -> str:
        return "again"

    await client.once("work").reset()
    await client.once("work").run(function)
    await client.once("work").reset()
    assert not await client.once("work").done()
    assert await client.once("work").run(function) == "again"


async def test_a_runner_that_is_cut_off(
    client: aetcd.Client, connect: Connect, etcd: EtcdServer, proxy: Callable[[str], Awaitable[TCPProxy]]
) -> None:
    """It is cancelled when its session is lost, and raises SessionLost; another one runs."""
    middle = await proxy(etcd.url)
    lost_client = await connect(middle.url)
    started, cancelled = asyncio.Event(), False

    async def hang() -> None:
        nonlocal cancelled
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled = True
            raise

    async def succeed() -> str:
        return "done"

    hanging = asyncio.ensure_future(lost_client.once("work", ttl=2).run(hang))
    await started.wait()
    middle.refuse()
    middle.cut()
    async with asyncio.timeout(20):
        assert await client.once("work").run(succeed) == "done"
        with pytest.raises(aetcd.SessionLost, match="work"):
            await hanging
    assert cancelled
    middle.resume()
    assert await lost_client.once("work").run(unwanted) == "done"


async def test_a_runner_that_is_removed(
    client: aetcd.Client, other: aetcd.Client, end_session: Callable[[str], Awaitable[None]]
) -> None:
    """Revoked, or its key deleted by hand: it is cancelled and told, and another one runs."""
    for key, how in (("one", end_session), ("two", client.delete)):
        started = asyncio.Event()

        async def hang(started: asyncio.Event = started) -> None:
            started.set()
            await asyncio.Event().wait()

        async def succeed() -> str:
            return "done"

        hanging = asyncio.ensure_future(client.once(key).run(hang))
        await started.wait()
        waiting = asyncio.ensure_future(other.once(key).run(succeed))
        await how(f"{key}/runner")
        async with asyncio.timeout(10):
            with pytest.raises(aetcd.SessionLost, match=key):
                await hanging
            assert await waiting == "done"


async def test_a_watch_that_is_cut(
    client: aetcd.Client,
    connect: Connect,
    etcd: EtcdServer,
    proxy: Callable[[str], Awaitable[TCPProxy]],
    eventually: Eventually,
) -> None:
    """Who waits goes on waiting, and gets the result."""
    middle = await proxy(etcd.url)
    waiter = await connect(middle.url)
    started, go_on = asyncio.Event(), asyncio.Event()

    async def function() -> str:
        started.set()
        await go_on.wait()
        return "done"

    running = asyncio.ensure_future(client.once("work").run(function))
    await started.wait()
    waiting = asyncio.ensure_future(waiter.once("work").run(unwanted))
    for _ in range(3):
        await eventually(lambda: "live" in [watch.state for watch in waiter.status().watches])
        middle.cut()
        await eventually(lambda: middle.connections > 0)
    assert not waiting.done()
    go_on.set()
    async with asyncio.timeout(20):
        assert await running == await waiting == "done"


async def test_a_cancelled_runner_leaves_nothing(client: aetcd.Client, cancel_everywhere: Any) -> None:
    """Wherever it is cancelled: the work is there for another."""

    async def hang() -> None:
        await asyncio.Event().wait()

    async def run(held_back: aetcd.Client) -> None:
        await held_back.once("work").run(hang)

    async def run_with_session(held_back: aetcd.Client) -> None:
        async with held_back.session(ttl=30) as shared:
            await held_back.once("work", session=shared).run(hang)

    assert await cancel_everywhere(run, "work") >= 4
    assert await cancel_everywhere(run_with_session, "work") >= 4


async def test_bad_arguments_of_once(client: aetcd.Client) -> None:
    """Are named, before anything is sent."""
    with pytest.raises(ValueError, match="key"):
        client.once("")
    with pytest.raises(ValueError, match="ttl"):
        client.once("work", ttl=0)
    with pytest.raises(TypeError, match="session"):
        client.once("work", session="s")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="type"):
        client.once("work", type=object())
    with pytest.raises(TypeError, match="function"):
        await client.once("work").run(None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="timeout"):
        await client.once("work").run(unwanted, timeout=-1)
    assert repr(client.once("work")) == "<Once 'work'>"

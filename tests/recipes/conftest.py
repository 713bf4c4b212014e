"""Recipes on both protocols, under keys that no other test has. The contract suite has other versions, and members."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest

import aetcd
from aetcd._trust import boot_clock
from aetcd.testing import EtcdServer

Connect = Callable[..., Awaitable[aetcd.Client]]


class FakeClock:
    """The machine's, which can be put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return boot_clock() + self.ahead


@pytest.fixture(scope="session")
def etcd(etcd35: EtcdServer) -> EtcdServer:
    """One version: what recipes ask of a store is a store's own affair, whose tests are on each."""
    return etcd35


@pytest.fixture(params=["v3", "v2"])
def protocol(request: pytest.FixtureRequest) -> str:
    """What the clients of a test speak."""
    spoken: str = request.param
    return spoken


@pytest.fixture
async def connect(etcd: EtcdServer, prefix: str, protocol: str) -> AsyncIterator[Connect]:
    """`await connect(*peers, **settings)`: a client in the test's own namespace, closed when the test is over."""
    async with AsyncExitStack() as opened:

        async def make(*peers: str, **settings: Any) -> aetcd.Client:
            client = aetcd.Client(*(peers or etcd.peers), **{"protocol": protocol, "namespace": prefix, **settings})
            return await opened.enter_async_context(client)

        yield make


@pytest.fixture
async def client(connect: Connect) -> aetcd.Client:
    """In a namespace of its own, so that a test may name its keys as it likes."""
    return await connect()


@pytest.fixture
async def other(connect: Connect) -> aetcd.Client:
    """Another process, as far as the cluster can tell."""
    return await connect()


@pytest.fixture
def clock() -> FakeClock:
    """What `timed` judges its trust by."""
    return FakeClock()


@pytest.fixture
async def timed(connect: Connect, clock: FakeClock) -> aetcd.Client:
    """A client whose clock the test can put forward."""
    return await connect(clock=clock)


@pytest.fixture
def eventually() -> Callable[..., Awaitable[None]]:
    """`await eventually(condition)`: until it is true, at most for 10 seconds. The condition may be async."""

    async def wait(condition: Callable[[], Any], within: float = 10.0) -> None:
        async with asyncio.timeout(within):
            while True:
                seen = condition()
                if (await seen) if asyncio.iscoroutine(seen) else seen:
                    return
                await asyncio.sleep(0.005)

    return wait


@pytest.fixture
def keys(client: aetcd.Client) -> Callable[[str], Awaitable[list[str]]]:
    """`await keys(name)`: all keys under a name."""

    async def list_keys(name: str) -> list[str]:
        return sorted(entry.key for entry in (await client._store().list(name)).entries)

    return list_keys


@pytest.fixture
async def cancel_everywhere(
    connect: Connect, keys: Callable[[str], Awaitable[list[str]]], eventually: Callable[..., Awaitable[None]]
) -> Callable[..., Awaitable[int]]:
    """`await cancel_everywhere(start, name)`: `start(client)` cancelled at each request and each answer in turn.

    After each, nothing may be left under the name but `but`. Returns how many there were.
    """
    tick: Callable[[], None] = lambda: None  # noqa: E731
    trace = aetcd.Trace(on_request=lambda event: tick(), on_response=lambda event: tick())
    client = await connect(trace=trace)

    async def scan(start: Callable[[aetcd.Client], Awaitable[Any]], name: str, but: Collection[str] = ()) -> int:
        nonlocal tick

        async def check(n: int) -> None:
            with suppress(TimeoutError):
                await eventually(clean)
                return
            pytest.fail(f"cancelled at event {n}, it left {set(await keys(name)) - set(but)}")

        async def clean() -> bool:
            return not set(await keys(name)) - set(but)

        for n in itertools.count(1):
            seen = 0
            task = asyncio.ensure_future(start(client))

            def count(n: int = n, task: asyncio.Future[Any] = task) -> None:
                nonlocal seen
                seen += 1
                if seen == n:
                    task.cancel()

            tick = count
            await asyncio.wait([task], timeout=0.5)
            tick = lambda: None  # noqa: E731
            reached = seen >= n
            if not reached:
                task.cancel()
            await asyncio.wait([task], timeout=10)
            assert task.done()
            await check(n)
            if not reached:
                return n - 1
        raise AssertionError

    return scan


@pytest.fixture
def end_session(client: aetcd.Client, protocol: str) -> Callable[[str], Awaitable[None]]:
    """`await end_session(key)`: as an administrator may: revoke the lease of a key; on v2 delete the key."""

    async def end(key: str) -> None:
        found = await client.get(key, full=True, type=bytes)
        assert found is not None
        if protocol == "v3":
            assert found.node.lease is not None
            await client.v3.lease.revoke(found.node.lease)
        else:
            await client.delete(key)

    return end

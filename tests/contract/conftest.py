"""One suite for both protocols, on every version of etcd found, under keys that no other test has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

import aetcd
from aetcd.testing import EtcdServer


@pytest.fixture(params=["v3", "v2"])
def protocol(request: pytest.FixtureRequest) -> str:
    """What the clients of a test speak."""
    spoken: str = request.param
    return spoken


@pytest.fixture
async def connect(etcd: EtcdServer, protocol: str) -> AsyncIterator[Callable[..., Awaitable[aetcd.Client]]]:
    """`await connect(**settings)`: a client that is closed when the test is over."""
    async with AsyncExitStack() as opened:

        async def make(*peers: str, **settings: Any) -> aetcd.Client:
            client = aetcd.Client(*(peers or etcd.peers), **{"protocol": protocol, **settings})
            return await opened.enter_async_context(client)

        yield make


@pytest.fixture
async def client(connect: Callable[..., Awaitable[aetcd.Client]], prefix: str) -> aetcd.Client:
    """In a namespace of its own, so that a test may name its keys as it likes."""
    return await connect(namespace=prefix)


@pytest.fixture
async def plain(connect: Callable[..., Awaitable[aetcd.Client]]) -> aetcd.Client:
    """Without a namespace: keep to keys under `prefix`."""
    return await connect()


@pytest.fixture
def eventually() -> Callable[..., Awaitable[None]]:
    """`await eventually(condition)`: until it is true, at most for 10 seconds."""

    async def wait(condition: Callable[[], bool], within: float = 10.0) -> None:
        async with asyncio.timeout(within):
            while not condition():
                await asyncio.sleep(0.005)

    return wait

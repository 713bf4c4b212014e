"""A real etcd on one side, the double of NGINX Plus on the other, and a proxy before each where a test wants one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from doubles.nginx import NginxDouble
from doubles.nginx_upstreams import Upstream

import aetcd
from aetcd.nginx import Nginx
from aetcd.testing import EtcdServer

Connect = Callable[..., Awaitable[aetcd.Client]]

OLD = ["10.0.0.1:80", "10.0.0.2:80"]


@pytest.fixture(params=["v3", "v2"])
def protocol(request: pytest.FixtureRequest) -> str:
    """What the clients of a test speak."""
    spoken: str = request.param
    return spoken


@pytest.fixture
async def connect(etcd35: EtcdServer, prefix: str) -> AsyncIterator[Connect]:
    """`await connect(*peers, **settings)`: a client in the test's own namespace, closed when the test is over."""
    async with AsyncExitStack() as opened:

        async def make(*peers: str, **settings: Any) -> aetcd.Client:
            client = aetcd.Client(*(peers or etcd35.peers), **{"protocol": "v3", "namespace": prefix, **settings})
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


def prepared(double: NginxDouble) -> NginxDouble:
    """With the upstream `shop`, whose servers are those of long ago, on both sides."""
    for side in ("http", "stream"):
        double.instance.upstreams[side]["shop"] = Upstream.of("shop", OLD, side=side)
    return double


@pytest.fixture
async def double() -> AsyncIterator[NginxDouble]:
    async with prepared(NginxDouble()) as double:
        yield double


@pytest.fixture
async def second() -> AsyncIterator[NginxDouble]:
    """Another instance."""
    async with prepared(NginxDouble()) as double:
        yield double


@pytest.fixture
async def nginx(double: NginxDouble) -> AsyncIterator[Nginx]:
    async with Nginx(double.url, timeout=2) as nginx:
        yield nginx


@pytest.fixture
def eventually() -> Callable[..., Awaitable[None]]:
    """`await eventually(condition)`: until it is true, at most for 10 seconds."""

    async def wait(condition: Callable[[], Any], within: float = 10.0) -> None:
        async with asyncio.timeout(within):
            while not condition():
                await asyncio.sleep(0.005)

    return wait

"""A cluster of each version, and a client that is impatient."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import pytest
from doubles.aistore import AIStoreDouble, Dialect

from aetcd._routing.retry import RetryPolicy
from aetcd.aistore import AIStore, Bucket

QUICK = RetryPolicy(attempts=4, base=0.01, cap=0.05)


@pytest.fixture(params=["3.3", "current"])
def dialect(request: pytest.FixtureRequest) -> Dialect:
    """Each version in turn; a test overrides it by `@pytest.mark.parametrize("dialect", ["3.3"])`."""
    found: Dialect = request.param
    return found


@pytest.fixture
async def double(dialect: Dialect) -> AsyncIterator[AIStoreDouble]:
    """Two gateways and two targets, with the bucket `b`."""
    async with AIStoreDouble(dialect, gateways=2) as cluster:
        cluster.create("b")
        yield cluster


@pytest.fixture
async def ais(double: AIStoreDouble) -> AsyncIterator[AIStore]:
    """A client of that cluster."""
    async with AIStore(*double.urls, timeout=5, retry=QUICK) as client:
        yield client


@pytest.fixture
def bucket(ais: AIStore) -> Bucket:
    """The bucket `b`."""
    return ais.bucket("b")


@pytest.fixture
def silent() -> Iterator[str]:
    """The URL of a node behind a firewall: no connection to it is accepted, and none refused. Its backlog is full."""
    with ExitStack() as sockets:
        listener = sockets.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):
            waiting = sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"

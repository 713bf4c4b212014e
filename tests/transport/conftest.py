"""Scripted servers and pools that are closed when the test ends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from scripted import MakePool, Plan, Scripted, Serve, make_pool

from aetcd._transport.pool import Pool


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """`await serve(plan)`: a scripted server that listens."""
    async with AsyncExitStack() as opened:

        async def start(plan: Plan | None = None, **settings: Any) -> Scripted:
            server = Scripted(**settings)
            if plan is not None:
                server.plan = plan
            await server.listen()
            opened.push_async_callback(server.refuse)
            return server

        yield start


@pytest.fixture
async def pool_of() -> AsyncIterator[MakePool]:
    """`pool_of(server.url)`: a pool of these peers. No request is left in it at the end."""
    pools: list[Pool] = []

    def make(*urls: str, **settings: Any) -> Pool:
        pools.append(make_pool(*urls, **settings))
        return pools[-1]

    yield make
    for pool in pools:
        await pool.aclose()
        assert all(status.pending == status.streams == 0 for status in pool.status())

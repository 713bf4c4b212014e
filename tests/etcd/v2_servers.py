"""The v2 API of real servers."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aetcd._routing.balance import RoundRobin
from aetcd._routing.peer import parse_peers
from aetcd._routing.retry import RetryPolicy
from aetcd._transport.auth import BasicAuth, NoAuth
from aetcd._transport.channel import Channel
from aetcd._transport.http import HTTP
from aetcd._transport.pool import Pool
from aetcd._transport.timeouts import Timeout
from aetcd._wire.message import Effect, Request
from aetcd.etcd.v2 import V2
from aetcd.testing import etcd_binaries

BINARIES = [binary for binary in etcd_binaries() if not binary.at_least(3, 6)]


@asynccontextmanager
async def connected(url: str, *, user: tuple[str, str] | None = None, timeout: float = 10.0) -> AsyncIterator[V2]:
    """The v2 API of one server."""
    pool = Pool(
        parse_peers(url),
        http=lambda: HTTP(None),
        balance=RoundRobin(),
        retry=RetryPolicy(),
        timeout=Timeout(timeout),
        probe=Request(operation="probe", method="GET", path="/version", effect=Effect.READ),
        rng=random.Random(1),
    )
    try:
        yield V2(Channel(pool, BasicAuth(*user) if user else NoAuth()))
    finally:
        await pool.aclose()

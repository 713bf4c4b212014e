"""The v3 API of real servers, without the facade."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aetcd._routing.balance import RoundRobin
from aetcd._routing.peer import parse_peers
from aetcd._routing.retry import RetryPolicy
from aetcd._transport.auth import Auth, NoAuth, TokenAuth
from aetcd._transport.channel import Channel
from aetcd._transport.http import HTTP
from aetcd._transport.pool import Pool
from aetcd._transport.timeouts import Timeout
from aetcd.etcd.v3 import V3
from aetcd.etcd.v3._gateway import version_request


@asynccontextmanager
async def connected(
    peers: Sequence[str],
    *,
    user: tuple[str, str] | None = None,
    prefix: str | None = None,
    timeout: float = 10.0,
    watch_sharing: bool = False,
    guard: bool = False,
) -> AsyncIterator[V3]:
    """The v3 API of these peers; as a user whose token is fetched when it is needed."""
    pool = Pool(
        parse_peers(*peers),
        http=lambda: HTTP(None),
        balance=RoundRobin(),
        retry=RetryPolicy(),
        timeout=Timeout(timeout),
        probe=version_request(),
        rng=random.Random(1),
    )
    auth: Auth = NoAuth()
    if user is not None:
        # By the very channel that the token is for: fetching it must not wait for it.
        auth = TokenAuth(lambda: v3.auth.authenticate(*user))
    v3 = V3(Channel(pool, auth), prefix=prefix, watch_sharing=watch_sharing, guard=guard)
    try:
        yield v3
    finally:
        await pool.aclose()

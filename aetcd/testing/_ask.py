"""Asking a member how it is, over plain HTTP and without any client of this package.

What is tested with these helpers must not be what tells whether they work.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from attrs import frozen

__all__ = ["Standing", "elected", "healthy", "listens", "speaks", "standing"]

PATIENCE = 1.0
"""Seconds that a member has for one answer: a healthy one on this machine needs milliseconds."""


@frozen(kw_only=True)
class Standing:
    """How one member sees its cluster.

    member: Its own id.
    leader: The id of the member that it follows, itself included; 0 while it knows none.
    term: The raft term in which it says so.
    """

    member: int
    leader: int
    term: int


def elected(standings: Collection[Standing], size: int) -> int | None:
    """The id of the member that leads a cluster of `size`, or None while that is open.

    A leader that was paused, or cut off, claims for a while that it still leads: only the newest term counts, a
    majority must follow, and the leader must be among those who answered.
    """
    newest = max((standing.term for standing in standings), default=0)
    votes = Counter(standing.leader for standing in standings if standing.term == newest and standing.leader)
    answered = {standing.member for standing in standings}
    return next((leader for leader, count in votes.items() if count > size // 2 and leader in answered), None)


async def standing(url: str, tls: ssl.SSLContext | None) -> Standing | None:
    """How this member sees its cluster, or None when it does not tell. It answers alone, with or without a leader."""
    answer = await _ask(url, "POST", "/v3/maintenance/status", tls)
    if answer is None:
        return None
    # Zeros are left out of the answer: no leader is no field.
    return Standing(
        member=int(answer["header"]["member_id"]),
        leader=int(answer.get("leader", 0)),
        term=int(answer.get("raftTerm", 0)),
    )


async def healthy(url: str, tls: ssl.SSLContext | None) -> bool:
    """Whether this member serves: it follows a leader and a linearizable read through it succeeds."""
    seen = await standing(url, tls)
    # Asked second and only then: without a leader this question hangs for seconds, and the first does not.
    return bool(seen and seen.leader) and (await _ask(url, "GET", "/health", tls) or {}).get("health") == "true"


async def speaks(url: str) -> bool:
    """Whether HTTP is answered there, at a peer URL too."""
    return await _ask(url, "GET", "/version", None) is not None


async def listens(url: str) -> bool:
    """Whether a connection is accepted there; a member without a quorum does that, and answers nothing yet."""
    try:
        _, writer = await _connect(url, None)
    except OSError:
        return False
    writer.transport.abort()
    return True


async def _ask(url: str, method: str, path: str, tls: ssl.SSLContext | None) -> dict[str, Any] | None:
    """The JSON object that it answers with 200, or None."""
    with suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
        async with asyncio.timeout(PATIENCE):
            status, body = await _exchange(url, method, path, tls)
        if status == 200:
            found = json.loads(body)
            return found if isinstance(found, dict) else None
    return None


async def _exchange(url: str, method: str, path: str, tls: ssl.SSLContext | None) -> tuple[int, bytes]:
    body = b"{}" if method == "POST" else b""
    reader, writer = await _connect(url, tls)
    try:
        # HTTP/1.0, so that the answer is not chunked. Read by its length and not to its end: etcd's peer port keeps the
        # connection open all the same.
        writer.write(f"{method} {path} HTTP/1.0\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").splitlines()
        headers = {name.lower(): value for name, _, value in (line.partition(":") for line in lines)}
        return int(first.split()[1]), await reader.readexactly(int(headers["content-length"]))
    finally:
        # Not close(): on TLS it would wait for a farewell that a paused member never sends.
        writer.transport.abort()


async def _connect(url: str, tls: ssl.SSLContext | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    place = urlsplit(url)
    return await asyncio.open_connection(place.hostname, place.port, ssl=tls)

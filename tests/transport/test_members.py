"""The pool before a real cluster of which one member is paused."""

from __future__ import annotations

import asyncio
import time

import pytest
from scripted import MakePool, eventually

from aetcd import RequestTimeout
from aetcd._transport.auth import ANONYMOUS
from aetcd._transport.streams import Stream
from aetcd._wire.message import Effect, Request
from aetcd.testing import EtcdCluster

HEALTH = Request(operation="health", method="GET", path="/health", effect=Effect.READ)
RANGE = Request(operation="range", method="POST", path="/v3/kv/range", effect=Effect.READ, body=b'{"key":"Zm9v"}')
WATCH = Request(
    operation="watch",
    method="POST",
    path="/v3/watch",
    effect=Effect.READ,
    body=b'{"create_request":{"key":"Zm9v"}}',
)


async def read_all(stream: Stream) -> None:
    while await stream.read():
        pass


async def test_paused_member(cluster: EtcdCluster, pool_of: MakePool) -> None:
    """Reads go on elsewhere within their time, its streams fail within five seconds, and those of others stay."""
    leader = await cluster.leader()
    paused, other = [member for member in cluster.members if member is not leader]
    pool = pool_of(*cluster.peers, probe=HEALTH, timeout=3.0)

    async def watch(url: str) -> float:
        async with pool.stream(WATCH, auth=ANONYMOUS, peer=url) as stream:
            await stream.read()
            ready.release()
            await pause.wait()
            started = time.monotonic()
            with pytest.raises(RequestTimeout, match="fell silent"):
                await read_all(stream)
            return time.monotonic() - started

    ready, pause = asyncio.Semaphore(0), asyncio.Event()
    silent = asyncio.create_task(watch(paused.url))
    idle = asyncio.create_task(watch(other.url))
    for _ in range(2):
        await ready.acquire()
    await paused.pause()
    pause.set()
    slowest = 0.0
    while not silent.done():
        started = time.monotonic()
        assert (await pool.send(RANGE, auth=ANONYMOUS)).status == 200
        slowest = max(slowest, time.monotonic() - started)
        await asyncio.sleep(0.02)
    assert await silent < 5.0
    assert slowest < 3.0
    assert not idle.done()
    idle.cancel()
    await asyncio.wait([idle])
    await paused.resume()
    await eventually(lambda: all(status.streams == 0 for status in pool.status()))
    async with asyncio.timeout(40):
        while any(status.state != "healthy" for status in pool.status()):
            await pool.send(RANGE, auth=ANONYMOUS)
            await asyncio.sleep(0.02)

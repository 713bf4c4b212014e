# /// script
# dependencies = ["aio-etcd", "setuptools<81"]
# ///
"""aio-etcd, by v2. It knows all members; each watch takes one of its session's 100 connections.

A watch is a long poll for each change, from an index that is read when it is entered, so that none is missed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from aio_etcd import Client, EtcdResult
from aio_etcd.lock import Lock

from benchmarks.contract import Contract, Renew, hosts

MODULE = "aio_etcd"
DISTRIBUTION = "aio-etcd"


class Peer(Contract):
    def __init__(self, client: Client) -> None:
        self._client = client

    async def get(self, key: str) -> None:
        await self._client.read(key, quorum=True)

    async def put(self, key: str, value: str) -> None:
        await self._client.write(key, value)

    async def read(self, prefix: str) -> int:
        found = await self._client.read(prefix, recursive=True, quorum=True)
        return len([leaf.value for leaf in found.leaves])

    @asynccontextmanager
    async def watch(self, key: str, *, recursive: bool = False) -> AsyncIterator[AsyncIterator[str]]:
        index = (await self._client.read("/")).etcd_index

        def poll(following: int) -> asyncio.Task[EtcdResult]:
            return asyncio.ensure_future(self._client.watch(key, index=following, recursive=recursive))

        first = poll(index + 1)  # it would be sent when the first change is asked for, and so not stand before

        async def values() -> AsyncIterator[str]:
            change = await first
            while True:
                yield change.value
                change = await poll(change.modifiedIndex + 1)

        try:
            yield values()
        finally:
            first.cancel()

    @asynccontextmanager
    async def lock(self, name: str) -> AsyncIterator[None]:
        lock = Lock(self._client, name)
        await lock.acquire(lock_ttl=15)
        try:
            yield
        finally:
            await lock.release()

    async def lease(self, name: str) -> Renew:
        await self._client.write(name, "held", ttl=60)
        return partial(self._client.refresh, name, 60)


@asynccontextmanager
async def connect(urls: list[str]) -> AsyncIterator[Contract]:
    places = tuple(hosts(urls))
    if len(places) == 1:
        client = Client(host=places[0][0], port=places[0][1])
    else:
        client = Client(host=places, allow_reconnect=True)
    try:
        yield Peer(client)
    finally:
        client.close()

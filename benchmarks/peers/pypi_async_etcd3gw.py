# /// script
# dependencies = ["async-etcd3gw"]
# ///
"""async-etcd3gw, by the gateway. It knows one member; each watch takes one of its session's 100 connections."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from async_etcd3gw import AsyncEtcd3Client

from benchmarks.contract import Absent, Contract, Renew, hosts

MODULE = "async_etcd3gw"
DISTRIBUTION = "async-etcd3gw"


class Peer(Contract):
    def __init__(self, client: AsyncEtcd3Client) -> None:
        self._client = client

    async def get(self, key: str) -> None:
        await self._client.get(key)

    async def put(self, key: str, value: str) -> None:
        await self._client.put(key, value)

    async def read(self, prefix: str) -> int:
        return len(await self._client.get_prefix(f"{prefix}/"))

    @asynccontextmanager
    async def watch(self, key: str, *, recursive: bool = False) -> AsyncIterator[AsyncIterator[str]]:
        events, cancel = await (self._client.watch_prefix(f"{key}/") if recursive else self._client.watch(key))
        try:
            yield (event["kv"]["value"].decode() async for event in events)
        finally:
            await cancel()

    @asynccontextmanager
    async def lock(self, name: str) -> AsyncIterator[None]:
        lock = await self._client.lock(name, ttl=15)
        if not await lock.acquire():
            raise Absent("it tries once and does not wait")
        try:
            yield
        finally:
            await lock.release()

    async def lease(self, name: str) -> Renew:
        return (await self._client.lease(60)).refresh


@asynccontextmanager
async def connect(urls: list[str]) -> AsyncIterator[Contract]:
    host, port = hosts(urls)[0]
    async with AsyncEtcd3Client(host=host, port=port) as client:
        yield Peer(client)

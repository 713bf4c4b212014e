# /// script
# dependencies = ["etcd3aio"]
# ///
"""etcd3aio, by gRPC. It knows all members; each watch is a stream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from etcd3aio import Etcd3Client
from etcd3aio.kv import prefix_range_end

from benchmarks.contract import Contract, Renew, hosts

MODULE = "etcd3aio"
DISTRIBUTION = "etcd3aio"


class Peer(Contract):
    def __init__(self, client: Etcd3Client) -> None:
        self._client = client

    async def get(self, key: str) -> None:
        await self._client.kv.get(key)

    async def put(self, key: str, value: str) -> None:
        await self._client.kv.put(key, value)

    async def read(self, prefix: str) -> int:
        found = await self._client.kv.get(f"{prefix}/", range_end=prefix_range_end(f"{prefix}/".encode()))
        return len([kv.value for kv in found.kvs])

    @asynccontextmanager
    async def watch(self, key: str, *, recursive: bool = False) -> AsyncIterator[AsyncIterator[str]]:
        name = f"{key}/" if recursive else key
        answers = self._client.watch.watch(name, prefix_range_end(name.encode()) if recursive else None)
        await anext(answers)  # that it was created
        try:
            yield (event.kv.value.decode() async for answer in answers for event in answer.events)
        finally:
            await answers.aclose()

    def lock(self, name: str) -> AbstractAsyncContextManager[object]:
        return self._client.lock(name, ttl=15)

    async def lease(self, name: str) -> Renew:
        granted = (await self._client.lease.grant(60)).ID

        async def renew() -> None:
            call = self._client.lease.keep_alive(granted)
            async for _ in call:
                break
            call.cancel()

        return renew


@asynccontextmanager
async def connect(urls: list[str]) -> AsyncIterator[Contract]:
    async with Etcd3Client([f"{host}:{port}" for host, port in hosts(urls)]) as client:
        yield Peer(client)

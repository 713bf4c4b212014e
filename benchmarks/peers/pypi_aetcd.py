# /// script
# dependencies = ["aetcd"]
# ///
"""The `aetcd` of PyPI, by gRPC. It knows one member, and watches share a stream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aetcd import Client
from benchmarks.contract import Contract, Renew, hosts

MODULE = "aetcd"
DISTRIBUTION = "aetcd"


class Peer(Contract):
    def __init__(self, client: Client) -> None:
        self._client = client

    async def get(self, key: str) -> None:
        await self._client.get(key.encode())

    async def put(self, key: str, value: str) -> None:
        await self._client.put(key.encode(), value.encode())

    async def read(self, prefix: str) -> int:
        return len([found.value for found in await self._client.get_prefix(f"{prefix}/".encode())])

    @asynccontextmanager
    async def watch(self, key: str, *, recursive: bool = False) -> AsyncIterator[AsyncIterator[str]]:
        watch = await (self._client.watch_prefix(f"{key}/".encode()) if recursive else self._client.watch(key.encode()))
        try:
            yield (event.kv.value.decode() async for event in watch)
        finally:
            await watch.cancel()

    @asynccontextmanager
    async def lock(self, name: str) -> AsyncIterator[None]:
        lock = self._client.lock(name.encode(), ttl=15)
        await lock.acquire(timeout=None)
        try:
            yield
        finally:
            await lock.release()

    async def lease(self, name: str) -> Renew:
        return (await self._client.lease(60)).refresh


@asynccontextmanager
async def connect(urls: list[str]) -> AsyncIterator[Contract]:
    host, port = hosts(urls)[0]
    async with Client(host, port, options={"grpc.max_receive_message_length": -1}) as client:
        yield Peer(client)

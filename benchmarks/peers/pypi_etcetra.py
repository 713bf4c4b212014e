# /// script
# dependencies = ["etcetra"]
# ///
"""etcetra, by gRPC. It knows one member; its reads are always of the member's own copy; each watch is a stream.

A watch is ready when it is sent: it has no way to tell that it stands.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from etcetra import EtcdClient, HostPortPair
from etcetra.client import EtcdCommunicator, EtcdLockManager

from benchmarks.contract import Absent, Contract, Renew, hosts

MODULE = "etcetra"
DISTRIBUTION = "etcetra"


class Peer(Contract):
    def __init__(self, client: EtcdCommunicator) -> None:
        self._client = client

    async def get(self, key: str) -> None:
        await self._client.get(key)

    async def put(self, key: str, value: str) -> None:
        await self._client.put(key, value)

    async def read(self, prefix: str) -> int:
        return len(await self._client.get_prefix(f"{prefix}/"))

    @asynccontextmanager
    async def watch(self, key: str, *, recursive: bool = False) -> AsyncIterator[AsyncIterator[str]]:
        ready = asyncio.Event()
        events = (
            self._client.watch_prefix(f"{key}/", ready_event=ready)
            if recursive
            else self._client.watch(key, ready_event=ready)
        )
        first = asyncio.ensure_future(anext(events))  # nothing is sent before it is asked for
        await ready.wait()

        async def values() -> AsyncIterator[str]:
            yield (await first).value
            async for event in events:
                yield event.value

        try:
            yield values()
        finally:
            first.cancel()

    def lock(self, name: str) -> AbstractAsyncContextManager[object]:
        return EtcdLockManager(name, self._client.channel, ttl=15)

    async def lease(self, name: str) -> Renew:
        raise Absent("it renews by a task of its own, and cannot be asked to")


@asynccontextmanager
async def connect(urls: list[str]) -> AsyncIterator[Contract]:
    host, port = hosts(urls)[0]
    async with EtcdClient(HostPortPair(host, port)).connect() as client:
        yield Peer(client)

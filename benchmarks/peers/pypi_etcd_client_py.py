# /// script
# dependencies = ["etcd-client-py"]
# ///
"""etcd-client-py, Rust's client by gRPC. It knows all members; each watch is a stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from etcd_client import Client, CondVar, EtcdLockOption

from benchmarks.contract import Absent, Contract, Renew

MODULE = "etcd_client"
DISTRIBUTION = "etcd-client-py"


class Peer(Contract):
    def __init__(self, client: Client, connected: Any) -> None:
        self._client, self._connected = client, connected

    async def get(self, key: str) -> None:
        await self._connected.get(key.encode())

    async def put(self, key: str, value: str) -> None:
        await self._connected.put(key.encode(), value.encode())

    async def read(self, prefix: str) -> int:
        return len(await self._connected.get_prefix(f"{prefix}/".encode()))

    @asynccontextmanager
    async def watch(self, key: str, *, recursive: bool = False) -> AsyncIterator[AsyncIterator[str]]:
        ready = CondVar()
        events = (
            self._connected.watch_prefix(f"{key}/".encode(), ready_event=ready)
            if recursive
            else self._connected.watch(key.encode(), ready_event=ready)
        )

        async def values() -> AsyncIterator[str]:
            async for event in events:
                yield bytes(event.value).decode()

        told = values()
        waiting = asyncio.ensure_future(anext(told))  # nothing is sent before it is asked for
        await ready.wait()

        async def all_values() -> AsyncIterator[str]:
            yield await waiting
            async for value in told:
                yield value

        try:
            yield all_values()
        finally:
            waiting.cancel()

    def lock(self, name: str) -> AbstractAsyncContextManager[object]:
        return self._client.with_lock(EtcdLockOption(name.encode(), ttl=15))

    async def lease(self, name: str) -> Renew:
        raise Absent("it grants a lease and does not tell its ID")


@asynccontextmanager
async def connect(urls: list[str]) -> AsyncIterator[Contract]:
    client = Client(urls)
    async with client.connect() as connected:
        yield Peer(client, connected)

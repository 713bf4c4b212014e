"""aetcd: this project."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

from aetcd import Change, Client, Outcome, TransportError
from benchmarks.contract import Contract, Renew

MODULE = "aetcd"
DISTRIBUTION = "aetcd-http"


class Ours(Contract):
    def __init__(self, client: Client) -> None:
        self._client = client

    async def get(self, key: str) -> None:
        await self._client.get(key)

    async def put(self, key: str, value: str) -> None:
        await self._client.set(key, value)

    async def read(self, prefix: str) -> int:
        return len(await self._client.ls(prefix))

    @asynccontextmanager
    async def watch(self, key: str, *, recursive: bool = False) -> AsyncIterator[AsyncIterator[str]]:
        async with self._client.watch(key, recursive=recursive) as changes:
            yield (change.value or "" async for change in changes if isinstance(change, Change))

    def lock(self, name: str) -> AbstractAsyncContextManager[object]:
        return self._client.lock(name)

    async def lease(self, name: str) -> Renew:
        if self._client.status().protocol == "v2":
            await self._client.set(name, "held", ttl=60)
            return partial(self._client.refresh, name, ttl=60)
        granted = await self._client.v3.lease.grant(60)
        return partial(self._client.v3.lease.keep_alive_once, granted.id)

    def applied(self, error: Exception) -> bool:
        return not (isinstance(error, TransportError) and error.outcome is Outcome.NOT_SENT)


@asynccontextmanager
async def connect(urls: list[str], **settings: Any) -> AsyncIterator[Contract]:
    async with Client(*urls, **settings) as client:
        yield Ours(client)

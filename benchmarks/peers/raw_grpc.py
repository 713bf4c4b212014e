# /// script
# dependencies = ["grpcio", "etcd3aio"]
# ///
"""Floor: grpc.aio by itself, with requests that are made once. etcd3aio lends its generated messages, and no more."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from etcd3aio._protobuf import (
    KVStub,
    PutRequest,
    RangeRequest,
    WatchCreateRequest,
    WatchRequest,
    WatchStub,
)

from benchmarks.contract import Contract, hosts

MODULE = "grpc.aio"
DISTRIBUTION = "grpcio"


def _end(prefix: str) -> bytes:
    """The first key after those under a folder: the character after the slash."""
    return f"{prefix}0".encode()


class Raw(Contract):
    def __init__(self, channel: Any) -> None:
        self._kv, self._watches = KVStub(channel), WatchStub(channel)
        self._made: dict[str, Any] = {}
        self._stream: Any = None
        self._entering = asyncio.Lock()
        self._queues: dict[int, asyncio.Queue[str]] = {}
        self._asked: deque[asyncio.Future[asyncio.Queue[str]]] = deque()

    async def get(self, key: str) -> None:
        if (made := self._made.get(key)) is None:
            made = self._made[key] = RangeRequest(key=key.encode())
        await self._kv.Range(made)

    async def put(self, key: str, value: str) -> None:
        if (made := self._made.get(f"put {key}")) is None:
            made = self._made[f"put {key}"] = PutRequest(key=key.encode(), value=value.encode())
        await self._kv.Put(made)

    async def read(self, prefix: str) -> int:
        answer = await self._kv.Range(RangeRequest(key=f"{prefix}/".encode(), range_end=_end(prefix)))
        return len(answer.kvs)

    @asynccontextmanager
    async def watch(self, key: str, *, recursive: bool = False) -> AsyncIterator[AsyncIterator[str]]:
        """All share one stream, as in Go's client."""
        wanted = (f"{key}/".encode(), _end(key)) if recursive else (key.encode(), b"")
        if self._stream is None:
            self._stream = self._watches.Watch()
            self._reader = asyncio.create_task(self._read(self._stream))
        request = WatchRequest(create_request=WatchCreateRequest(key=wanted[0], range_end=wanted[1]))
        async with self._entering:
            created: asyncio.Future[asyncio.Queue[str]] = asyncio.get_running_loop().create_future()
            self._asked.append(created)  # the server answers in this order
            await self._stream.write(request)
        queue = await created

        async def values() -> AsyncIterator[str]:
            while True:
                yield await queue.get()

        yield values()

    async def _read(self, stream: Any) -> None:
        async for answer in stream:
            if answer.created:
                queue = self._queues[answer.watch_id] = asyncio.Queue()
                if not (created := self._asked.popleft()).done():
                    created.set_result(queue)
            for event in answer.events:
                self._queues[answer.watch_id].put_nowait(event.kv.value.decode())


@asynccontextmanager
async def connect(urls: list[str]) -> AsyncIterator[Contract]:
    target = "ipv4:" + ",".join(f"{host}:{port}" for host, port in hosts(urls))
    settings = [("grpc.lb_policy_name", "round_robin"), ("grpc.max_receive_message_length", -1)]
    async with grpc.aio.insecure_channel(target, options=settings) as channel:
        yield Raw(channel)

"""An HTTP server that does as it is told, to the byte, and remembers what it was asked."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal

from attrs import define, field, frozen

from aetcd._routing.balance import RoundRobin
from aetcd._routing.peer import parse_peers
from aetcd._routing.retry import RetryPolicy
from aetcd._transport.http import HTTP
from aetcd._transport.pool import Pool
from aetcd._transport.timeouts import Timeout
from aetcd._wire.message import Effect, Request

PROBE = Request(operation="probe", method="GET", path="/probe", effect=Effect.READ)
GET = Request(operation="get", method="GET", path="/get", effect=Effect.READ)
RENEW = Request(operation="renew", method="POST", path="/renew", effect=Effect.REPEATABLE, body=b"renew")
PUT = Request(operation="put", method="PUT", path="/put", effect=Effect.ONCE, body=b"value")


@define(eq=False)
class Seen:
    """A request whose head was read. `connection` counts from 0."""

    method: str
    target: str
    headers: dict[str, str]
    connection: int
    body: bytes = b""


@frozen
class Reply:
    """What is done with a request: read so many bytes of its body (None: all), send `data`, and then.

    keep: wait for the next request. fin, rst: end the connection. hang: say no more. stream: send `pieces`, then end.
    """

    data: bytes = b""
    then: Literal["keep", "fin", "rst", "hang", "stream"] = "keep"
    read: int | None = None
    pieces: AsyncIterator[bytes] | None = None


def ok(body: bytes = b"{}", status: str = "200 OK", **headers: str) -> Reply:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return Reply("\r\n".join([*lines, "", ""]).encode() + body)


def endless(pieces: AsyncIterator[bytes], status: str = "200 OK") -> Reply:
    """An answer in chunks, for as long as there are pieces."""
    return Reply(f"HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\n\r\n".encode(), "stream", None, pieces)


async def silence(*first: bytes) -> AsyncIterator[bytes]:
    """These pieces, and no more for ever."""
    for piece in first:
        yield piece
    await asyncio.Event().wait()


HANG = Reply(then="hang")
CUT = Reply(then="rst")
Plan = Callable[[Seen], Reply | Awaitable[Reply]]
Serve = Callable[..., Awaitable["Scripted"]]
MakePool = Callable[..., Pool]


@define(eq=False)
class Scripted:
    """The server. `plan` and `on_probe` may be changed at any time."""

    plan: Plan = field(default=lambda _: ok())
    on_probe: Plan = field(default=lambda _: ok())
    tls: ssl.SSLContext | None = None
    seen: list[Seen] = field(factory=list)
    probes: list[Seen] = field(factory=list)
    accepted: int = 0
    port: int = 0
    _tasks: set[asyncio.Task[Any]] = field(factory=set)
    _open: set[asyncio.StreamWriter] = field(factory=set)
    _server: asyncio.Server | None = None
    _change: asyncio.Event = field(factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def open_connections(self) -> int:
        return len(self._open)

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Listen no more, and cut what is connected."""
        if self._server is not None:
            self._server.close()
        for writer in self._open:
            writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def until(self, condition: Callable[[Scripted], bool], *, within: float = 5) -> None:
        """Wait until it holds; it is looked at whenever something happened here."""
        async with asyncio.timeout(within):
            while not condition(self):
                self._change = asyncio.Event()
                await self._change.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open.add(writer)
        number, self.accepted = self.accepted, self.accepted + 1
        self._change.set()
        try:
            with suppress(asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
                while await self._answer(reader, writer, number):
                    pass
        finally:
            self._tasks.discard(task)
            self._open.discard(writer)
            writer.transport.abort()
            self._change.set()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, target, _ = head[0].split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])}
        seen = Seen(method, target, headers, number)
        asked = target == PROBE.path
        (self.probes if asked else self.seen).append(seen)
        self._change.set()
        planned = (self.on_probe if asked else self.plan)(seen)
        reply = planned if isinstance(planned, Reply) else await planned
        length = int(headers.get("content-length", 0))
        seen.body = await reader.readexactly(length if reply.read is None else min(reply.read, length))
        writer.write(reply.data)
        if reply.then == "hang":
            await reader.read()
        if reply.pieces is not None:
            # Also until the client goes, which only a reader notices.
            tasks = [asyncio.create_task(self._stream(writer, reply.pieces)), asyncio.create_task(reader.read())]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
        await writer.drain()
        if reply.then == "rst":
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if reply.then == "fin":
            writer.write_eof()
            await reader.read()
        return reply.then == "keep"

    @staticmethod
    async def _stream(writer: asyncio.StreamWriter, pieces: AsyncIterator[bytes]) -> None:
        async for piece in pieces:
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()


def make_pool(*urls: str, timeout: Timeout | float = 5.0, tls: ssl.SSLContext | None = None, **settings: Any) -> Pool:
    """A pool of these peers, in their order, with settings that suit a test."""
    defaults: dict[str, Any] = {
        "http": lambda: HTTP(tls),
        "balance": RoundRobin(),
        "retry": RetryPolicy(base=0.01, cap=0.02),
        "probe": PROBE,
        "rng": random.Random(1),
    }
    return Pool(parse_peers(*urls), timeout=Timeout.of(timeout), **{**defaults, **settings})


@contextmanager
def deaf() -> Iterator[str]:
    """The URL of a peer that accepts no connection and refuses none: its backlog is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = []
        try:
            for _ in range(4):
                client = socket.socket()
                waiting.append(client)
                client.setblocking(False)
                client.connect_ex(listener.getsockname())
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            for client in waiting:
                client.close()


def refusing() -> str:
    """The URL of a peer where nothing listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unused.getsockname()[1]}"


async def eventually(condition: Callable[[], bool], *, within: float = 5) -> None:
    """Wait until it holds: for state that tells nobody when it changes."""
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.005)

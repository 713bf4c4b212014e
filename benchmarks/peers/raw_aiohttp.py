"""Floor: aiohttp by itself, with requests that are made once and answers that are not decoded.

The requests are those that aetcd sends: method, URL, headers and body are taken from the debug lines of its own calls,
so that the two cannot drift apart. The session has its settings too. It has no peers to choose from, no retries and no
values.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import shlex
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Literal, NamedTuple

import aiohttp
from yarl import URL

from aetcd import Client
from benchmarks.contract import Contract

MODULE = "aiohttp"
DISTRIBUTION = "aiohttp"

Protocol = Literal["v3", "v2"]
Call = Callable[[Client], Awaitable[object]]

ANY = "any"

_CURL = argparse.ArgumentParser(prog="curl")
_CURL.add_argument("-s", "-S", action="store_true")
_CURL.add_argument("-X", dest="method", default="GET")
_CURL.add_argument("-H", dest="headers", action="append", default=[])
_CURL.add_argument("--data-raw", dest="body")
_CURL.add_argument("url")


class Prepared(NamedTuple):
    """A request that needs only to be sent."""

    method: str
    url: URL
    headers: dict[str, str]
    body: bytes | None


async def prepared(url: str, protocol: Protocol, call: Call) -> Prepared:
    """The request that a call of aetcd sends."""
    with _curl_lines() as lines:
        async with Client(url, protocol=protocol, debug=True, watch_sharing=False) as client:
            await call(client)
    # Which version the server runs is asked for once in a client's life, and is no part of the call.
    line = next(line for line in lines if not line.endswith("/version"))
    told = _CURL.parse_args(shlex.split(line)[1:])
    headers = dict(header.split(": ", 1) for header in told.headers)
    body = None if told.body is None else told.body.encode()
    return Prepared(told.method, URL(told.url, encoded=True), headers, body)


@contextmanager
def _curl_lines() -> Iterator[list[str]]:
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if (line := record.getMessage()).startswith("curl "):
                lines.append(line)

    handler, log = Keep(), logging.getLogger("aetcd.http")
    log.addHandler(handler)  # with one there, a client adds none for stderr
    try:
        yield lines
    finally:
        log.removeHandler(handler)


async def _watched(client: Client, key: str, *, recursive: bool = False) -> None:
    async with client.watch(key, recursive=recursive):
        pass


class Raw(Contract):
    def __init__(self, session: aiohttp.ClientSession, url: str, protocol: Protocol) -> None:
        self._session, self._url, self._protocol = session, url, protocol
        self._made: dict[tuple[str, str], Prepared] = {}
        self._preparing = asyncio.Lock()

    async def get(self, key: str) -> None:
        await self._send("get", key, lambda client: client.get(key))

    async def put(self, key: str, value: str) -> None:
        await self._send("put", key, lambda client: client.set(key, value))

    async def read(self, prefix: str) -> int:
        # It receives, and looks no further than to count.
        body = await self._send("read", prefix, lambda client: client.ls(prefix))
        return body.count(b'"mod_revision"' if self._protocol == "v3" else b'"value"')

    @asynccontextmanager
    async def watch(self, key: str, *, recursive: bool = False) -> AsyncIterator[AsyncIterator[str]]:
        request = self._stream_v2(key, recursive) if self._protocol == "v2" else await self._stream_v3(key, recursive)
        async with self._session.request(
            request.method, request.url, data=request.body, headers=request.headers, timeout=aiohttp.ClientTimeout()
        ) as answer:
            yield self._values_v3(answer) if self._protocol == "v3" else self._values_v2(answer)

    async def _values_v3(self, answer: aiohttp.ClientResponse) -> AsyncIterator[str]:
        async for line in answer.content:
            for event in json.loads(line)["result"].get("events", ()):
                yield b64decode(event["kv"]["value"]).decode()

    async def _stream_v3(self, key: str, recursive: bool) -> Prepared:
        if recursive:
            return await self._prepare("watch", key, lambda client: _watched(client, key, recursive=True))
        # A thousand keys have a thousand requests, which differ in the key alone.
        made = await self._prepare("watch", ANY, lambda client: _watched(client, ANY))
        assert made.body is not None
        return made._replace(body=made.body.replace(b64encode(ANY.encode()), b64encode(key.encode())))

    def _stream_v2(self, key: str, recursive: bool) -> Prepared:
        # aetcd asks for the index first, and sends this when the caller wants a change.
        url = URL(self._url) / "v2/keys" / key % {"wait": "true", "stream": "true", "recursive": str(recursive).lower()}
        return Prepared("GET", url, {}, None)

    async def _values_v2(self, answer: aiohttp.ClientResponse) -> AsyncIterator[str]:
        async for line in answer.content:
            yield json.loads(line)["node"]["value"]

    async def _prepare(self, operation: str, key: str, call: Call) -> Prepared:
        async with self._preparing:  # the debug lines of two would be taken for each other's
            if (operation, key) not in self._made:
                self._made[operation, key] = await prepared(self._url, self._protocol, call)
            return self._made[operation, key]

    async def _send(self, operation: str, key: str, call: Call) -> bytes:
        made = self._made.get((operation, key)) or await self._prepare(operation, key, call)
        answer = await self._session.request(
            made.method, made.url, data=made.body, headers=made.headers, allow_redirects=False
        )
        body = await answer.read()
        if answer.status not in {200, 201}:
            raise RuntimeError(f"{made.method} {made.url} was answered by {answer.status}: {body[:200]!r}")
        return body


@asynccontextmanager
async def connect(urls: list[str], *, protocol: Protocol) -> AsyncIterator[Contract]:
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=30)
    limit = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), timeout=limit, trust_env=False
    ) as session:
        raw = Raw(session, urls[0], protocol)
        if protocol == "v3":
            async with raw.watch(ANY):  # so that its request is there before anything is measured
                pass
        yield raw

"""HTTP by hand, so that these helpers are not tested with what they are made to test."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit


@asynccontextmanager
async def connection(
    url: str, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port, ssl=tls)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


def request(method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: etcd", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def put(key: str, value: str, **extra: str) -> bytes:
    body = json.dumps({"key": b64(key), "value": b64(value)}).encode()
    return request("POST", "/v3/kv/put", body, extra)


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """One answer of a known length; the connection may stay open."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    length = next(int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length:"))
    return int(lines[0].split()[1]), await reader.readexactly(length)


async def ask(url: str, raw: bytes, tls: ssl.SSLContext | None = None) -> tuple[int, bytes]:
    """Send one request on a connection of its own, and read its answer."""
    async with connection(url, tls) as (reader, writer):
        writer.write(raw)
        return await answer(reader)


async def post(url: str, path: str, tls: ssl.SSLContext | None = None, **fields: Any) -> dict[str, Any]:
    """A v3 request that must be answered with 200."""
    status, body = await ask(url, request("POST", path, json.dumps(fields).encode()), tls)
    assert status == 200, (path, status, body)
    found: dict[str, Any] = json.loads(body)
    return found


async def value_of(url: str, key: str, tls: ssl.SSLContext | None = None) -> str | None:
    """What a linearizable v3 read finds."""
    kvs = (await post(url, "/v3/kv/range", tls, key=b64(key))).get("kvs", [])
    return base64.b64decode(kvs[0].get("value", "")).decode() if kvs else None


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()

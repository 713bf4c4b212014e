"""The floor: raw aiohttp, sending what aetcd sends."""

from __future__ import annotations

import argparse
import json
import logging
import shlex
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager

import aiohttp
from attrs import evolve, frozen
from yarl import URL

from aetcd import Client
from aetcd._client import Protocol

__all__ = ["Prepared", "flood_v2", "flood_v3", "prepared", "raw_session"]

_HTTP_LOG = logging.getLogger("aetcd.http")

_CURL = argparse.ArgumentParser(prog="curl")
_CURL.add_argument("-s", "-S", action="store_true")
_CURL.add_argument("-X", dest="method", default="GET")
_CURL.add_argument("-H", dest="headers", action="append", default=[])
_CURL.add_argument("--data-raw", dest="body")
_CURL.add_argument("url")


@frozen(kw_only=True)
class Prepared:
    """A request that needs only to be sent."""

    method: str
    url: URL
    headers: Mapping[str, str]
    body: bytes | None

    async def send(self, session: aiohttp.ClientSession) -> bytes:
        """Send it and read the whole answer, as aetcd does. Raises RuntimeError for a refusal."""
        answer = await session.request(
            self.method, self.url, data=self.body, headers=self.headers, allow_redirects=False
        )
        body = await answer.read()
        if answer.status not in {200, 201}:
            raise RuntimeError(f"{self.method} {self.url} was answered by {answer.status}: {body[:200]!r}")
        return body


async def prepared(url: str, protocol: Protocol, call: Callable[[Client], Awaitable[object]]) -> Prepared:
    """The request that a call of aetcd sends: by its own debug lines, so that the two cannot drift apart."""
    with _curl_lines() as lines:
        async with Client(url, protocol=protocol, debug=True, watch_sharing=False) as client:
            await call(client)
    # Which version the server runs is asked for once in a client's life, and is no part of the call.
    line = next(line for line in lines if not line.endswith("/version"))
    told = _CURL.parse_args(shlex.split(line)[1:])
    return Prepared(
        method=told.method,
        url=URL(told.url, encoded=True),
        headers=dict(header.split(": ", 1) for header in told.headers),
        body=None if told.body is None else told.body.encode(),
    )


@contextmanager
def _curl_lines() -> Iterator[list[str]]:
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if (line := record.getMessage()).startswith("curl "):
                lines.append(line)

    handler = Keep()
    _HTTP_LOG.addHandler(handler)  # with one there, a client adds none for stderr
    try:
        yield lines
    finally:
        _HTTP_LOG.removeHandler(handler)


def raw_session() -> aiohttp.ClientSession:
    """A session with the settings of aetcd's own, and its limit on a whole call."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=10),
        trust_env=False,
    )


# What a reader of changes does at least: take each message apart, and know its revision.


async def flood_v3(session: aiohttp.ClientSession, watch: Prepared, changes: int) -> None:
    """Read so many changes of a v3 watch, whose request names the first revision."""
    seen = 0
    async with session.request(watch.method, watch.url, data=watch.body, headers=watch.headers) as answer:
        async for line in answer.content:
            for event in json.loads(line)["result"].get("events", ()):
                seen += int(event["kv"]["mod_revision"]) > 0
            if seen >= changes:
                return
    raise RuntimeError(f"the watch ended after {seen} of {changes} changes")


async def flood_v2(session: aiohttp.ClientSession, watch: Prepared, changes: int) -> None:
    """Read so many changes of v2, one by each poll, from the index that the first request names."""
    # Of what is past, a stream tells one change and falls silent.
    watch = evolve(watch, url=watch.url.without_query_params("stream"))
    for _ in range(changes):
        event = json.loads(await watch.send(session))
        watch = evolve(watch, url=watch.url.update_query(waitIndex=event["node"]["modifiedIndex"] + 1))

"""Feeds as they are on the wire, and the faults that tests order."""

from __future__ import annotations

import asyncio
import base64
import time
from urllib.parse import urlsplit

import aiohttp
import pytest
from doubles.couchdb import CouchDBDouble, Cut, ErrorInside, HalfChunk, Lost, Refuse, Silence, Slow, Status

AUTHORIZATION = "Basic " + base64.b64encode(b"admin:secret").decode()
FOREVER = "heartbeat=60000&since=now&feed=continuous"


class Wire:
    """One request over a bare socket, and its answer as bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def get(cls, couch: CouchDBDouble, path: str, method: str = "GET") -> Wire:
        address = urlsplit(couch.url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {AUTHORIZATION}\r\n\r\n"
        writer.write(head.encode())
        return cls(reader, writer)

    async def until(self, mark: bytes) -> bytes:
        async with asyncio.timeout(5):
            return await self.reader.readuntil(mark)

    async def rest(self) -> bytes:
        """All up to the end of the connection, which must come."""
        async with asyncio.timeout(5):
            return await self.reader.read()

    async def is_silent(self, seconds: float = 0.05) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return not await self.reader.read(1) and False
        except TimeoutError:
            return True

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


def with_feed() -> CouchDBDouble:
    couch = CouchDBDouble(delay=0.0)
    couch.create("db")
    for index in range(20):
        couch.write("db", {"_id": f"d{index:02}"})
    return couch


async def test_changes_send_headers_at_once() -> None:
    """Headers and a newline come before anything happens."""
    async with with_feed() as couch:
        wire = await Wire.get(couch, f"/db/_changes?{FOREVER}")
        assert (await wire.until(b"1\r\n\n\r\n")).startswith(b"HTTP/1.1 200 OK")
        assert couch.open_feeds == 1
        await wire.close()


async def test_db_updates_send_headers_with_the_first_event() -> None:
    """Until then not a byte comes, and the client cannot tell it from a dead server."""
    async with with_feed() as couch:
        wire = await Wire.get(couch, f"/_db_updates?{FOREVER}")
        assert await wire.is_silent()
        couch.create("new")
        assert b'"db_name":"new","type":"created"' in await wire.until(b'"created"')
        await wire.close()


async def test_pace_shortens_what_the_client_named() -> None:
    """A heartbeat of a minute comes after 60 ms at a pace of a thousandth."""
    async with CouchDBDouble(pace=0.001) as couch:
        wire = await Wire.get(couch, f"/_db_updates?{FOREVER}")
        begun = time.monotonic()
        await wire.until(b"\r\n\r\n1\r\n\n\r\n")
        assert 0.05 < time.monotonic() - begun < 2
        await wire.close()


async def test_eventsource_of_db_updates_breaks_at_the_first_live_event() -> None:
    """A status line stands in the body, and the socket stays open; `_changes` has no such defect."""
    async with with_feed() as couch:
        wire = await Wire.get(couch, "/_db_updates?feed=eventsource&since=now")
        changes = await Wire.get(couch, "/db/_changes?feed=eventsource&since=now&limit=1")
        await changes.until(b"1\r\n\n\r\n")
        while couch.open_feeds < 2:
            await asyncio.sleep(0)
        couch.write("db", {"_id": "late"})
        assert b"event: heartbeat\ndata: \n\n\r\nHTTP/1.1 500 Internal" in await wire.until(b'"ref":2890924169}\n')
        assert await wire.is_silent()
        assert b'"id":"late"' in await changes.until(b"0\r\n\r\n")
        await wire.close()
        await changes.close()


async def test_eventsource_of_db_updates_breaks_at_its_second_heartbeat() -> None:
    """One heartbeat comes, and in place of the next a status line."""
    async with CouchDBDouble(pace=0.001) as couch:
        wire = await Wire.get(couch, "/_db_updates?feed=eventsource&since=now&heartbeat=5000")
        told = await wire.until(b'"ref":2890924169}\n')
        assert told.count(b"event: heartbeat") == told.count(b"HTTP/1.1 500") == 1
        await wire.close()


async def test_restart_ends_a_feed_without_its_last_chunk() -> None:
    """End of the connection, then refusal, then the same address with the same data."""
    async with with_feed() as couch:
        wire = await Wire.get(couch, f"/db/_changes?{FOREVER}")
        await wire.until(b"1\r\n\n\r\n")
        url = couch.url
        await couch.stop()
        assert await wire.rest() == b""
        with pytest.raises(ConnectionRefusedError):
            await Wire.get(couch, "/_up")
        await couch.start()
        assert couch.url == url
        again = await Wire.get(couch, "/db/d00")
        assert b'"_id":"d00"' in await again.until(b"}")
        await wire.close()
        await again.close()


async def test_cut_in_the_middle_of_a_row() -> None:
    """So many bytes of the body, then the connection is gone."""
    async with with_feed() as couch:
        couch.inject(Cut(after=100), path="/db/_changes")
        async with aiohttp.ClientSession(headers={"Authorization": AUTHORIZATION}) as http:
            async with http.get(f"{couch.url}/db/_changes") as answer:
                with pytest.raises(aiohttp.ClientError):
                    await answer.read()
            async with http.get(f"{couch.url}/db/_changes") as answer:
                assert len((await answer.json())["results"]) == 20, "a fault strikes once"


async def test_half_a_chunk() -> None:
    """A chunk is announced, half of it comes, and the end."""
    async with with_feed() as couch:
        couch.inject(HalfChunk(after=200), path="/db/_changes")
        wire = await Wire.get(couch, "/db/_changes")
        body = (await wire.rest()).partition(b"\r\n\r\n")[2]
        size, _, data = body.rpartition(b"\r\n")
        assert 0 < len(data) < int(size.rpartition(b"\r\n")[2], 16)
        await wire.close()


async def test_silence_after_some_bytes() -> None:
    """Heartbeats included; the socket stays open."""
    async with CouchDBDouble(delay=0.0, pace=0.001) as couch:
        couch.create("db")
        couch.inject(Silence(after=3), path="/db/_changes")
        wire = await Wire.get(couch, "/db/_changes?feed=continuous&since=now&heartbeat=5000")
        await wire.until(b"\r\n\r\n" + b"1\r\n\n\r\n" * 3)
        assert await wire.is_silent()
        await wire.close()


async def test_silence_without_headers() -> None:
    """As of a server that accepted and does nothing more."""
    async with with_feed() as couch:
        couch.inject(Silence(after=None), path="/_up")
        wire = await Wire.get(couch, "/_up")
        assert await wire.is_silent()
        await wire.close()


async def test_error_inside_an_answer_of_any_kind() -> None:
    """A 500 within a 200, with the socket open."""
    async with with_feed() as couch:
        couch.inject(ErrorInside(after=10), path="/db/_all_docs")
        wire = await Wire.get(couch, "/db/_all_docs")
        assert (await wire.until(b"HTTP/1.1 500")).startswith(b"HTTP/1.1 200")
        await wire.close()


async def test_refused_is_not_done_and_lost_is() -> None:
    """Either way no answer comes; only the state tells."""
    async with CouchDBDouble() as couch:
        couch.inject(Refuse(), path="/one", method="PUT")
        couch.inject(Lost(), path="/two", method="PUT")
        for name in ("one", "two"):
            wire = await Wire.get(couch, f"/{name}", "PUT")
            assert await wire.rest() == b""
            await wire.close()
        assert "one" not in couch.state.databases
        assert "two" in couch.state.databases


async def test_status_and_slowness_as_often_as_asked() -> None:
    """Twice 503 with its header, then late, then as always."""
    async with CouchDBDouble() as couch, aiohttp.ClientSession() as http:
        couch.inject(Slow(0.1), path="/_up")
        couch.inject(Status(503, headers={"Retry-After": "1"}), path="/_up", times=2)
        found = []
        for _ in range(4):
            begun = time.monotonic()
            async with http.get(f"{couch.url}/_up") as answer:
                found.append((answer.status, time.monotonic() - begun > 0.09))
        assert found == [(503, False), (503, False), (200, True), (200, False)]

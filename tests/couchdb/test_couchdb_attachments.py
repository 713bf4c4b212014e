"""Attachments, streamed both ways."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from couchdb_raw import raw_server, whole
from doubles.couchdb import CouchDBDouble, Silence, Status

from aetcd.couchdb import Conflict, CouchDB, Database, DatabaseNotFound, DocumentNotFound, TooLarge
from aetcd.errors import ConnectFailed, OutcomeUnknown, RequestTimeout, TransportError

LARGE = bytes(range(256)) * 8192  # 2 MiB


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def test_bytes_there_and_back(db: Database) -> None:
    """With their type, their length and what the document tells of them."""
    saved = await db.put_attachment("a", "b/c.txt", b"hello", content_type="text/plain")
    assert saved.revision is not None
    assert saved.revision.startswith("1-")
    async with db.attachment("a", "b/c.txt") as attachment:
        assert (attachment.content_type, attachment.length) == ("text/plain", 5)
        assert attachment.digest
        assert await attachment.read() == b"hello"
    stub = (await db.get("a")).attachments["b/c.txt"]
    assert (stub.content_type, stub.length, stub.revpos) == ("text/plain", 5, 1)


async def test_pieces_there_and_back(double: CouchDBDouble, db: Database) -> None:
    """As they are made, and as they come."""
    parts = [LARGE[start : start + 300_000] for start in range(0, len(LARGE), 300_000)]
    await db.put_attachment("a", "large", pieces(*parts), length=len(LARGE))
    put = double.requests[-1]
    assert put.headers["Content-Length"] == str(len(LARGE))
    read = []
    async with db.attachment("a", "large") as attachment:
        async for piece in attachment:
            read.append(piece)
    assert b"".join(read) == LARGE
    assert len(read) > 1
    # Compressed text would have another length than the one that is told.
    assert double.requests[-1].headers["Accept-Encoding"] == "identity"


async def test_pieces_of_unknown_length(double: CouchDBDouble, db: Database) -> None:
    """Are sent in chunks."""
    await db.put_attachment("a", "x", pieces(b"one", b"two"))
    assert double.requests[-1].headers["Transfer-Encoding"] == "chunked"
    async with db.attachment("a", "x") as attachment:
        assert await attachment.read() == b"onetwo"


async def test_on_a_document_that_is_there(db: Database) -> None:
    """By compare-and-swap on its revision; a conflict carries what stands."""
    first = await db.put({"v": 1}, id="a")
    for content in (b"1", pieces(b"1")):
        with pytest.raises(Conflict) as caught:
            await db.put_attachment("a", "x", content, revision="1-abc")
        assert (caught.value.id, caught.value.revision) == ("a", "1-abc")
        assert caught.value.current == {"_id": "a", "_rev": first.revision, "v": 1}
        assert caught.value.current_revision == first.revision
    second = await db.put_attachment("a", "x", b"1", revision=first.revision)
    assert second.revision is not None
    assert (await db.get("a"))["v"] == 1
    await db.delete_attachment("a", "x", second.revision)
    with pytest.raises(DocumentNotFound):
        async with db.attachment("a", "x"):
            pytest.fail("it is gone")
    with pytest.raises(Conflict):
        await db.delete_attachment("a", "x", second.revision)


async def test_of_an_old_revision(db: Database) -> None:
    """The content of then."""
    first = await db.put_attachment("a", "x", b"old")
    await db.put_attachment("a", "x", b"new", revision=first.revision)
    async with db.attachment("a", "x", revision=first.revision) as attachment:
        assert await attachment.read() == b"old"


async def test_missing_attachment(couch: CouchDB, db: Database) -> None:
    """No document, no attachment, no database."""
    for database, kind in ((db, DocumentNotFound), (couch["nope"], DatabaseNotFound)):
        with pytest.raises(kind):
            async with database.attachment("none", "x"):
                pytest.fail("there is none")
    with pytest.raises(DatabaseNotFound):
        await couch["nope"].put_attachment("a", "x", b"")
    with pytest.raises(DatabaseNotFound):
        await couch["nope"].put_attachment("a", "x", pieces(b"1"))


async def test_attachment_that_is_too_large(double: CouchDBDouble, db: Database) -> None:
    """413."""
    double.inject(Status(413, "attachment_too_large", "x"), path="/invoices/a/x", times=2)
    with pytest.raises(TooLarge):
        await db.put_attachment("a", "x", b"1")
    with pytest.raises(TooLarge):
        await db.put_attachment("a", "x", pieces(b"1"))


async def test_silence_in_the_middle(double: CouchDBDouble, db: Database) -> None:
    """A peer that sends no more is noticed, though there is no end to wait for."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nContent-Type: text/plain\r\n\r\nhalf"
    body = b'{"status":"ok"}'
    async with raw_server(lambda path: [whole(body) if path == "/_up" else answer]) as raw, CouchDB(raw.url) as couch:
        with pytest.raises(RequestTimeout, match="nothing came"):
            async with couch["a"].attachment("b", "c", timeout=0.3) as attachment:
                await attachment.read()


async def test_cut_in_the_middle() -> None:
    """Half of it is not taken for the whole."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nContent-Type: text/plain\r\n\r\nhalf"
    async with raw_server(lambda _: [answer, None]) as raw, CouchDB(raw.url) as couch:
        with pytest.raises((ConnectFailed, TransportError)):
            async with couch["a"].attachment("b", "c") as attachment:
                await attachment.read()


@pytest.mark.parametrize("pieces_of_it", [[None], []])
async def test_upload_whose_answer_breaks_off(pieces_of_it: list[bytes | None]) -> None:
    """A head that says yes, and half a body, cut or silent: the outcome is unknown."""
    half = b"HTTP/1.1 201 Created\r\nContent-Length: 100\r\nConnection: close\r\n\r\n{"

    async with raw_server(lambda _: [half, *pieces_of_it]) as raw, CouchDB(raw.url) as couch:
        with pytest.raises(OutcomeUnknown, match="201"):
            await couch["a"].put_attachment("b", "c", pieces(b"1"), length=1, timeout=0.5)


async def test_reading_outside_the_block(db: Database) -> None:
    """There is nothing to read there."""
    await db.put_attachment("a", "x", b"1")
    attachment = db.attachment("a", "x")
    with pytest.raises(RuntimeError, match="async with"):
        await anext(attachment)


async def test_source_that_fails(double: CouchDBDouble, db: Database) -> None:
    """Its own error reaches the caller, and nothing is stored."""

    async def failing() -> AsyncIterator[bytes]:
        yield b"one"
        raise LookupError("the source")

    with pytest.raises(LookupError, match="the source"):
        await db.put_attachment("a", "x", failing())
    assert await db.revision("a") is None


async def test_upload_that_is_not_taken(double: CouchDBDouble, db: Database) -> None:
    """Its pauses are limited."""
    double.inject(Silence(after=None), path="/invoices/a/x")
    with pytest.raises(TransportError):
        await db.put_attachment("a", "x", pieces(b"1"), timeout=0.3)


@pytest.mark.parametrize(
    ("arguments", "settings", "argument"),
    [
        (("", "x", b""), {}, "id"),
        (("a", "", b""), {}, "name"),
        (("a", "x", "text"), {}, "content"),
        (("a", "x", b""), {"content_type": ""}, "content_type"),
        (("a", "x", b""), {"length": 1}, "length"),
        (("a", "x", b""), {"revision": "x"}, "revision"),
    ],
)
async def test_attachment_arguments(
    double: CouchDBDouble, db: Database, arguments: Any, settings: Any, argument: str
) -> None:
    """Named, before anything is sent."""
    with pytest.raises((TypeError, ValueError), match=argument):
        await db.put_attachment(*arguments, **settings)
    assert double.requests == []


async def test_cancelled_read_loses_nothing(db: Database) -> None:
    """A time-out around each piece, and still all of it."""
    await db.put_attachment("a", "large", pieces(LARGE), length=len(LARGE))
    read = b""
    async with db.attachment("a", "large") as attachment, asyncio.timeout(10):
        while len(read) < len(LARGE):
            try:
                async with asyncio.timeout(0.0005):
                    read += await anext(attachment)
            except TimeoutError:
                continue
    assert read == LARGE

"""Changes of one database: the same promises as `db_updates`, and filters."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from doubles.couchdb import CouchDBDouble, Cut, ErrorInside, HalfChunk, Silence

from aetcd.couchdb import NOW, CouchDB, Database, DatabaseNotFound, DocumentChange, Feed, Forbidden, Mode, NotFound
from aetcd.errors import DecodeError

MODES: Sequence[Mode] = ("normal", "longpoll", "continuous", "eventsource")
FAULTS = (Cut(150), HalfChunk(150), ErrorInside(150), Silence(150))
BEAT = 0.2


class Invoice(msgspec.Struct):
    total: int


async def take(feed: Feed[DocumentChange], *ids: str, within: float = 10) -> list[DocumentChange]:
    found: list[DocumentChange] = []
    async with asyncio.timeout(within):
        async for change in feed:
            found.append(change)
            if set(ids) <= {one.id for one in found}:
                break
    return found


async def opened(double: CouchDBDouble) -> None:
    async with asyncio.timeout(5):
        while double.open_feeds != 1:
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("mode", MODES)
async def test_every_mode_tells_the_same_changes(double: CouchDBDouble, db: Database, mode: Mode) -> None:
    """The latest of each document, deletions included."""
    for name in ("a", "b", "c"):
        double.write(db.name, {"_id": name, "v": 1})
    rev = double.write(db.name, {"_id": "a", "v": 2})
    double.write(db.name, {"_id": "b", "_deleted": True})
    async with db.changes(feed=mode, heartbeat=BEAT) as changes:
        found = {change.id: change for change in await take(changes, "a", "b", "c")}
    assert found["a"].revision == rev
    assert not found["a"].deleted
    assert found["b"].deleted
    assert found["a"].document is None


@pytest.mark.parametrize("mode", MODES[1:])
async def test_live_changes(double: CouchDBDouble, db: Database, mode: Mode) -> None:
    """From NOW on, with documents, as a type."""
    double.write(db.name, {"_id": "old", "total": 0})
    async with db.changes(since=NOW, feed=mode, heartbeat=BEAT, include_docs=True, type=Invoice) as changes:
        waiting = asyncio.ensure_future(take(changes, "a"))
        await opened(double)
        double.write(db.name, {"_id": "a", "total": 7})
        (change,) = await waiting
        assert change.document == Invoice(total=7)
        assert changes.mode == mode


@pytest.mark.parametrize(
    ("mode", "fault"),
    # A normal feed has no heartbeats: a minute of silence is not waited for here.
    [(mode, fault) for mode in MODES for fault in FAULTS if mode != "normal" or not isinstance(fault, Silence)],
)
async def test_faults(double: CouchDBDouble, db: Database, mode: Mode, fault: Any) -> None:
    """Each change once, whatever the wire does."""
    ids = [f"d{number}" for number in range(8)]
    for name in ids:
        double.write(db.name, {"_id": name})
    double.inject(fault, path="/invoices/_changes")
    async with db.changes(feed=mode, heartbeat=BEAT) as changes:
        found = await take(changes, *ids)
    assert sorted(change.id for change in found) == ids


async def test_feed_across_a_restart_of_the_server(double: CouchDBDouble, db: Database) -> None:
    """What changed before, meanwhile and after."""
    async with db.changes(since=NOW, heartbeat=BEAT) as changes:
        double.write(db.name, {"_id": "before"})
        await take(changes, "before")
        waiting = asyncio.ensure_future(take(changes, "meanwhile", "after", within=20))
        await opened(double)
        await double.stop()
        double.write(db.name, {"_id": "meanwhile"})
        await asyncio.sleep(0.2)
        await double.start()
        double.write(db.name, {"_id": "after"})
        assert [change.id for change in await waiting] == ["meanwhile", "after"]


async def test_database_deleted_under_the_feed(double: CouchDBDouble, db: Database) -> None:
    """The answer ends properly; the next one is the error."""
    async with db.changes(since=NOW, heartbeat=BEAT) as changes:
        waiting = asyncio.ensure_future(anext(changes))
        await opened(double)
        double.destroy(db.name)
        with pytest.raises(DatabaseNotFound):
            await waiting


async def test_refusals(couch: CouchDB, bob: CouchDB, db: Database) -> None:
    """Missing, and not allowed."""
    with pytest.raises(DatabaseNotFound):
        async with couch["nope"].changes(since=NOW):
            pass
    async with bob[db.name].changes() as changes:
        with pytest.raises(Forbidden):
            await anext(changes)


async def test_filters(double: CouchDBDouble, db: Database) -> None:
    """By ids, by a selector, by a view, by a function, design documents only."""
    double.write(db.name, {"_id": "a", "n": 1})
    double.write(db.name, {"_id": "b", "n": 2})
    source = {
        "views": {"small": {"map": "function (doc) { if (doc.n < 2) { emit(doc.n, null); } }"}},
        "filters": {"big": "function (doc, req) { return doc.n > 1; }"},
    }
    double.write(db.name, {"_id": "_design/d", **source})

    async def ids(**settings: Any) -> list[str]:
        async with db.changes(feed="normal", **settings) as changes:
            return [change.id async for change in changes]

    assert await ids(doc_ids=["b"]) == ["b"]
    assert await ids(selector={"n": 1}) == ["a"]
    assert await ids(view="d/small") == ["a"]
    assert await ids(filter="d/big", parameters={"x": "1"}) == ["b"]
    assert double.requests[-1].params["x"] == "1"
    assert await ids(filter="_design") == ["_design/d"]
    with pytest.raises(NotFound):
        await ids(filter="d/nope")


async def test_style(double: CouchDBDouble, db: Database) -> None:
    """All revisions that stand, not the winner alone."""
    double.write(db.name, {"_id": "a", "v": 1})
    await db.bulk_docs([{"_id": "a", "_rev": "1-aaaa", "v": 2}], new_edits=False)
    async with db.changes(feed="normal", style="all_docs", include_docs=True, conflicts=True) as changes:
        change = await anext(changes)
    assert len(change.revisions) == 2
    assert double.requests[-1].params["conflicts"] == "true"


async def test_document_that_does_not_fit_is_no_end(double: CouchDBDouble, db: Database) -> None:
    """It is told when it is looked at, and the feed goes on."""
    double.write(db.name, {"_id": "a", "total": "much"})
    double.write(db.name, {"_id": "b", "total": 2})
    async with db.changes(heartbeat=BEAT, include_docs=True, type=Invoice) as changes:
        first, second = await take(changes, "a", "b")
    with pytest.raises(DecodeError, match="'a'"):
        first.document
    assert second.document == Invoice(total=2)


@pytest.mark.parametrize(
    ("settings", "argument"),
    [
        ({"filter": "a/b", "doc_ids": ["a"]}, "doc_ids"),
        ({"filter": ""}, "filter"),
        ({"doc_ids": "a"}, "doc_ids"),
        ({"selector": [1]}, "selector"),
        ({"view": ""}, "view"),
        ({"parameters": {"a": 1}}, "parameters"),
        ({"type": Invoice}, "type"),
        ({"style": "odd"}, "style"),
        ({"include_docs": 1}, "include_docs"),
        ({"since": ""}, "since"),
        ({"feed": "live"}, "feed"),
    ],
)
async def test_changes_arguments(db: Database, settings: dict[str, Any], argument: str) -> None:
    """Named, before anything is sent."""
    with pytest.raises((TypeError, ValueError), match=argument):
        db.changes(**settings)


async def test_pending(double: CouchDBDouble, db: Database) -> None:
    """How much is left, as the server tells it at the end of an answer."""
    for name in ("a", "b", "c"):
        double.write(db.name, {"_id": name})
    async with db.changes(feed="normal", limit=1) as changes:
        assert len([change async for change in changes]) == 1
        assert changes.pending == 2

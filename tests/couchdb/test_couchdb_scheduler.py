"""The replication scheduler: its jobs, its documents, page by page, and the shapes of what it tells."""

from __future__ import annotations

import pytest
from couchdb_feeding import until as settled
from couchdb_raw import raw_server, whole
from doubles.couchdb import CouchDBDouble

from aetcd.couchdb import BadRequest, CouchDB, Database, DatabaseNotFound, NotFound, ReplicationState, Unauthorized

Sides = tuple[Database, Database]


@pytest.mark.parametrize("page", [1, 2, 100])
async def test_docs_page_by_page(double: CouchDBDouble, couch: CouchDB, sides: Sides, page: int) -> None:
    """All documents once, in the order of their ids."""
    for number in range(5):
        await couch.start_replication(sides[0], f"{double.url}/t{number}", id=f"r{number}")
    rows = couch.scheduler.docs(page=page)
    assert [row.doc_id async for row in rows] == [f"r{number}" for number in range(5)]
    assert rows.total_rows == 5
    assert [row.doc_id for row in await couch.scheduler.docs(descending=True, limit=2, page=page).all()] == ["r4", "r3"]
    assert [row.doc_id for row in await couch.scheduler.docs(skip=3, page=page).all()] == ["r3", "r4"]


async def test_docs_by_state(double: CouchDBDouble, couch: CouchDB, sides: Sides) -> None:
    """Only some; a state that is none is refused here."""
    job = await couch.start_replication(*sides, id="once")
    await job.finished(interval=0.02)
    assert [row.doc_id for row in await couch.scheduler.docs(states=["completed"]).all()] == ["once"]
    assert await couch.scheduler.docs(states=[ReplicationState.FAILED]).all() == []
    with pytest.raises(ValueError, match="states"):
        couch.scheduler.docs(states=["zzz"])


async def test_other_replicators(double: CouchDBDouble, couch: CouchDB, sides: Sides) -> None:
    """A slash in their name is sent as `%2f`."""
    double.create("other/_replicator")
    await couch.start_replication(*sides, id="o1", replicator="other/_replicator")
    assert [row.doc_id for row in await couch.scheduler.docs("other/_replicator").all()] == ["o1"]
    assert (await couch.scheduler.doc("o1", replicator="other/_replicator")).database == "other/_replicator"
    paths = [seen.path for seen in double.requests if "_scheduler" in seen.path]
    assert paths == ["/_scheduler/docs/other%2f_replicator", "/_scheduler/docs/other%2f_replicator/o1"]
    with pytest.raises(DatabaseNotFound):
        await couch.scheduler.docs("nodb/_replicator").all()
    with pytest.raises(ValueError, match="replicator"):
        couch.scheduler.docs("src")


async def test_missing_doc_and_job(couch: CouchDB) -> None:
    """404."""
    with pytest.raises(NotFound):
        await couch.scheduler.doc("nope")
    with pytest.raises(NotFound):
        await couch.scheduler.job("nope")


async def test_jobs(double: CouchDBDouble, couch: CouchDB, sides: Sides) -> None:
    """What runs, with its history."""
    double.hold.clear()
    await couch.start_replication(*sides, id="cont", continuous=True)
    await settled(lambda: bool(double.replicator.running))
    (job,) = await couch.scheduler.jobs().all()
    assert (job.database, job.doc_id) == ("_replicator", "cont")
    assert {event.type for event in job.history} == {"added", "started"}
    assert all(event.timestamp is not None and event.timestamp.tzinfo for event in job.history)
    double.hold.set()


async def test_scheduler_without_an_administrator(bob: CouchDB) -> None:
    """It is theirs."""
    with pytest.raises(Unauthorized):
        await bob.scheduler.jobs().all()
    with pytest.raises(Unauthorized):
        await bob.scheduler.docs().all()


@pytest.mark.parametrize(
    ("info", "error", "written"),
    [
        (None, None, 0),
        ('"db_not_found: x"', "db_not_found: x", 0),
        ('{"error":"x"}', "x", 0),
        ('{"docs_written":6,"changes_pending":null}', None, 6),
    ],
)
@pytest.mark.parametrize("field", ["last_updated", "last_update"])
async def test_shapes_of_info_and_time(info: str | None, error: str | None, written: int, field: str) -> None:
    """Text, object or null; two spellings of one time; a state that is not known."""
    shown = "null" if info is None else info
    body = f'{{"state":"dozing","doc_id":"a","info":{shown},"{field}":"2026-11-22T02:21:42Z"}}'.encode()
    async with raw_server(lambda _: [whole(body)]) as raw, CouchDB(raw.url) as couch:
        status = await couch.scheduler.doc("a")
    assert (status.error, status.docs_written, status.changes_pending) == (error, written, None)
    assert status.last_updated is not None
    assert status.last_updated.isoformat() == "2026-11-22T02:21:42+00:00"
    assert (status.state.value, status.is_final) == ("dozing", False)


async def test_bad_answer_of_the_server(couch: CouchDB, double: CouchDBDouble) -> None:
    """400 of the server's own."""
    body = whole(b'{"error":"bad_request","reason":"Invalid path"}', "400 Bad Request")
    async with raw_server(lambda _: [body]) as raw, CouchDB(raw.url) as other:
        with pytest.raises(BadRequest, match="Invalid path"):
            await other.scheduler.docs().all()

"""Replications and their scheduler: once, for good, by documents; followed and cancelled."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from couchdb_feeding import until as settled
from couchdb_raw import raw_server, whole
from doubles.couchdb import CouchDBDouble, Refuse

from aetcd.couchdb import (
    Conflict,
    CouchDB,
    Database,
    DatabaseNotFound,
    Endpoint,
    Forbidden,
    NotFound,
    ReplicationFailed,
    ReplicationState,
    Unauthorized,
)
from aetcd.couchdb._scheduler import ReplicationStatus
from aetcd.couchdb._waiting import States
from aetcd.errors import RequestTimeout, Unsupported

Sides = tuple[Database, Database]


# Once


async def test_once(couch: CouchDB, sides: Sides) -> None:
    """The answer comes at the end, and tells what was done."""
    job = await couch.replicate(*sides)
    assert job.result is not None
    assert (job.result.ok, job.result.docs_written, job.result.no_changes) == (True, 5, False)
    session = job.result.history[0]
    assert session.start_time is not None
    assert session.start_time.tzinfo is not None
    assert session.docs_read == 5
    assert (await sides[1].info()).doc_count == 5
    status = await job.finished()
    assert (status.state, status.docs_written) == (ReplicationState.COMPLETED, 5)
    assert [state.state async for state in job.states()] == [ReplicationState.COMPLETED]
    assert not await job.cancel()


async def test_once_again(couch: CouchDB, sides: Sides) -> None:
    """There is nothing to do."""
    await couch.replicate(*sides)
    job = await couch.replicate(*sides)
    assert job.result is not None
    assert job.result.no_changes


async def test_both_directions_are_two(couch: CouchDB, sides: Sides) -> None:
    """One goes from the source to the target, and no other way."""
    source, target = sides
    await target.put({}, id="there")
    await couch.replicate(source, target)
    assert await source.revision("there") is None
    await couch.replicate(target, source)
    assert await source.revision("there") is not None


async def test_what_is_sent(double: CouchDBDouble, couch: CouchDB, sides: Sides) -> None:
    """A Database goes with this client's credentials; anything else as it was given."""
    await couch.replicate(
        sides[0],
        Endpoint(url=f"{double.url}/tgt", headers={"Authorization": "Basic YWRtaW46c2VjcmV0"}),
        doc_ids=["d1"],
        create_target=True,
    )
    basic = {"basic": {"username": "admin", "password": "secret"}}
    assert double.requests[-1].json == {
        "source": {"url": f"{double.url}/src", "auth": basic},
        "target": {"url": f"{double.url}/tgt", "headers": {"Authorization": "Basic YWRtaW46c2VjcmV0"}},
        "create_target": True,
        "doc_ids": ["d1"],
    }
    assert (await sides[1].info()).doc_count == 1


async def test_options(double: CouchDBDouble, couch: CouchDB) -> None:
    """All that the reference knows, under its names."""
    async with raw_server(lambda _: [whole(b'{"ok":true,"history":[]}')]) as raw, CouchDB(raw.url) as other:
        await other.replicate(
            "http://a/x",
            {"url": "http://b/y"},
            filter="d/f",
            parameters={"k": "v"},
            source_proxy="http://proxy:8080",
            target_proxy="socks5://proxy:1080",
            since_seq="5-x",
            options={"checkpoint_interval": 5000},
        )
    assert raw.paths == ["/_replicate"]


async def test_selector(couch: CouchDB, sides: Sides) -> None:
    """Only what it fits."""
    await couch.replicate(*sides, selector={"i": {"$gt": 2}})
    assert (await sides[1].info()).doc_count == 2


@pytest.mark.parametrize("bare", ["src", "/src", "http://127.0.0.1:5984", "http://127.0.0.1:5984/", "ftp://a/b"])
@pytest.mark.parametrize("argument", ["source", "target"])
async def test_bare_name_is_refused(double: CouchDBDouble, couch: CouchDB, bare: str, argument: str) -> None:
    """The whole URL is needed; the error names the argument."""
    other = {"source": "target", "target": "source"}[argument]
    with pytest.raises(ValueError, match=argument):
        await couch.replicate(**{argument: bare, other: "http://a/b"})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=argument):
        await couch.start_replication(**{argument: bare, other: "http://a/b"})  # type: ignore[arg-type]
    assert double.requests == []


@pytest.mark.parametrize(
    ("settings", "argument"),
    [
        ({"doc_ids": ["a"], "filter": "d/f"}, "filter"),
        ({"doc_ids": "a"}, "doc_ids"),
        ({"selector": ["a"]}, "selector"),
        ({"continuous": 1}, "continuous"),
        ({"source_proxy": "proxy"}, "source_proxy"),
        ({"target_proxy": ""}, "target_proxy"),
    ],
)
async def test_replication_arguments(couch: CouchDB, settings: dict[str, Any], argument: str) -> None:
    """Named, before anything is sent."""
    with pytest.raises((TypeError, ValueError), match=argument):
        await couch.replicate("http://a/b", "http://c/d", **settings)
    with pytest.raises(TypeError, match="source"):
        await couch.replicate(5, "http://c/d")  # type: ignore[arg-type]


async def test_failures(double: CouchDBDouble, couch: CouchDB, sides: Sides) -> None:
    """The server's 500 has a name and a reason."""
    with pytest.raises(ReplicationFailed, match="could not open") as caught:
        await couch.replicate(couch["missing"], sides[1])
    assert (caught.value.error, caught.value.status) == ("db_not_found", 500)
    with pytest.raises(ReplicationFailed):
        await couch.replicate(sides[0], couch["missing"])
    with pytest.raises(Unauthorized, match="unauthorized to access"):
        await couch.replicate(f"{double.url}/src", sides[1])
    with pytest.raises(ReplicationFailed):
        await couch.replicate(Endpoint(url=f"{double.url}/src", username="admin", password="no"), sides[1])
    with pytest.raises(ReplicationFailed, match="econnrefused"):
        await couch.replicate("http://127.0.0.1:1/x", sides[1])


async def test_nobody_may_not_replicate(double: CouchDBDouble, sides: Sides) -> None:
    """Somebody has to be logged in."""
    async with CouchDB(double.url) as nobody:
        with pytest.raises(Unauthorized, match="not an authenticated user"):
            await nobody.replicate(*sides)


# For good


async def test_continuous(double: CouchDBDouble, couch: CouchDB, sides: Sides) -> None:
    """It goes on until it is cancelled; cancelling twice is no error."""
    job = await couch.replicate(*sides, continuous=True)
    assert job.id is not None
    assert job.continuous
    again = await couch.replicate(*sides, continuous=True)
    assert again.id == job.id
    shown = await couch.scheduler.job(job.id)
    assert shown.id == job.id
    assert shown.start_time is not None
    assert (shown.database, shown.doc_id) == (None, None)
    await settled(lambda: double.read("tgt", "d4") is not None)
    double.write("src", {"_id": "later"})
    await settled(lambda: double.read("tgt", "later") is not None)
    assert await job.cancel()
    assert double.requests[-1].json == {"replication_id": job.id, "cancel": True}
    assert not await job.cancel()
    assert not await couch.cancel_replication("abc")
    with pytest.raises(NotFound):
        await couch.scheduler.job(job.id)


async def test_cancel_repeats_the_request_without_an_id(double: CouchDBDouble, couch: CouchDB, sides: Sides) -> None:
    """The server compares it field by field."""
    job = await couch.replicate(*sides, continuous=True)
    sent = double.requests[-1].json
    job.id = None
    assert await job.cancel()
    assert double.requests[-1].json == {**sent, "cancel": True}


async def test_end_of_a_continuous_one_is_not_told(couch: CouchDB, sides: Sides) -> None:
    """Its absence from the jobs is not taken for an end."""
    job = await couch.replicate(*sides, continuous=True)
    with pytest.raises(Unsupported, match="start_replication"):
        await job.finished()
    await job.cancel()


# By a document


async def test_by_a_document(couch: CouchDB, sides: Sides) -> None:
    """It is followed by the scheduler's word on it, until it has ended."""
    job = await couch.start_replication(*sides, id="once")
    states = [status.state async for status in job.states(interval=0.01)]
    assert states[-1] is ReplicationState.COMPLETED
    assert len(set(states)) > 1
    status = await job.finished()
    assert (status.docs_written, status.doc_write_failures, status.error) == (5, 0, None)
    assert (status.doc_id, status.database, status.id) == ("once", "_replicator", None)
    assert status.last_updated is not None
    assert status.last_updated.tzinfo is not None
    assert await couch.active_tasks() == []


async def test_not_running_is_not_finished(double: CouchDBDouble, couch: CouchDB, sides: Sides) -> None:
    """While it stands in no list of running things it is still waited for."""
    double.hold.clear()
    job = await couch.start_replication(*sides)
    waiting = asyncio.ensure_future(job.finished(interval=0.02))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    double.hold.set()
    assert (await waiting).state is ReplicationState.COMPLETED


async def test_waiting_across_a_restart(double: CouchDBDouble, couch: CouchDB, sides: Sides) -> None:
    """A server that is down is waited for."""
    double.hold.clear()
    job = await couch.start_replication(*sides)
    waiting = asyncio.ensure_future(job.finished(interval=0.05))
    await asyncio.sleep(0.1)
    await double.stop()
    await asyncio.sleep(0.2)
    await double.start()
    double.hold.set()
    assert (await waiting).state is ReplicationState.COMPLETED


async def test_failed_for_good(double: CouchDBDouble, couch: CouchDB, sides: Sides) -> None:
    """Another document asks for the same: `failed` is the end, and an error."""
    first = await couch.start_replication(*sides, id="cont", continuous=True)
    await settled(lambda: double.read("tgt", "d4") is not None)
    second = await couch.start_replication(*sides, id="o1", continuous=True, replicator="_replicator")
    with pytest.raises(ReplicationFailed, match="already started"):
        await second.finished(interval=0.02)
    assert await first.cancel()


async def test_crashing_is_waited_for(double: CouchDBDouble, couch: CouchDB, sides: Sides) -> None:
    """The server tries again, and so the end is not there."""
    job = await couch.start_replication(couch["missing"], sides[1])
    with pytest.raises(RequestTimeout, match="crashing"):
        await job.finished(interval=0.02, timeout=1)
    status = await job.status()
    assert status.state is ReplicationState.CRASHING
    assert not status.is_final
    assert status.error is not None
    assert "db_not_found" in status.error
    double.create("missing")
    assert (await job.finished(interval=0.05)).state is ReplicationState.COMPLETED


async def test_cancel_by_deleting_the_document(double: CouchDBDouble, couch: CouchDB, sides: Sides) -> None:
    """Gone already is no error; waiting for it is one."""
    job = await couch.start_replication(*sides, continuous=True)
    assert await job.cancel()
    assert not await job.cancel()
    with pytest.raises(NotFound):
        await job.finished()


async def test_document_that_the_scheduler_has_not_seen(couch: CouchDB, double: CouchDBDouble) -> None:
    """Its absence there means nothing as long as the document stands."""
    missing = whole(b'{"error":"not_found","reason":"missing"}', "404 Object Not Found")

    def answer(path: str) -> list[bytes | None]:
        return [missing if "_scheduler" in path else whole(b'{"_id":"a","_rev":"1-a"}')]

    async with raw_server(answer) as raw, CouchDB(raw.url) as other:
        status = await other.replication("a").status()
    assert status.state is ReplicationState.INITIALIZING


async def test_documents_that_are_refused(double: CouchDBDouble, couch: CouchDB, sides: Sides) -> None:
    """There already; malformed; no such database."""
    await couch.start_replication(*sides, id="once")
    with pytest.raises(Conflict):
        await couch.start_replication(*sides, id="once")
    with pytest.raises(DatabaseNotFound):
        await couch.start_replication(*sides, replicator="nodb/_replicator")
    with pytest.raises(ValueError, match="replicator"):
        await couch.start_replication(*sides, replicator="src")
    body = whole(b'{"error":"forbidden","reason":"Missing replicator database"}', "403 Forbidden")
    async with raw_server(lambda _: [body]) as raw, CouchDB(raw.url) as other:
        with pytest.raises(Forbidden):
            await other.start_replication("http://a/b", "http://c/d")


# Waiting


async def test_states_are_told_as_they_change(double: CouchDBDouble, couch: CouchDB) -> None:
    """Each once, the last one included."""
    words = ["initializing", "running", "running", "pending", "running", "completed"]
    shown = iter(words)

    async def look() -> ReplicationStatus:
        return ReplicationStatus(state=ReplicationState(next(shown)))

    states = States(look, interval=0.01, timeout=None, rng=couch._link.rng)
    assert [status.state.value async for status in states] == [
        "initializing",
        "running",
        "pending",
        "running",
        "completed",
    ]


async def test_cancelled_wait_leaves_the_job(double: CouchDBDouble, couch: CouchDB, sides: Sides) -> None:
    """It goes on, and can be waited for again."""
    double.hold.clear()
    job = await couch.start_replication(*sides)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await job.finished()
    double.hold.set()
    assert (await job.finished(interval=0.02)).docs_written == 5


async def test_errors_meanwhile_are_waited_out(double: CouchDBDouble, couch: CouchDB, sides: Sides) -> None:
    """A connection that is refused is no answer."""
    job = await couch.start_replication(*sides, id="once")
    async with CouchDB(double.url, username="admin", password="secret", retry=False) as other:
        double.inject(Refuse(), path="/_scheduler/.*", times=3)
        assert (await other.replication("once").finished(interval=0.02)).state is ReplicationState.COMPLETED
    assert job.doc_id == "once"


@pytest.mark.parametrize(("settings", "argument"), [({"interval": 0}, "interval"), ({"timeout": -1}, "timeout")])
async def test_waiting_arguments(couch: CouchDB, settings: dict[str, Any], argument: str) -> None:
    """Named."""
    with pytest.raises(ValueError, match=argument):
        couch.replication("a").states(**settings)

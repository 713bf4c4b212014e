"""Resharding: created, followed through its eleven steps, stopped, removed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from couchdb_raw import raw_server, whole
from doubles.couchdb import CouchDBDouble

from aetcd.couchdb import (
    BadRequest,
    CouchDB,
    NotFound,
    ReshardFailed,
    ReshardJobState,
    ReshardState,
    ServerFailed,
    SplitState,
    Unauthorized,
)

STEPS = list(SplitState)


async def test_summary_and_state(couch: CouchDB) -> None:
    """Counts, and whether it runs; the reason is told under two names and read as one."""
    reshard = couch.reshard
    assert await reshard.state() == (ReshardState.RUNNING, None)
    await reshard.stop("Rebalancing in progress")
    assert await reshard.state() == (ReshardState.STOPPED, "Rebalancing in progress")
    summary = await reshard.summary()
    assert (summary.state, summary.reason, summary.total) == (ReshardState.STOPPED, "Rebalancing in progress", 0)
    await reshard.resume()
    assert (await reshard.state())[0] is ReshardState.RUNNING


async def test_reason_is_sent_as_the_server_reads_it(double: CouchDBDouble, couch: CouchDB) -> None:
    """`reason`; the reference's `state_reason` would be ignored."""
    await couch.reshard.stop("why")
    assert double.requests[-1].json == {"state": "stopped", "reason": "why"}
    await couch.reshard.resume()
    assert double.requests[-1].json == {"state": "running"}


async def test_split_followed_to_its_end(double: CouchDBDouble, couch: CouchDB) -> None:
    """Progress grows with the steps; the shards are split."""
    double.create("rs", q=1)
    (result,) = await couch.reshard.create("rs")
    assert result.ok
    assert result.job is not None
    assert result.node == "n0@127.0.0.1"
    seen = [status async for status in result.job.states(interval=0.005)]
    assert seen[-1].state is ReshardJobState.COMPLETED
    assert seen[-1].split_state is SplitState.COMPLETED
    progress = [status.progress for status in seen]
    assert progress == sorted(progress)
    assert progress[-1] == 1.0
    assert len({status.split_state for status in seen}) >= 4
    final = await result.job.finished()
    assert len(final.targets) == 2
    assert final.start_time is not None
    assert final.history[0].type == "new"
    assert final.history[0].timestamp is not None
    assert len(await couch["rs"].shards()) == 2


async def test_job_that_has_not_begun(double: CouchDBDouble, couch: CouchDB) -> None:
    """The server writes 1970: it is no time."""
    double.create("rs", q=1)
    await couch.reshard.stop()
    (result,) = await couch.reshard.create("rs")
    assert result.job is not None
    status = await result.job.status()
    assert status.start_time is None
    assert status.update_time is not None
    assert (status.state, status.split_state) == (ReshardJobState.STOPPED, SplitState.NEW)
    assert status.reason == "Shard splitting disabled"
    assert await result.job.state() == (ReshardJobState.STOPPED, "Shard splitting disabled")
    assert [job.id for job in await couch.reshard.jobs()] == [result.id]


async def test_stopped_job_is_waited_for(double: CouchDBDouble, couch: CouchDB) -> None:
    """Stopped is not the end: it can be let go on."""
    double.create("rs", q=1)
    double.hold.clear()
    (result,) = await couch.reshard.create("rs")
    assert result.job is not None
    await result.job.stop("one")
    assert await result.job.state() == (ReshardJobState.STOPPED, "one")
    waiting = asyncio.ensure_future(result.job.finished(interval=0.02))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    double.hold.set()
    await result.job.resume()
    assert (await waiting).state is ReshardJobState.COMPLETED


async def test_failed_job(double: CouchDBDouble, couch: CouchDB) -> None:
    """Is an error, with the reason."""
    double.create("rs", q=1)
    double.reshard_fails = "disk full"
    (result,) = await couch.reshard.create("rs")
    assert result.job is not None
    with pytest.raises(ReshardFailed, match="disk full"):
        await result.job.finished(interval=0.02)


async def test_one_result_for_each_copy(couch: CouchDB, double: CouchDBDouble) -> None:
    """Those that were made and those that were refused."""
    double.create("rs", q=2)
    first = await couch.reshard.create("rs", range="00000000-7fffffff")
    assert [result.ok for result in first] == [True]
    both = await couch.reshard.create("rs")
    assert sorted((result.ok, result.error) for result in both) == [(False, "job_already_exists"), (True, None)]


async def test_all_refused_is_a_list_too(couch: CouchDB, double: CouchDBDouble) -> None:
    """The server answers 500 with the list in it: that is an answer."""
    double.create("rs", q=1)
    await couch.reshard.create("rs")
    (result,) = await couch.reshard.create("rs")
    assert not result.ok
    assert result.job is None
    assert result.error == "job_already_exists"
    assert result.shard is not None
    body = b'{"error":"badmatch","reason":"x"}'
    async with raw_server(lambda _: [whole(body, "500 Internal Server Error")]) as raw, CouchDB(raw.url) as other:
        with pytest.raises(ServerFailed):
            await other.reshard.create("rs")


async def test_by_shard_and_by_node(pair: CouchDBDouble, both: CouchDB) -> None:
    """One shard on both nodes; all shards on one node."""
    pair.create("rs", q=1)
    results = await both.reshard.create("rs", node="n1@127.0.0.1")
    assert [result.node for result in results] == ["n1@127.0.0.1"]
    shard = results[0].shard
    assert shard is not None
    assert {result.node for result in await both.reshard.create(shard=shard)} == {"n0@127.0.0.1", "n1@127.0.0.1"}


@pytest.mark.parametrize(
    ("settings", "argument"),
    [
        ({}, "shard"),
        ({"db": "a", "shard": "shards/00000000-7fffffff/a.1"}, "shard"),
        ({"shard": "shards/00000000-7fffffff/a.1", "range": "00000000-7fffffff"}, "range"),
        ({"shard": "nope"}, "shard"),
        ({"db": "a", "range": "zz"}, "range"),
        ({"db": "Bad"}, "db"),
        ({"db": "a", "node": ""}, "node"),
        ({"db": "a", "type": "merge"}, "type"),
    ],
)
async def test_create_arguments(double: CouchDBDouble, couch: CouchDB, settings: dict[str, Any], argument: str) -> None:
    """Named, before anything is sent."""
    with pytest.raises((TypeError, ValueError), match=argument):
        await couch.reshard.create(**settings)
    assert double.requests == []


async def test_what_the_server_cannot_split(double: CouchDBDouble, couch: CouchDB) -> None:
    """No such database, node or range."""
    double.create("rs", q=1)
    with pytest.raises(BadRequest, match="Invalid `db`"):
        await couch.reshard.create("nope")
    with pytest.raises(BadRequest, match="not a valid node"):
        await couch.reshard.create("rs", node="nope@x")
    with pytest.raises(NotFound):
        await couch.reshard.create("rs", range="00000000-11111111")


async def test_removed_job(double: CouchDBDouble, couch: CouchDB) -> None:
    """Gone already is no error of removing, and one of all else."""
    double.create("rs", q=1)
    (result,) = await couch.reshard.create("rs")
    assert result.job is not None
    assert await result.job.remove()
    assert not await result.job.remove()
    for call in (result.job.status, result.job.state, result.job.stop, result.job.resume, result.job.finished):
        with pytest.raises(NotFound):
            await call()


async def test_reshard_without_an_administrator(bob: CouchDB) -> None:
    """It is theirs."""
    for call in (bob.reshard.summary, bob.reshard.state, bob.reshard.jobs, bob.reshard.stop):
        with pytest.raises(Unauthorized):
            await call()
    with pytest.raises(Unauthorized):
        await bob.reshard.create("rs")


async def test_bad_state_of_the_server() -> None:
    """400."""
    body = b'{"error":"bad_request","reason":"Expected a `state` field"}'
    async with raw_server(lambda _: [whole(body, "400 Bad Request")]) as raw, CouchDB(raw.url) as couch:
        with pytest.raises(BadRequest):
            await couch.reshard.stop()


def test_steps() -> None:
    """Eleven, from nothing done to all; a step that is not known is kept."""
    assert len(STEPS) == 11
    assert [step.progress for step in STEPS] == [number / 10 for number in range(11)]
    assert [step.is_final for step in STEPS] == [False] * 10 + [True]
    unknown = SplitState("dozing")
    assert (unknown.value, unknown.progress, unknown.is_final) == ("dozing", 0.0, False)
    assert {state for state in ReshardJobState if state.is_final} == {"completed", "failed"}

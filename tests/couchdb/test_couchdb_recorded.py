"""What a real 3.5.0 answered, byte for byte, read by this client."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from couchdb_raw import raw_server
from doubles.couchdb_replay import TRANSCRIPTS, Exchange, load

from aetcd.couchdb import (
    CouchDB,
    DatabaseInfo,
    Histogram,
    ReplicationStatus,
    ReplicationTask,
    RequestRefused,
    ReshardStatus,
    SchedulerJob,
    ServerInfo,
    SetupState,
    Unauthorized,
)
from aetcd.couchdb._rows import HTTP_IN_BODY, End, Failure, Item, Mode, WireRow, reader_for

RECORDED = [exchange for path in sorted(TRANSCRIPTS.glob("*.jsonl")) for exchange in load(path.stem)]
FEEDS = [exchange for exchange in RECORDED if exchange.record.get("reads")]


def dechunked(text: str) -> list[bytes]:
    """The pieces of a chunked body, as the server wrote them; what is no chunk any more as it stands."""
    raw, pieces = text.encode(), []
    while raw:
        size = re.match(rb"([0-9a-f]+)\r\n", raw)
        if size is None:
            return [*pieces, raw]
        start, length = size.end(), int(size[1], 16)
        pieces.append(raw[start : start + length])
        raw = raw[start + length + 2 :]
    return pieces


def mode_of(exchange: Exchange) -> Mode:
    found = re.search(r"feed=(\w+)", exchange.record["path"])
    return found[1] if found else "normal"  # type: ignore[return-value]


@pytest.mark.parametrize("exchange", FEEDS, ids=lambda exchange: exchange.id)
def test_recorded_feed(exchange: Exchange) -> None:
    """Every row of every feed that was recorded is read, in any mode; nothing in them is taken for garbage."""
    body = "".join(text for _, text in exchange.record["reads"])
    reader = reader_for(mode_of(exchange))
    items: list[Item] = [item for piece in dechunked(body) for item in reader(piece)]
    failures = [item for item in items if isinstance(item, Failure)]
    broken = "HTTP/1.1 500" in body
    # A feed is left at the first failure: what the second answer's own lines are does not matter.
    assert [failure.error for failure in failures[:1]] == ([HTTP_IN_BODY] if broken else [])
    rows = [item for item in items if isinstance(item, WireRow)]
    assert len(rows) == len(re.findall(r'\{"db_name":"|\{"seq":"', body))
    whole = str(exchange.record["end"]).startswith("complete") and mode_of(exchange) != "eventsource"
    assert [type(item) for item in items if isinstance(item, End)] == ([End] if whole else [])


def recorded(file: str, name: str) -> bytes:
    """The answer of one exchange, as bytes of HTTP."""
    record = next(exchange.record for exchange in RECORDED if (exchange.file, exchange.name) == (file, name))
    body = record["answer"].encode()
    left_out = {"content-length", "transfer-encoding", "connection"}
    kept = [f"{key}: {value}" for key, value in record["answer_headers"].items() if key.lower() not in left_out]
    head = [f"HTTP/1.1 {record['status']} {record['phrase']}", *kept, f"Content-Length: {len(body)}"]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


async def read(file: str, name: str, call: Callable[[CouchDB], Awaitable[Any]]) -> Any:
    answer = recorded(file, name)
    async with raw_server(lambda _: [answer]) as raw, CouchDB(raw.url) as couch:
        return await call(couch)


SIMPLE, REPLICATION, RESHARD = "03-simple-endpoints", "04-replicate-scheduler", "05-reshard"


async def test_recorded_server_info() -> None:
    """`/`."""
    info = await read(SIMPLE, "root", lambda couch: couch.info())
    assert isinstance(info, ServerInfo)
    assert info.version == "3.5.0"


async def test_recorded_up() -> None:
    """`/_up`, in maintenance too."""
    assert (await read(SIMPLE, "_up", lambda couch: couch.up())).ok
    found = await read(SIMPLE, "_up in maintenance", lambda couch: couch.up())
    assert found.status.value == "maintenance_mode"


async def test_recorded_databases() -> None:
    """`/_all_dbs` and `/_dbs_info`."""
    names = await read(SIMPLE, "all_dbs", lambda couch: couch.all_dbs())
    assert "a/b+c" in names
    assert names.etag == "8SF55K3A3H99NXVX9BXNWSORW"


async def test_recorded_database() -> None:
    """`/{db}`."""
    info = await read("08-database-level", "GET db", lambda couch: couch["dl"].info())
    assert isinstance(info, DatabaseInfo)
    assert info.name == "dl"
    assert info.started is not None
    assert info.started.year == 2026
    assert info.extra == {}


async def test_recorded_statistics() -> None:
    """`/_node/_local/_stats/couchdb/request_time`."""
    found = await read(SIMPLE, "stats req time", lambda couch: couch.node().stats("couchdb", "request_time"))
    assert isinstance(found, Histogram)
    assert found.percentiles[90] == pytest.approx(6.2)


async def test_recorded_setup() -> None:
    """`/_cluster_setup`."""
    file = "01-unconfigured-and-cluster-setup"
    found = await read(file, "cluster_setup with no system dbs", lambda couch: couch.cluster_setup().status())
    assert found is SetupState.SINGLE_NODE_DISABLED


async def test_recorded_tasks() -> None:
    """`/_active_tasks` of a replication that a document asked for."""
    (task,) = await read(REPLICATION, "active_tasks", lambda couch: couch.active_tasks())
    assert isinstance(task, ReplicationTask)
    assert (task.doc_id, task.docs_written, task.continuous, task.extra) == ("cont", 6, True, {})
    assert task.started is not None


async def test_recorded_scheduler() -> None:
    """`/_scheduler/jobs` and `/_scheduler/docs`, in all their states."""
    (job,) = await read(REPLICATION, "jobs", lambda couch: couch.scheduler.jobs().all())
    assert isinstance(job, SchedulerJob)
    assert job.id == "97bb45a97b8ffc18809984af47cbe4d9+continuous"
    assert job.extra == {}
    docs = await read(REPLICATION, "docs after 8s", lambda couch: couch.scheduler.docs().all())
    assert all(isinstance(doc, ReplicationStatus) for doc in docs)
    assert [(doc.doc_id, doc.state.value, doc.docs_written) for doc in docs] == [
        ("cont", "running", 0),
        ("missingsrc", "crashing", 0),
        ("once", "completed", 6),
        ("refused", "running", 0),
    ]
    assert all(doc.last_updated is not None and doc.extra == {} for doc in docs)
    assert docs[1].error is not None


async def test_recorded_replication() -> None:
    """`/_replicate`, with the times of RFC 2822."""
    job = await read(
        REPLICATION,
        "replicate once (full URLs w/ creds)",
        lambda couch: couch.replicate("http://a/src", "http://a/tgt"),
    )
    assert job.result.docs_written == 5
    assert job.result.history[0].start_time.isoformat() == "2026-11-22T02:21:02+00:00"
    assert job.result.extra == {}


async def test_recorded_reshard_jobs() -> None:
    """`/_reshard/jobs`, begun and not."""
    (job,) = await read(RESHARD, "jobs", lambda couch: couch.reshard.jobs())
    assert isinstance(job, ReshardStatus)
    assert job.start_time is None
    assert (job.state.value, job.split_state.value, job.reason) == ("stopped", "new", "Shard splitting disabled")
    (refused,) = await read(RESHARD, "create again", lambda couch: couch.reshard.create("rs"))
    assert refused.error == "job_already_exists"


REFUSALS = [
    exchange
    for exchange in RECORDED
    if exchange.record["method"] == "GET" and exchange.record.get("status", 0) >= 400 and "answer" in exchange.record
]


@pytest.mark.parametrize("exchange", REFUSALS, ids=lambda exchange: exchange.id)
async def test_recorded_refusal(exchange: Exchange) -> None:
    """Every refusal that was recorded is one here, with its name and its reason, whatever was asked."""
    answer = recorded(exchange.file, exchange.name)
    async with raw_server(lambda _: [answer]) as raw, CouchDB(raw.url, timeout=0.5) as couch:
        with pytest.raises(RequestRefused) as caught:
            await couch.info()
    assert caught.value.status == exchange.record["status"]
    assert caught.value.reason
    assert (caught.value.status == 401) is isinstance(caught.value, Unauthorized)

"""The recorded answers of real clusters, read into models."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from doubles.aistore_transcripts import Exchange, current, old

from aetcd.aistore import _bucket_shapes, _node_shapes
from aetcd.aistore._codec import BucketRef
from aetcd.aistore._dialect_33 import V33
from aetcd.aistore._dialect_current import CURRENT
from aetcd.errors import DecodeError

OLD = old()
CURRENTS = current()

READERS: dict[str, Callable[[bytes], object]] = {
    "daemon?what=smap": _node_shapes.read_map,
    "daemon?what=snode": _node_shapes.read_node,
    "daemon?what=status": _node_shapes.read_node_status,
    "daemon?what=stats": _node_shapes.read_node_stats,
    "daemon?what=node_status": _node_shapes.read_node_status,
    "daemon?what=node_stats": _node_shapes.read_node_stats,
    "daemon?what=sysinfo": _node_shapes.read_system,
    "daemon?what=mountpaths": _node_shapes.read_mountpaths,
    "daemon?what=disk": _node_shapes.read_disks,
    "daemon?what=bmd": _bucket_shapes.read_bucket_table,
    "cluster?what=stats": _node_shapes.read_cluster_stats,
    "cluster?what=sysinfo": _node_shapes.read_cluster_system,
    "cluster?what=mountpaths": _node_shapes.read_all_mountpaths,
    "cluster?what=status": _node_shapes.read_job_status,
    "cluster?what=qryxstats": _node_shapes.read_job_stats,
    "health?cii=true": _node_shapes.read_health,
    "buckets/*": _bucket_shapes.read_buckets,
}


def whole(exchanges: list[Exchange]) -> list[tuple[str, bytes, Callable[[bytes], object]]]:
    """Good answers that were recorded to their end, with what reads them."""
    found = []
    for exchange in exchanges:
        answer = exchange.answers[-1] if exchange.answers else None
        reader = next((reader for part, reader in READERS.items() if exchange.url.endswith(part)), None)
        if answer is None or answer.status != 200 or reader is None:
            continue
        try:
            json.loads(answer.body)
        except ValueError:
            continue  # the recorder cut it
        found.append((str(exchange), answer.body.encode(), reader))
    return found


RECORDED = whole(OLD) + whole(CURRENTS)


@pytest.mark.parametrize(("name", "body", "reader"), RECORDED, ids=[name for name, _, _ in RECORDED])
def test_recorded_answer_is_read(name: str, body: bytes, reader: Callable[[bytes], object]) -> None:
    """Every one of both versions."""
    assert reader(body) is not None


def test_enough_was_recorded() -> None:
    """A change of the transcripts' form would leave nothing to test."""
    assert len(RECORDED) > 30
    assert {reader for _, _, reader in RECORDED} >= {_node_shapes.read_map, _node_shapes.read_job_stats}


def body_of(exchanges: list[Exchange], part: str, *, at: int = 0) -> bytes:
    found = [e.answers[-1] for e in exchanges if part in str(e) and e.answers and e.answers[-1].status == 200]
    return found[at].body.encode()


def test_map_as_recorded() -> None:
    """Nodes, primary, flags."""
    known = _node_shapes.read_map(body_of(OLD, "what=smap"))
    assert (known.primary, known.version, sorted(known.targets)) == ("p0", 5, ["t1", "t2"])
    assert known.gateways["p0"].kind == "gateway"
    assert known.targets["t1"].url == "http://127.0.0.1:23081"


def test_statistics_as_recorded() -> None:
    """Text is numbers, and totals are sums."""
    stats = _node_shapes.read_cluster_stats(body_of(OLD, "cluster?what=stats"))
    assert stats.gateway.counters["put.n"] == 32
    assert stats.targets["t1"].capacity["/data/1/fs/mp1/1"].used == 189935697920
    assert stats.used == 2 * 189935697920 + 2 * 189935702016
    assert stats.available == 2 * 80617476096 + 2 * 80617472000
    assert stats.total("get.n") == 1


def test_jobs_as_recorded() -> None:
    """Running ones have Go's zero time as their end; today's names have dashes."""
    jobs = [job for name, body, reader in RECORDED if reader is _node_shapes.read_job_stats for job in reader(body)]  # type: ignore[attr-defined]
    running = [job for job in jobs if not job.finished]
    assert {job.kind for job in running} == {"copybck"}
    assert sum(job.objects for job in running) == 52
    aborted = [job for job in jobs if job.aborted]
    assert {job.kind for job in aborted} == {"rebalance"}
    assert aborted[0].extra["reb.tx.n"] == "1"
    assert aborted[0].bucket is None


def test_job_of_today_is_read() -> None:
    """`start-time`, `stats`, `err`; its record is cut."""
    body = json.dumps(
        {
            "target0001": [
                {
                    "id": "v",
                    "kind": "delete-listrange",
                    "start-time": "2026-11-22T02:35:49.570877529Z",
                    "end-time": "2026-11-22T02:35:49.57308817Z",
                    "err": "t[target0002]: ais://b1/x does not exist",
                    "stats": {"loc-objs": "1", "loc-bytes": "6"},
                    "ext": None,
                    "bck": {"name": "b1", "provider": "ais", "namespace": {"uuid": "", "name": ""}},
                }
            ],
            "target0002": None,
        }
    ).encode()
    (job,) = _node_shapes.read_job_stats(body)
    assert (job.objects, job.bytes, job.finished, job.target) == (1, 6, True, "target0001")
    assert "does not exist" in job.error


def test_bucket_headers_as_recorded() -> None:
    """Dotted on 3.3."""
    exchange = next(e for e in OLD if e.method == "HEAD" and e.url.endswith("/v1/buckets/pb"))
    props = _bucket_shapes.read_bucket_props(V33, exchange.answers[-1].headers)
    assert props.provider == "ais"
    assert (props.lru.lowwm, props.lru.highwm, props.lru.dont_evict_time) == (75, 90, "120m")
    assert (props.mirror.copies, props.ec.objsize_limit, props.versioning.enabled) == (2, 262144, True)
    assert props.access == 2**64 - 1
    assert props.backend is None


def test_object_headers_as_recorded() -> None:
    """Of a HEAD on 3.3."""
    exchange = next(e for e in OLD if e.method == "HEAD" and e.url.endswith("/v1/objects/pb/o01"))
    props = _bucket_shapes.read_object_props(V33, exchange.answers[-1].headers, BucketRef(name="pb"), "o01")
    assert (props.size, props.version, props.copies, props.present) == (5, "1", 1, True)
    assert props.checksum is not None
    assert (props.checksum.type, props.checksum.value) == ("xxhash", "c2859abe1e8ff0dd")
    assert props.accessed is not None
    assert props.accessed.year == 2026


def test_entry_of_todays_server_has_what_was_asked_for() -> None:
    """Its place under the name of 3.3, and metadata as text."""
    body = b'{"uuid":"u","entries":[{"name":"o","location":"t[t1]:mp[/d]","custom-md":"[k:v]"}],"flags":0}'
    (entry,) = _bucket_shapes.read_page(body).entries
    assert (entry.target_url, entry.custom) == ("t[t1]:mp[/d]", "[k:v]")


def test_page_without_entries() -> None:
    """Null, and absent."""
    for text in (b'{"uuid":"p","entries":null,"continuation_token":""}', b'{"uuid":"p"}'):
        page = _bucket_shapes.read_page(text)
        assert (page.entries, page.token, page.listing) == ([], "", "p")
    assert _bucket_shapes.read_buckets(b"null") == []


@pytest.mark.parametrize(
    ("reader", "body"),
    [
        (_node_shapes.read_map, b""),
        (_node_shapes.read_map, b"<html>"),
        (_node_shapes.read_node_stats, b'{"get.n":"many"}'),
        (_node_shapes.read_job_stats, b'{"t":[{"id":"x","start_time":"yesterday"}]}'),
        (_bucket_shapes.read_page, b'{"entries":[{"size":"x"}]}'),
    ],
)
def test_what_does_not_read_is_an_error(reader: Callable[[bytes], object], body: bytes) -> None:
    """DecodeError, and nothing of Python's own."""
    with pytest.raises(DecodeError):
        reader(body)


def test_today_has_no_props_of_nothing() -> None:
    """A HEAD without the header."""
    assert _bucket_shapes.read_bucket_props(CURRENT, {}).provider == ""

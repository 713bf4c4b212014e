"""Statistics: what resets clear and what they leave, members left out, names that must be encoded."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from doubles.nginx import NginxDouble

import aetcd
from aetcd.nginx import NOT_ASKED, HTTPPeer, HTTPServerZone, Info, Nginx
from aetcd.nginx._reading import read


def numbers(value: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """All numbers in an object, by their paths. What is true or false counts too."""
    if isinstance(value, dict):
        for name, member in value.items():
            yield from numbers(member, f"{path}.{name}" if path else name)
    elif isinstance(value, int):
        yield path, value


def fill(value: dict[str, Any]) -> None:
    """Give every number below another value than zero."""
    for name, member in value.items():
        if isinstance(member, dict):
            fill(member)
        elif isinstance(member, int) and not isinstance(member, bool):
            value[name] = 7


def everything(double: NginxDouble) -> dict[str, float]:
    """Each number of the instance, to see which ones a request changes."""
    instance = double.instance
    found = dict(numbers({**instance.objects, **instance.collections}))
    for side, upstreams in instance.upstreams.items():
        for name, upstream in upstreams.items():
            shown = upstream.status()
            shown["peers"] = {str(peer["id"]): peer for peer in shown["peers"]}
            found |= dict(numbers(shown, f"{side}/upstreams.{name}"))
    return found


HTTP_ZONE = "requests received sent discarded responses.1xx responses.2xx responses.3xx responses.4xx responses.5xx"
PEER = "sent received fails unavail downtime health_checks.checks health_checks.fails health_checks.unhealthy"
SSL_PEER = (
    "ssl.handshakes ssl.handshakes_failed ssl.session_reuses ssl.no_common_protocol ssl.handshake_timeout "
    "ssl.peer_rejected_cert ssl.verify_failures.expired_cert ssl.verify_failures.revoked_cert "
    "ssl.verify_failures.hostname_mismatch ssl.verify_failures.other"
)
READS = [f"{kind}.{count}" for kind in ("hit", "stale", "updating", "revalidated") for count in ("responses", "bytes")]
WRITES = [
    f"{kind}.{count}"
    for kind in ("miss", "expired", "bypass")
    for count in ("responses", "bytes", "responses_written", "bytes_written")
]

HANDSHAKES = """handshakes, handshakes_failed, session_reuses, no_common_protocol, no_common_cipher, handshake_timeout,
    peer_rejected_cert, verify_failures.no_cert, verify_failures.expired_cert, verify_failures.revoked_cert,
    verify_failures.hostname_mismatch, verify_failures.other"""

RESETS: list[tuple[str, Any, str, list[str]]] = [
    ("processes", lambda n: n.processes.reset(), "processes", ["respawned"]),
    ("connections", lambda n: n.connections.reset(), "connections", ["accepted", "dropped"]),
    (
        "ssl",
        lambda n: n.ssl.reset(),
        "ssl",
        [name.strip() for name in HANDSHAKES.split(",")],
    ),
    (
        "slab",
        lambda n: n.slabs.reset("one"),
        "slabs.one",
        [f"slots.{size}.{count}" for size in (8, 16, 32, 64) for count in ("reqs", "fails")],
    ),
    ("requests", lambda n: n.http.requests.reset(), "http/requests", ["total"]),
    (
        "server zone",
        lambda n: n.http.server_zones.reset("server_backend"),
        "http/server_zones.server_backend",
        [*HTTP_ZONE.split(), "responses.total"],
    ),
    (
        "location zone",
        lambda n: n.http.location_zones.reset("location_backend"),
        "http/location_zones.location_backend",
        [*HTTP_ZONE.split(), "responses.total"],
    ),
    ("cache", lambda n: n.http.caches.reset("cache_backend"), "http/caches.cache_backend", [*READS, *WRITES]),
    (
        "limit_conn",
        lambda n: n.http.limit_conns.reset("addr"),
        "http/limit_conns.addr",
        ["passed", "rejected", "rejected_dry_run"],
    ),
    (
        "limit_req",
        lambda n: n.http.limit_reqs.reset("one"),
        "http/limit_reqs.one",
        ["passed", "delayed", "rejected", "delayed_dry_run", "rejected_dry_run"],
    ),
    (
        "stream limit_conn",
        lambda n: n.stream.limit_conns.reset("addr"),
        "stream/limit_conns.addr",
        ["passed", "rejected", "rejected_dry_run"],
    ),
    (
        "stream zone",
        lambda n: n.stream.server_zones.reset("server_backend"),
        "stream/server_zones.server_backend",
        [
            "connections",
            "discarded",
            "received",
            "sent",
            *(f"sessions.{kind}" for kind in ("2xx", "4xx", "5xx", "total")),
        ],
    ),
    (
        "resolver",
        lambda n: n.resolvers.reset("resolver_zone1"),
        "resolvers.resolver_zone1",
        [
            *(f"requests.{kind}" for kind in ("name", "srv", "addr")),
            *(f"responses.{kind}" for kind in ("noerror", "formerr", "servfail", "nxdomain", "notimp")),
            *(f"responses.{kind}" for kind in ("refused", "timedout", "unknown")),
        ],
    ),
    (
        "worker",
        lambda n: n.workers.reset(1),
        "workers.1",
        ["connections.accepted", "connections.dropped", "http.requests.total"],
    ),
    (
        "workers",
        lambda n: n.workers.reset(),
        "workers",
        [f"{w}.{c}" for w in (0, 1) for c in ("connections.accepted", "connections.dropped", "http.requests.total")],
    ),
    (
        "upstream",
        lambda n: n.http.upstreams.reset("backend"),
        "http/upstreams.backend",
        [
            "queue.overflows",
            *(
                f"peers.{number}.{counter}"
                for number in (0, 1)
                for counter in [
                    "requests",
                    *(f"responses.{kind}" for kind in ("1xx", "2xx", "3xx", "4xx", "5xx", "total")),
                    *PEER.split(),
                    *SSL_PEER.split(),
                ]
            ),
        ],
    ),
    (
        "upstream by its handle",
        lambda n: n.stream.upstream("backend").reset(),
        "stream/upstreams.backend",
        [f"peers.0.{counter}" for counter in ["connections", *PEER.split(), *SSL_PEER.split()]],
    ),
]


@pytest.mark.parametrize(("reset", "where", "cleared"), [case[1:] for case in RESETS], ids=[case[0] for case in RESETS])
async def test_reset_clears_what_it_says_and_nothing_else(
    double: NginxDouble, nginx: Nginx, reset: Any, where: str, cleared: list[str]
) -> None:
    """Of all the numbers that the instance has."""
    instance = double.instance
    fill(instance.objects)
    fill(instance.collections)
    for upstreams in instance.upstreams.values():
        for upstream in upstreams.values():
            upstream.zombies = upstream.keepalive = 7
            upstream.queue = upstream.queue and {"size": 7, "max_size": 7, "overflows": 7}
            for server in upstream.servers.values():
                server.active = 7
                fill(server.counters)
    before = everything(double)
    await reset(nginx)
    after = everything(double)
    assert after.keys() == before.keys()
    changed = {path for path, number in after.items() if number != before[path]}
    assert changed == {f"{where}.{name}" for name in cleared}
    assert all(after[path] == 0 for path in changed)


@pytest.mark.parametrize("reset", [case[1] for case in RESETS], ids=[case[0] for case in RESETS])
async def test_reset_needs_write_on(double: NginxDouble, nginx: Nginx, reset: Any) -> None:
    """All of them, those of processes, connections and ssl too."""
    double.instance.write = False
    with pytest.raises(aetcd.nginx.MethodDisabled) as caught:
        await reset(nginx)
    assert caught.value.status == 405


# Members


async def test_left_out_differs_from_zero(nginx: Nginx) -> None:
    """It is neither a number nor false nor None, and says what it is."""
    zone = await nginx.http.server_zones.get("server_backend", fields=["requests"])
    assert zone.requests == 0
    assert zone.sent is NOT_ASKED
    assert zone.sent != 0
    assert repr(zone.sent) == "<not asked for>"
    assert "requests=0" in repr(zone)
    with pytest.raises(TypeError, match="unsupported operand"):
        zone.sent + 1
    with pytest.raises(TypeError, match="left out by fields="):
        bool(zone.sent)


def test_left_out_stays_itself() -> None:
    """In a copy and over a pickle too."""
    zone = HTTPServerZone(requests=5)
    assert copy.deepcopy(zone).sent is NOT_ASKED
    assert pickle.loads(pickle.dumps(NOT_ASKED)) is NOT_ASKED


async def test_optional_members_are_none(nginx: Nginx) -> None:
    """What does not apply is None, where it was asked for."""
    assert (await nginx.http.caches.get("endless")).max_size is None
    assert (await nginx.http.caches.get("cache_backend")).max_size == 536870912
    upstreams = await nginx.http.upstreams.list()
    assert upstreams["hashed"].queue is None
    assert upstreams["backend"].queue is not None
    assert upstreams["backend"].peers[0].selected is None
    assert "fixed" not in upstreams


async def test_peer_after_traffic(double: NginxDouble, nginx: Nginx) -> None:
    """Times become moments, counters numbers."""
    double.instance.request("10.0.0.1:8089", status=502, received=5, sent=6)
    peer = (await nginx.http.upstream("backend").get()).peers[1]
    assert (peer.requests, peer.responses.count_5xx, peer.responses.codes) == (1, 1, {"502": 1})
    assert (peer.received, peer.sent, peer.header_time, peer.response_time) == (5, 6, 20, 36)
    assert peer.selected is not None
    assert abs((peer.selected - datetime.now(UTC)).total_seconds()) < 60
    double.instance.session("10.0.1.1:12345", status=500)
    stream = (await nginx.stream.upstream("backend").get()).peers[0]
    assert (stream.connections, stream.connect_time, stream.first_byte_time) == (1, 2, 5)
    assert (await nginx.stream.server_zones.get("server_backend")).sessions.count_5xx == 1


async def test_times_are_aware(nginx: Nginx) -> None:
    """With milliseconds."""
    info = await nginx.info()
    assert info.load_timestamp == datetime(2018, 10, 8, 9, 5, 48, 776000, UTC)
    assert info.timestamp.tzinfo is not None


def test_unknown_members_are_kept() -> None:
    """What a later release adds can be read at once."""
    info = read(Info, {"version": "1.99", "mood": {"good": True}})
    assert info.extra == {"mood": {"good": True}}
    assert info.build is None


def test_milliseconds_since_the_epoch_are_read_too() -> None:
    """Early text of version 3 said that of two members."""
    peer = read(HTTPPeer, {"downstart": 1538989548776, "selected": "2018-10-08T09:05:48.776Z"})
    assert peer.downstart == peer.selected == datetime(2018, 10, 8, 9, 5, 48, 776000, UTC)


@pytest.mark.parametrize(
    ("kind", "value", "named"),
    [
        (Info, [], "Info"),
        (Info, {"generation": "many"}, "Info: generation"),
        (Info, {"timestamp": "yesterday"}, "Info: timestamp"),
        (HTTPPeer, {"health_checks": 5}, "HealthChecks: 5"),
        (HTTPPeer, {"selected": math.inf}, "HTTPPeer: selected"),
        (HTTPPeer, {"responses": {"1xx": "x"}}, "Responses: 1xx"),
    ],
    ids=str,
)
def test_answer_that_does_not_fit(kind: Any, value: Any, named: str) -> None:
    """It names the class, and the member."""
    with pytest.raises(aetcd.DecodeError, match=named):
        read(kind, value)


@pytest.mark.parametrize("listed", [True, False], ids=["array", "collection"])
async def test_workers_in_both_forms(double: NginxDouble, nginx: Nginx, listed: bool) -> None:
    """Servers were seen to send an array where the reference says a collection; `fields=` leaves the IDs in."""
    double.instance.workers_listed = listed
    assert {number: worker.pid for number, worker in (await nginx.workers.list()).items()} == {0: 32212, 1: 32213}
    some = await nginx.workers.list(fields=["http"])
    assert [(worker.id, worker.pid) for worker in some.values()] == [(0, NOT_ASKED), (1, NOT_ASKED)]
    assert (await nginx.workers.get(1)).http.requests.total == 15


@pytest.mark.parametrize(
    ("fields", "error"),
    [("version", TypeError), ([], ValueError), ([5], TypeError), (["a,b"], ValueError), (["a&b"], ValueError)],
    ids=str,
)
async def test_bad_fields(double: NginxDouble, nginx: Nginx, fields: Any, error: type[Exception]) -> None:
    """They are told before anything is sent."""
    for call in (nginx.info, nginx.slabs.list, nginx.workers.list, nginx.http.upstream("backend").get):
        with pytest.raises(error, match="fields"):
            await call(fields=fields)
    assert not double.seen


NAMES = ["a b/c%", "ünïcode", "a?b#c", "a+b&c=d", "%2F", "..%2f", "...", "a;b", "\\"]


@pytest.mark.parametrize("name", NAMES)
async def test_any_name_survives(double: NginxDouble, nginx: Nginx, name: str) -> None:
    """The server gets it as it was written: zones, upstreams and key-value zones, and keys too."""
    instance = double.instance
    instance.collections["http/server_zones"][name] = copy.deepcopy(instance.collections["http/server_zones"]["other"])
    instance.upstreams["http"][name] = instance.upstreams["http"]["backend"]
    instance.keyvals["http"][name] = instance.keyvals["http"]["one"]
    assert (await nginx.http.server_zones.get(name)).requests == 0
    assert name in await nginx.http.server_zones.names()
    assert len(await nginx.http.upstream(name).servers.list()) == 2
    zone = nginx.http.keyval(name)
    await zone.create(name, name)
    assert await zone.get(name) == name
    assert await zone.all() == {name: name}


@pytest.mark.parametrize("name", ["", ".", "..", "a\0b", "\ud800"])
async def test_name_that_no_path_can_hold(double: NginxDouble, nginx: Nginx, name: str) -> None:
    """nginx would take it out of the path: another object than the one that was named."""
    for call in (nginx.slabs.get, nginx.http.caches.reset, nginx.stream.upstreams.get):
        with pytest.raises(ValueError, match="name"):
            await call(name)
    for make in (nginx.http.upstream, nginx.stream.upstream, nginx.http.keyval):
        with pytest.raises(ValueError, match="name"):
            make(name)
    with pytest.raises(TypeError, match="name"):
        nginx.http.upstream(5)  # type: ignore[arg-type]
    assert not double.seen


async def test_lists_of_endpoints(nginx: Nginx) -> None:
    """The root, and both sides."""
    assert "workers" in await nginx.endpoints()
    assert "caches" in await nginx.http.endpoints()
    assert "zone_sync" in await nginx.stream.endpoints()


async def test_chunked_answers_are_read(double: NginxDouble, nginx: Nginx) -> None:
    """In pieces of a few bytes."""
    double.chunked = True
    assert (await nginx.info()).build == "nginx-plus-r16"
    assert len(await nginx.http.upstreams.list()) == 2

"""What the API tells of an instance as a whole, and of its HTTP side, as values.

Counters are totals since the start of the instance or the last reset. The names are the API's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from attrs import frozen

from aetcd.nginx._reading import NOT_ASKED, Model, wire

__all__ = [
    "SSL",
    "Cache",
    "CacheReads",
    "CacheWrites",
    "Connections",
    "HTTPPeer",
    "HTTPRequests",
    "HTTPServerZone",
    "HTTPUpstream",
    "HealthChecks",
    "Histogram",
    "Info",
    "License",
    "LicenseReporting",
    "LimitConn",
    "LimitReq",
    "LocationZone",
    "PeerStatus",
    "Processes",
    "Queue",
    "Resolver",
    "ResolverRequests",
    "ResolverResponses",
    "Responses",
    "Slab",
    "SlabPages",
    "SlabSlot",
    "VerifyFailures",
    "Worker",
    "WorkerHTTP",
]


@frozen(kw_only=True)
class Info(Model):
    """The running instance.

    version: Of nginx. build: Name of the NGINX Plus release.
    address: Where the request for this was accepted.
    generation: Reloads of the configuration so far.
    load_timestamp: When the configuration was last loaded. timestamp: Now, by the server's clock.
    pid: Of the worker that answered: another one from request to request, where there are several.
    ppid: Of the master process, so that another one means a restart.
    uuid: Of the instance; of late servers only.
    """

    version: str = NOT_ASKED
    build: str = NOT_ASKED
    address: str = NOT_ASKED
    generation: int = NOT_ASKED
    load_timestamp: datetime = NOT_ASKED
    timestamp: datetime = NOT_ASKED
    pid: int = NOT_ASKED
    ppid: int = NOT_ASKED
    uuid: str | None = NOT_ASKED


@frozen(kw_only=True)
class Processes(Model):
    """Child processes that ended abnormally and were started again."""

    respawned: int = NOT_ASKED


@frozen(kw_only=True)
class Connections(Model):
    """Client connections: `accepted` and `dropped` in total, `active` and `idle` now."""

    accepted: int = NOT_ASKED
    dropped: int = NOT_ASKED
    active: int = NOT_ASKED
    idle: int = NOT_ASKED


@frozen(kw_only=True)
class VerifyFailures(Model):
    """Certificates that did not pass, by reason (version 8). Not each reason is counted everywhere."""

    no_cert: int | None = NOT_ASKED
    expired_cert: int | None = NOT_ASKED
    revoked_cert: int | None = NOT_ASKED
    hostname_mismatch: int | None = NOT_ASKED
    other: int | None = NOT_ASKED


@frozen(kw_only=True)
class SSL(Model):
    """TLS handshakes. What comes after `session_reuses` is told from version 8 on."""

    handshakes: int = NOT_ASKED
    handshakes_failed: int = NOT_ASKED
    session_reuses: int = NOT_ASKED
    no_common_protocol: int | None = NOT_ASKED
    no_common_cipher: int | None = NOT_ASKED
    handshake_timeout: int | None = NOT_ASKED
    peer_rejected_cert: int | None = NOT_ASKED
    verify_failures: VerifyFailures | None = NOT_ASKED


@frozen(kw_only=True)
class SlabPages(Model):
    """Pages of a shared memory zone, now."""

    used: int = NOT_ASKED
    free: int = NOT_ASKED


@frozen(kw_only=True)
class SlabSlot(Model):
    """Slots of one size: `used` and `free` now, `reqs` and `fails` are attempts to have one in total."""

    used: int = NOT_ASKED
    free: int = NOT_ASKED
    reqs: int = NOT_ASKED
    fails: int = NOT_ASKED


@frozen(kw_only=True)
class Slab(Model):
    """A shared memory zone. slots: By their size in bytes, as text: `8`, `16`, ..."""

    pages: SlabPages = NOT_ASKED
    slots: Mapping[str, SlabSlot] = NOT_ASKED


@frozen(kw_only=True)
class HTTPRequests(Model):
    """Client requests: `total`, and `current` ones."""

    total: int = NOT_ASKED
    current: int = NOT_ASKED


@frozen(kw_only=True)
class Responses(Model):
    """Responses by the class of their status; `count_5xx` is the API's `5xx`. codes: By status, from version 7 on."""

    count_1xx: int = wire("1xx")
    count_2xx: int = wire("2xx")
    count_3xx: int = wire("3xx")
    count_4xx: int = wire("4xx")
    count_5xx: int = wire("5xx")
    total: int = NOT_ASKED
    codes: Mapping[str, int] | None = NOT_ASKED


@frozen(kw_only=True)
class LocationZone(Model):
    """The locations of one `status_zone` (version 5). discarded: Requests ended without a response."""

    requests: int = NOT_ASKED
    responses: Responses = NOT_ASKED
    discarded: int = NOT_ASKED
    received: int = NOT_ASKED
    sent: int = NOT_ASKED


@frozen(kw_only=True)
class HTTPServerZone(LocationZone):
    """The virtual servers of one `status_zone`. processing: Requests now. ssl: From version 8 on."""

    processing: int = NOT_ASKED
    ssl: SSL | None = NOT_ASKED


@frozen(kw_only=True)
class CacheReads(Model):
    """Responses that came from the cache, and their bytes."""

    responses: int = NOT_ASKED
    bytes: int = NOT_ASKED


@frozen(kw_only=True)
class CacheWrites(CacheReads):
    """Responses that came from the proxied server, and what of them was written to the cache."""

    responses_written: int = NOT_ASKED
    bytes_written: int = NOT_ASKED


@frozen(kw_only=True)
class Cache(Model):
    """A cache zone. size: Bytes now; max_size: None without a limit. cold: Its content is still being loaded."""

    size: int = NOT_ASKED
    max_size: int | None = NOT_ASKED
    cold: bool = NOT_ASKED
    hit: CacheReads = NOT_ASKED
    stale: CacheReads = NOT_ASKED
    updating: CacheReads = NOT_ASKED
    revalidated: CacheReads = NOT_ASKED
    miss: CacheWrites = NOT_ASKED
    expired: CacheWrites = NOT_ASKED
    bypass: CacheWrites = NOT_ASKED


@frozen(kw_only=True)
class LimitConn(Model):
    """A `limit_conn_zone` (version 6): connections let through, refused, and to be refused in a dry run."""

    passed: int = NOT_ASKED
    rejected: int = NOT_ASKED
    rejected_dry_run: int = NOT_ASKED


@frozen(kw_only=True)
class LimitReq(LimitConn):
    """A `limit_req_zone` (version 6)."""

    delayed: int = NOT_ASKED
    delayed_dry_run: int = NOT_ASKED


@frozen(kw_only=True)
class HealthChecks(Model):
    """Active health checks of one server. last_passed: None before the first."""

    checks: int = NOT_ASKED
    fails: int = NOT_ASKED
    unhealthy: int = NOT_ASKED
    last_passed: bool | None = NOT_ASKED


@frozen(kw_only=True)
class Histogram(Model):
    """Response times (late servers of version 9). buckets: By their upper limit in milliseconds, `inf` the last."""

    count: int = NOT_ASKED
    sum: int = NOT_ASKED
    buckets: Mapping[str, int] = NOT_ASKED


@frozen(kw_only=True)
class PeerStatus(Model):
    """What servers of http and of stream upstreams have in common.

    server: Its address. name: As it stands in the configuration.
    state: `up`, `draining` (http only), `down`, `unavail` (passive checks failed), `checking`, or `unhealthy`.
    fails: Failed attempts to reach it. unavail: How often it became `unavail`.
    downtime: Milliseconds in which it was `unavail`, `checking` or `unhealthy`. downstart: Since when it is.
    selected: When it was last picked; None before that.
    """

    id: int = NOT_ASKED
    server: str = NOT_ASKED
    service: str | None = NOT_ASKED
    name: str | None = NOT_ASKED
    backup: bool = NOT_ASKED
    weight: int = NOT_ASKED
    state: str = NOT_ASKED
    active: int = NOT_ASKED
    max_conns: int | None = NOT_ASKED
    sent: int = NOT_ASKED
    received: int = NOT_ASKED
    fails: int = NOT_ASKED
    unavail: int = NOT_ASKED
    health_checks: HealthChecks | None = NOT_ASKED
    downtime: int = NOT_ASKED
    downstart: datetime | None = NOT_ASKED
    selected: datetime | None = NOT_ASKED
    response_time: int | None = NOT_ASKED
    ssl: SSL | None = NOT_ASKED


@frozen(kw_only=True)
class HTTPPeer(PeerStatus):
    """A server of an http upstream, as it fares. Average times are milliseconds, None before there are any."""

    requests: int = NOT_ASKED
    responses: Responses = NOT_ASKED
    header_time: int | None = NOT_ASKED
    response_time_hist: Histogram | None = NOT_ASKED


@frozen(kw_only=True)
class Queue(Model):
    """Requests that wait for a server: `size` now, `max_size` at most, `overflows` refused in total."""

    size: int = NOT_ASKED
    max_size: int = NOT_ASKED
    overflows: int = NOT_ASKED


@frozen(kw_only=True)
class HTTPUpstream(Model):
    """An http upstream, as it fares.

    keepalive: Idle connections now. zombies: Servers that were removed and still serve requests.
    zone: Name of its shared memory zone. queue: None where there is no `queue`.
    """

    peers: tuple[HTTPPeer, ...] = NOT_ASKED
    keepalive: int = NOT_ASKED
    zombies: int = NOT_ASKED
    zone: str = NOT_ASKED
    queue: Queue | None = NOT_ASKED


@frozen(kw_only=True)
class ResolverRequests(Model):
    """Questions to name servers: of names, of SRV records, of addresses."""

    name: int = NOT_ASKED
    srv: int = NOT_ASKED
    addr: int = NOT_ASKED


@frozen(kw_only=True)
class ResolverResponses(Model):
    """Their answers, by DNS's own names of the outcomes."""

    noerror: int = NOT_ASKED
    formerr: int = NOT_ASKED
    servfail: int = NOT_ASKED
    nxdomain: int = NOT_ASKED
    notimp: int = NOT_ASKED
    refused: int = NOT_ASKED
    timedout: int = NOT_ASKED
    unknown: int = NOT_ASKED


@frozen(kw_only=True)
class Resolver(Model):
    """A resolver with a `status_zone` (version 5)."""

    requests: ResolverRequests = NOT_ASKED
    responses: ResolverResponses = NOT_ASKED


@frozen(kw_only=True)
class WorkerHTTP(Model):
    """The HTTP side of a worker."""

    requests: HTTPRequests = NOT_ASKED


@frozen(kw_only=True)
class Worker(Model):
    """One worker process (version 9)."""

    id: int = NOT_ASKED
    pid: int = NOT_ASKED
    connections: Connections = NOT_ASKED
    http: WorkerHTTP = NOT_ASKED


@frozen(kw_only=True)
class LicenseReporting(Model):
    """Reports of usage. grace: Seconds left without a successful one."""

    healthy: bool = NOT_ASKED
    fails: int = NOT_ASKED
    grace: int = NOT_ASKED
    uuid: str | None = NOT_ASKED


@frozen(kw_only=True)
class License(Model):
    """The licence (late servers of version 9). active_till: Seconds since the epoch. eval: For evaluation only."""

    active_till: int = NOT_ASKED
    eval: bool = NOT_ASKED
    reporting: LicenseReporting | None = NOT_ASKED

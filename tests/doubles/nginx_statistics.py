"""Statistics of the double: objects of the newest version, what older ones leave out, and what a reset clears."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from doubles.nginx_upstreams import responses, zeros

SINCE = {
    "codes": 7,
    "ssl": 8,
    "no_common_protocol": 8,
    "no_common_cipher": 8,
    "handshake_timeout": 8,
    "peer_rejected_cert": 8,
    "verify_failures": 8,
    "response_time_hist": 9,
    "uuid": 9,
}
"""Members of objects that are not there from version 1 on."""


def trim(value: Any, version: int) -> Any:
    """An object as a version shows it."""
    match value:
        case dict():
            return {name: trim(member, version) for name, member in value.items() if version >= SINCE.get(name, 1)}
        case list():
            return [trim(member, version) for member in value]
        case _:
            return value


def clear(value: dict[str, Any], names: Iterable[str]) -> None:
    """Set these members, and all numbers below them, to zero."""
    for name in names:
        member = value.get(name)
        if name == "codes":
            value[name] = {}
        elif isinstance(member, dict):
            clear(member, list(member))
        elif member is not None:
            value[name] = 0


CLEARED: Mapping[str, tuple[str, ...]] = {
    "processes": ("respawned",),
    "connections": ("accepted", "dropped"),
    # "Resets counters of SSL handshakes and session reuses": that the reasons of failures, which came with version 8,
    # are counters of handshakes too is assumed.
    "ssl": (
        "handshakes",
        "handshakes_failed",
        "session_reuses",
        "no_common_protocol",
        "no_common_cipher",
        "handshake_timeout",
        "peer_rejected_cert",
        "verify_failures",
    ),
    "http/requests": ("total",),
    "http/server_zones": ("requests", "responses", "discarded", "received", "sent"),
    "http/location_zones": ("requests", "responses", "discarded", "received", "sent"),
    "http/caches": ("hit", "stale", "updating", "revalidated", "miss", "expired", "bypass"),
    "http/limit_conns": ("passed", "rejected", "rejected_dry_run"),
    "http/limit_reqs": ("passed", "delayed", "rejected", "delayed_dry_run", "rejected_dry_run"),
    "stream/limit_conns": ("passed", "rejected", "rejected_dry_run"),
    "stream/server_zones": ("connections", "sessions", "discarded", "received", "sent"),
    "resolvers": ("requests", "responses"),
}
"""What DELETE clears, by the reference's words; of slabs and workers it is a part of a member."""


def clear_slab(slab: dict[str, Any]) -> None:
    """ "Resets the reqs and fails metrics for each memory slot."""
    for slot in slab["slots"].values():
        clear(slot, ("reqs", "fails"))


def clear_worker(worker: dict[str, Any]) -> None:
    """Totals; that what is counted now stays is assumed, as everywhere else in the API."""
    clear(worker["connections"], ("accepted", "dropped"))
    clear(worker["http"]["requests"], ("total",))


def ssl() -> dict[str, Any]:
    counters = zeros("handshakes", "handshakes_failed", "session_reuses", "no_common_protocol", "no_common_cipher")
    reasons = zeros("no_cert", "expired_cert", "revoked_cert", "hostname_mismatch", "other")
    return {**counters, "handshake_timeout": 0, "peer_rejected_cert": 0, "verify_failures": reasons}


def zone_ssl() -> dict[str, Any]:
    found = ssl()
    del found["verify_failures"]["hostname_mismatch"]
    return found


def server_zone() -> dict[str, Any]:
    return {"processing": 0, **location_zone(), "ssl": zone_ssl()}


def location_zone() -> dict[str, Any]:
    return {"requests": 0, "responses": responses(), **zeros("discarded", "received", "sent")}


def stream_zone() -> dict[str, Any]:
    sessions = zeros("2xx", "4xx", "5xx", "total")
    return {
        **zeros("processing", "connections", "discarded", "received", "sent"),
        "sessions": sessions,
        "ssl": zone_ssl(),
    }


def cache(max_size: int | None) -> dict[str, Any]:
    reads = {name: zeros("responses", "bytes") for name in ("hit", "stale", "updating", "revalidated")}
    written = {
        name: zeros("responses", "bytes", "responses_written", "bytes_written")
        for name in ("miss", "expired", "bypass")
    }
    limit = {} if max_size is None else {"max_size": max_size}
    return {"size": 530915328, **limit, "cold": False, **reads, **written}


def slab() -> dict[str, Any]:
    slots = {str(size): {"used": 1, "free": 503, "reqs": 3, "fails": 1} for size in (8, 16, 32, 64)}
    return {"pages": {"used": 2, "free": 60}, "slots": slots}


def resolver() -> dict[str, Any]:
    kinds = ("noerror", "formerr", "servfail", "nxdomain", "notimp", "refused", "timedout", "unknown")
    return {"requests": zeros("name", "srv", "addr"), "responses": zeros(*kinds)}


def worker(id: int) -> dict[str, Any]:
    connections = {"accepted": 12, "dropped": 1, "active": 2, "idle": 1}
    return {"id": id, "pid": 32212 + id, "connections": connections, "http": {"requests": {"total": 15, "current": 1}}}


def limit_conn() -> dict[str, Any]:
    return {"passed": 15, "rejected": 2, "rejected_dry_run": 1}


def limit_req() -> dict[str, Any]:
    return {**limit_conn(), "delayed": 4, "delayed_dry_run": 3}


def zone_sync() -> dict[str, Any]:
    zones = {"zone1": {"records_pending": 0, "records_total": 12}}
    status = {"bytes_in": 0, "msgs_in": 0, "msgs_out": 9, "bytes_out": 3204, "nodes_online": 1}
    return {"zones": zones, "status": status}


def license_told() -> dict[str, Any]:
    reporting = {"healthy": True, "fails": 0, "grace": 15552000, "uuid": "0b0a2a5c"}
    return {"active_till": 1798761600, "eval": False, "reporting": reporting}

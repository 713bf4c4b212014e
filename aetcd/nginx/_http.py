"""The HTTP side of an instance: a class for each endpoint under /http/ but upstreams and key-value zones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from aetcd.nginx._instance import Zones
from aetcd.nginx._keyvals import KeyvalZone, KeyvalZones
from aetcd.nginx._models import Cache, HTTPRequests, HTTPServerZone, LimitConn, LimitReq, LocationZone
from aetcd.nginx._upstreams import HTTPUpstreamHandle, HTTPUpstreams

if TYPE_CHECKING:
    from aetcd.nginx._caller import Caller, Limit

__all__ = ["HTTP", "Caches", "HTTPLimitConns", "HTTPServerZones", "LimitReqs", "LocationZones", "RequestStatistics"]


class RequestStatistics:
    """GET and DELETE /http/requests."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def get(self, *, fields: Iterable[str] | None = None, timeout: Limit = None) -> HTTPRequests:
        """Client requests. (GET /http/requests.)"""
        return await self._caller.object(HTTPRequests, ("http", "requests"), fields, timeout)

    async def reset(self, *, timeout: Limit = None) -> None:
        """Clear `total`; `current` stays. (DELETE /http/requests.) Raises MethodDisabled."""
        await self._caller.reset(("http", "requests"), timeout)


class HTTPServerZones(Zones[HTTPServerZone]):
    """Virtual servers with a `status_zone`: /http/server_zones/ and /http/server_zones/{httpServerZoneName}."""

    path = ("http", "server_zones")
    kind = HTTPServerZone

    async def reset(self, name: str, *, timeout: Limit = None) -> None:
        """Clear `requests`, `responses`, `discarded`, `received` and `sent`; `processing` stays.

        (DELETE /http/server_zones/{httpServerZoneName}.) Raises ServerZoneNotFound, MethodDisabled.
        """
        await self._reset(name, timeout)


class LocationZones(Zones[LocationZone]):
    """Locations with a `status_zone`: /http/location_zones/ and one of them, from version 5 on."""

    path = ("http", "location_zones")
    kind = LocationZone

    async def reset(self, name: str, *, timeout: Limit = None) -> None:
        """Clear all of it: `requests`, `responses`, `discarded`, `received` and `sent`.

        (DELETE /http/location_zones/{httpLocationZoneName}.) Raises LocationZoneNotFound, MethodDisabled.
        """
        await self._reset(name, timeout)


class Caches(Zones[Cache]):
    """Caches of `proxy_cache_path` and its like: /http/caches/ and /http/caches/{httpCacheZoneName}."""

    path = ("http", "caches")
    kind = Cache

    async def reset(self, name: str, *, timeout: Limit = None) -> None:
        """Clear the statistics of hits and misses, from `hit` to `bypass`; `size`, `max_size` and `cold` stay.

        (DELETE /http/caches/{httpCacheZoneName}.) What is cached stays too. Raises CacheNotFound, MethodDisabled.
        """
        await self._reset(name, timeout)


class HTTPLimitConns(Zones[LimitConn]):
    """Zones of `limit_conn_zone`: /http/limit_conns/ and one of them, from version 6 on."""

    path = ("http", "limit_conns")
    kind = LimitConn

    async def reset(self, name: str, *, timeout: Limit = None) -> None:
        """Clear `passed`, `rejected` and `rejected_dry_run`. (DELETE /http/limit_conns/{httpLimitConnZoneName}.)

        Raises LimitConnNotFound, MethodDisabled.
        """
        await self._reset(name, timeout)


class LimitReqs(Zones[LimitReq]):
    """Zones of `limit_req_zone`: /http/limit_reqs/ and one of them, from version 6 on."""

    path = ("http", "limit_reqs")
    kind = LimitReq

    async def reset(self, name: str, *, timeout: Limit = None) -> None:
        """Clear `passed`, `delayed`, `rejected`, `delayed_dry_run` and `rejected_dry_run`.

        (DELETE /http/limit_reqs/{httpLimitReqZoneName}.) Raises LimitReqNotFound, MethodDisabled.
        """
        await self._reset(name, timeout)


class HTTP:
    """All under /http/."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self.requests = RequestStatistics(caller)
        self.server_zones = HTTPServerZones(caller)
        self.location_zones = LocationZones(caller)
        self.caches = Caches(caller)
        self.limit_conns = HTTPLimitConns(caller)
        self.limit_reqs = LimitReqs(caller)
        self.upstreams = HTTPUpstreams(caller)
        self.keyvals = KeyvalZones(caller, "http")

    async def endpoints(self, *, timeout: Limit = None) -> list[str]:
        """Names of the endpoints below. (GET /http/.)"""
        return await self._caller.names(("http",), timeout, fields=False)

    def upstream(self, name: str) -> HTTPUpstreamHandle:
        """One upstream, to be asked and changed. Sends nothing."""
        return HTTPUpstreamHandle(self._caller, name)

    def keyval(self, name: str) -> KeyvalZone:
        """One key-value zone, to be read and written. Sends nothing."""
        return KeyvalZone(self._caller, "http", name)

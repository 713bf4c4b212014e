"""The stream side of an instance (TCP and UDP): a class for each endpoint under /stream/.

Where the configuration has no `stream` block, all of them raise PathNotFound, of which StreamNotConfigured is one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aetcd.nginx._instance import Zones
from aetcd.nginx._keyvals import KeyvalZone, KeyvalZones
from aetcd.nginx._models import LimitConn
from aetcd.nginx._stream_models import StreamServerZone, ZoneSync
from aetcd.nginx._upstreams import StreamUpstreamHandle, StreamUpstreams

if TYPE_CHECKING:
    from aetcd.nginx._caller import Caller, Limit

__all__ = ["Stream", "StreamLimitConns", "StreamServerZones"]


class StreamServerZones(Zones[StreamServerZone]):
    """Stream servers with a `status_zone`: /stream/server_zones/ and /stream/server_zones/{streamServerZoneName}."""

    path = ("stream", "server_zones")
    kind = StreamServerZone

    async def reset(self, name: str, *, timeout: Limit = None) -> None:
        """Clear `connections`, `sessions`, `discarded`, `received` and `sent`; `processing` stays.

        (DELETE /stream/server_zones/{streamServerZoneName}.) Raises ServerZoneNotFound, MethodDisabled, PathNotFound.
        """
        await self._reset(name, timeout)


class StreamLimitConns(Zones[LimitConn]):
    """Zones of `limit_conn_zone`: /stream/limit_conns/ and one of them, from version 6 on."""

    path = ("stream", "limit_conns")
    kind = LimitConn

    async def reset(self, name: str, *, timeout: Limit = None) -> None:
        """Clear `passed`, `rejected` and `rejected_dry_run`. (DELETE /stream/limit_conns/{streamLimitConnZoneName}.)

        Raises LimitConnNotFound, MethodDisabled, PathNotFound.
        """
        await self._reset(name, timeout)


class Stream:
    """All under /stream/."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self.server_zones = StreamServerZones(caller)
        self.limit_conns = StreamLimitConns(caller)
        self.upstreams = StreamUpstreams(caller)
        self.keyvals = KeyvalZones(caller, "stream")

    async def endpoints(self, *, timeout: Limit = None) -> list[str]:
        """Names of the endpoints below. (GET /stream/.)"""
        return await self._caller.names(("stream",), timeout, fields=False)

    async def zone_sync(self, *, timeout: Limit = None) -> ZoneSync:
        """How this node keeps its zones in common with others. (GET /stream/zone_sync/, from version 3 on.)

        Raises PathNotFound, of which ZoneSyncNotConfigured is one, where no `zone_sync` is configured.
        """
        return await self._caller.object(ZoneSync, ("stream", "zone_sync", ""), timeout=timeout)

    def upstream(self, name: str) -> StreamUpstreamHandle:
        """One upstream, to be asked and changed. Sends nothing."""
        return StreamUpstreamHandle(self._caller, name)

    def keyval(self, name: str) -> KeyvalZone:
        """One key-value zone (from version 2 on), to be read and written. Sends nothing."""
        return KeyvalZone(self._caller, "stream", name)

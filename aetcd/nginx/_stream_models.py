"""What the API tells of the stream side (TCP and UDP), as values."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from aetcd.nginx._models import SSL, PeerStatus
from aetcd.nginx._reading import NOT_ASKED, Model, wire

__all__ = [
    "Sessions",
    "StreamPeer",
    "StreamServerZone",
    "StreamUpstream",
    "SyncStatus",
    "SyncZone",
    "ZoneSync",
]


@frozen(kw_only=True)
class Sessions(Model):
    """Sessions that ended, by the class of their status; `count_5xx` is the API's `5xx`."""

    count_2xx: int = wire("2xx")
    count_4xx: int = wire("4xx")
    count_5xx: int = wire("5xx")
    total: int = NOT_ASKED


@frozen(kw_only=True)
class StreamServerZone(Model):
    """The stream servers of one `status_zone`. processing: Connections now. ssl: From version 8 on."""

    processing: int = NOT_ASKED
    connections: int = NOT_ASKED
    sessions: Sessions = NOT_ASKED
    discarded: int = NOT_ASKED
    received: int = NOT_ASKED
    sent: int = NOT_ASKED
    ssl: SSL | None = NOT_ASKED


@frozen(kw_only=True)
class StreamPeer(PeerStatus):
    """A server of a stream upstream, as it fares. Average times are milliseconds, None before there are any."""

    connections: int = NOT_ASKED
    connect_time: int | None = NOT_ASKED
    first_byte_time: int | None = NOT_ASKED


@frozen(kw_only=True)
class StreamUpstream(Model):
    """A stream upstream, as it fares.

    zombies: Servers that were removed and still serve connections. zone: Name of its shared memory zone.
    """

    peers: tuple[StreamPeer, ...] = NOT_ASKED
    zombies: int = NOT_ASKED
    zone: str = NOT_ASKED


@frozen(kw_only=True)
class SyncZone(Model):
    """A zone that nodes keep in common: records, and those that have yet to be sent."""

    records_pending: int = NOT_ASKED
    records_total: int = NOT_ASKED


@frozen(kw_only=True)
class SyncStatus(Model):
    """This node among the others. nodes_online: Those that it is connected to."""

    bytes_in: int = NOT_ASKED
    msgs_in: int = NOT_ASKED
    msgs_out: int = NOT_ASKED
    bytes_out: int = NOT_ASKED
    nodes_online: int = NOT_ASKED


@frozen(kw_only=True)
class ZoneSync(Model):
    """How nodes keep shared memory zones in common (version 3). zones: By name."""

    zones: Mapping[str, SyncZone] = NOT_ASKED
    status: SyncStatus = NOT_ASKED

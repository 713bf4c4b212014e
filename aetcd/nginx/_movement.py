"""What moved between two looks at an instance. Pure: nothing here waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from attrs import field, frozen

from aetcd.nginx._models import (
    Connections,
    HTTPPeer,
    HTTPRequests,
    HTTPServerZone,
    HTTPUpstream,
    Info,
    LocationZone,
    PeerStatus,
)
from aetcd.nginx._stream_models import StreamPeer, StreamServerZone, StreamUpstream

__all__ = ["Moved", "Movement", "PeerChanged", "Sample", "Snapshot", "UpstreamMovement", "compare", "peer_changes"]

Side = Literal["http", "stream"]


@frozen(kw_only=True)
class Snapshot:
    """One look at an instance.

    taken_at: By the client's monotonic clock, in seconds. `info.timestamp` is the server's own time.
    stream_zones, stream_upstreams: Empty where there is no `stream` block. http_locations: From version 5 on.
    """

    taken_at: float
    info: Info
    connections: Connections
    http_requests: HTTPRequests
    http_zones: Mapping[str, HTTPServerZone] = field(factory=dict)
    http_locations: Mapping[str, LocationZone] = field(factory=dict)
    http_upstreams: Mapping[str, HTTPUpstream] = field(factory=dict)
    stream_zones: Mapping[str, StreamServerZone] = field(factory=dict)
    stream_upstreams: Mapping[str, StreamUpstream] = field(factory=dict)


@frozen(kw_only=True)
class Movement:
    """How far counters went in so many seconds.

    requests: Requests; on the stream side connections.
    count_5xx: Responses, or sessions, with a status of 5xx. Servers of stream upstreams count none.
    received, sent: Bytes, from and to clients for a zone, and servers for an upstream.
    went_back: They had been cleared in between, by a reset, a reload or a restart: this is what came since then.
    """

    seconds: float
    requests: int = 0
    count_5xx: int = 0
    received: int = 0
    sent: int = 0
    went_back: bool = False

    @property
    def requests_per_second(self) -> float:
        """Requests, or connections, per second."""
        return self.requests / self.seconds

    @property
    def count_5xx_per_second(self) -> float:
        """Failures of servers per second."""
        return self.count_5xx / self.seconds

    @property
    def received_per_second(self) -> float:
        """Bytes received per second."""
        return self.received / self.seconds

    @property
    def sent_per_second(self) -> float:
        """Bytes sent per second."""
        return self.sent / self.seconds

    @property
    def bytes_per_second(self) -> float:
        """Bytes both ways per second."""
        return (self.received + self.sent) / self.seconds


@frozen(kw_only=True)
class UpstreamMovement(Movement):
    """The servers of an upstream together. peers: Each of them, by ID."""

    peers: Mapping[int, Movement] = field(factory=dict)


@frozen(kw_only=True)
class Moved:
    """One side: its zones and upstreams by name. locations: http only, from version 5 on."""

    zones: Mapping[str, Movement] = field(factory=dict)
    upstreams: Mapping[str, UpstreamMovement] = field(factory=dict)
    locations: Mapping[str, Movement] = field(factory=dict)


@frozen(kw_only=True)
class Sample:
    """A look, and what moved since the one before.

    seconds: Between the two, by the client's monotonic clock.
    requests, connections: Of all clients in that time: http requests, and accepted connections.
    restarted: Another master process is there (`ppid`, or a `generation` that began anew), and so did all counters.
    reloaded: The configuration was loaded again (`generation`), or nginx restarted. Another `pid` alone means nothing:
        any of the workers may answer.
    """

    snapshot: Snapshot = field(repr=False)
    seconds: float
    requests: int
    connections: int
    http: Moved
    stream: Moved
    reloaded: bool = False
    restarted: bool = False

    @property
    def requests_per_second(self) -> float:
        """http requests of all clients per second."""
        return self.requests / self.seconds

    @property
    def connections_per_second(self) -> float:
        """Connections accepted per second."""
        return self.connections / self.seconds


@frozen(kw_only=True)
class PeerChanged:
    """A server of an upstream has another state.

    before: None for one that is new. after: None for one that is gone.
    """

    side: Side
    upstream: str
    server: str
    id: int
    before: str | None
    after: str | None


_Counters = tuple[int, int, int, int]  # requests, 5xx, received, sent
_NONE: _Counters = (0, 0, 0, 0)


@frozen
class _Between:
    """Two looks, as all comparisons of them need them."""

    seconds: float
    restarted: bool
    reloaded: bool

    def one(self, before: _Counters | None, after: _Counters) -> Movement:
        start = _NONE if before is None or self.restarted else before
        back = any(now < then for now, then in zip(after, start, strict=True))
        requests, count_5xx, received, sent = (
            now - then for now, then in zip(after, _NONE if back else start, strict=True)
        )
        return Movement(
            seconds=self.seconds,
            requests=requests,
            count_5xx=count_5xx,
            received=received,
            sent=sent,
            went_back=back or (self.restarted and before is not None),
        )

    def many(self, before: Mapping[str, _Counters], after: Mapping[str, _Counters]) -> dict[str, Movement]:
        return {name: self.one(before.get(name), counters) for name, counters in after.items()}

    def upstream(self, before: Sequence[PeerStatus], after: Sequence[PeerStatus]) -> UpstreamMovement:
        then = {peer.id: peer for peer in before}
        peers = {}
        for peer in after:
            same = then.get(peer.id)
            # IDs may be given anew when the configuration is loaded; else a server keeps its own for life.
            known = same is not None and (not self.reloaded or same.server == peer.server)
            peers[peer.id] = self.one(_of_peer(same) if known and same is not None else None, _of_peer(peer))
        return UpstreamMovement(
            seconds=self.seconds,
            requests=sum(moved.requests for moved in peers.values()),
            count_5xx=sum(moved.count_5xx for moved in peers.values()),
            received=sum(moved.received for moved in peers.values()),
            sent=sum(moved.sent for moved in peers.values()),
            went_back=any(moved.went_back for moved in peers.values()),
            peers=peers,
        )


def compare(before: Snapshot, after: Snapshot) -> Sample:
    """What moved from one look to the next."""
    restarted = _restarted(before.info, after.info)
    reloaded = restarted or before.info.generation != after.info.generation
    # Two looks at the same moment of the clock would make every rate infinite.
    between = _Between(max(after.taken_at - before.taken_at, 1e-9), restarted, reloaded)
    return Sample(
        snapshot=after,
        seconds=between.seconds,
        requests=_moved(before.http_requests.total, after.http_requests.total, anew=restarted),
        connections=_moved(before.connections.accepted, after.connections.accepted, anew=restarted),
        http=Moved(
            zones=between.many(_of_zones(before.http_zones), _of_zones(after.http_zones)),
            locations=between.many(_of_zones(before.http_locations), _of_zones(after.http_locations)),
            upstreams={
                name: between.upstream(_peers(before.http_upstreams, name), upstream.peers)
                for name, upstream in after.http_upstreams.items()
            },
        ),
        stream=Moved(
            zones=between.many(_of_stream_zones(before.stream_zones), _of_stream_zones(after.stream_zones)),
            upstreams={
                name: between.upstream(_peers(before.stream_upstreams, name), upstream.peers)
                for name, upstream in after.stream_upstreams.items()
            },
        ),
        reloaded=reloaded,
        restarted=restarted,
    )


def _restarted(before: Info, after: Info) -> bool:
    """Whether another master process is there.

    In a container it has the same process ID each time: but a reload raises the generation, and a restart begins it
    anew, so that a configuration loaded at another time under no higher generation is a restart too.
    """
    anew = before.load_timestamp != after.load_timestamp and after.generation <= before.generation
    return before.ppid != after.ppid or after.generation < before.generation or anew


def peer_changes(before: Snapshot, after: Snapshot) -> Iterator[PeerChanged]:
    """Servers that came, went, or changed their state."""
    yield from _side_changes("http", before.http_upstreams, after.http_upstreams)
    yield from _side_changes("stream", before.stream_upstreams, after.stream_upstreams)


def _side_changes(
    side: Side,
    before: Mapping[str, HTTPUpstream] | Mapping[str, StreamUpstream],
    after: Mapping[str, HTTPUpstream] | Mapping[str, StreamUpstream],
) -> Iterator[PeerChanged]:
    for name in sorted(before.keys() | after.keys()):
        then, now = _by_address(_peers(before, name)), _by_address(_peers(after, name))
        for place in sorted(then.keys() | now.keys()):
            was, is_ = then.get(place), now.get(place)
            states = was.state if was else None, is_.state if is_ else None
            peer = is_ or was
            if states[0] != states[1] and peer is not None:
                yield PeerChanged(
                    side=side, upstream=name, server=peer.server, id=peer.id, before=states[0], after=states[1]
                )


def _by_address(peers: Sequence[PeerStatus]) -> dict[tuple[str, int], PeerStatus]:
    """By address, and the how-manieth with it: an ID would not outlive a restart."""
    seen: Counter[str] = Counter()
    found = {}
    for peer in sorted(peers, key=lambda peer: peer.id):
        found[peer.server, seen[peer.server]] = peer
        seen[peer.server] += 1
    return found


def _peers(upstreams: Mapping[str, HTTPUpstream] | Mapping[str, StreamUpstream], name: str) -> Sequence[PeerStatus]:
    upstream = upstreams.get(name)
    return () if upstream is None else upstream.peers


def _moved(before: int, after: int, *, anew: bool) -> int:
    return after if anew or after < before else after - before


def _of_zones(zones: Mapping[str, HTTPServerZone] | Mapping[str, LocationZone]) -> dict[str, _Counters]:
    return {name: (zone.requests, zone.responses.count_5xx, zone.received, zone.sent) for name, zone in zones.items()}


def _of_stream_zones(zones: Mapping[str, StreamServerZone]) -> dict[str, _Counters]:
    return {name: (zone.connections, zone.sessions.count_5xx, zone.received, zone.sent) for name, zone in zones.items()}


def _of_peer(peer: PeerStatus) -> _Counters:
    match peer:
        case HTTPPeer():
            return peer.requests, peer.responses.count_5xx, peer.received, peer.sent
        case StreamPeer():
            return peer.connections, 0, peer.received, peer.sent
        case _:
            return _NONE

"""What moved between two looks: differences, rates, and counters that went back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from aetcd.nginx import (
    Connections,
    HTTPPeer,
    HTTPRequests,
    HTTPServerZone,
    HTTPUpstream,
    Info,
    Movement,
    PeerChanged,
    Responses,
    Sessions,
    Snapshot,
    StreamPeer,
    StreamServerZone,
    StreamUpstream,
)
from aetcd.nginx._movement import compare, peer_changes


def zone(requests: int, count_5xx: int = 0, received: int = 0, sent: int = 0) -> HTTPServerZone:
    return HTTPServerZone(requests=requests, responses=Responses(count_5xx=count_5xx), received=received, sent=sent)


def peer(id: int, requests: int, state: str = "up", server: str = "") -> HTTPPeer:
    return HTTPPeer(
        id=id,
        server=server or f"10.0.0.{id}:80",
        state=state,
        requests=requests,
        responses=Responses(count_5xx=0),
        received=requests * 10,
        sent=requests * 100,
    )


def look(
    at: float,
    *,
    zones: Any = None,
    peers: Any = (),
    generation: int = 1,
    ppid: int = 10,
    pid: int = 11,
    loaded: int = 2020,
    **more: Any,
) -> Snapshot:
    timestamp = datetime(loaded, 1, 1, tzinfo=UTC)
    return Snapshot(
        taken_at=at,
        info=Info(generation=generation, ppid=ppid, pid=pid, load_timestamp=timestamp),
        connections=Connections(accepted=more.pop("accepted", 0)),
        http_requests=HTTPRequests(total=more.pop("total", 0)),
        http_zones=zones or {},
        http_upstreams={"u": HTTPUpstream(peers=tuple(peers))},
        **more,
    )


def test_differences_and_rates() -> None:
    """By the seconds between the looks."""
    before = look(10.0, zones={"z": zone(100, 1, 1000, 5000)}, accepted=5, total=100)
    after = look(12.0, zones={"z": zone(150, 5, 1400, 9000)}, accepted=9, total=160)
    sample = compare(before, after)
    assert (sample.seconds, sample.requests, sample.connections) == (2.0, 60, 4)
    assert (sample.requests_per_second, sample.connections_per_second) == (30.0, 2.0)
    moved = sample.http.zones["z"]
    assert moved == Movement(seconds=2.0, requests=50, count_5xx=4, received=400, sent=4000)
    assert (moved.requests_per_second, moved.count_5xx_per_second) == (25.0, 2.0)
    assert (moved.received_per_second, moved.sent_per_second, moved.bytes_per_second) == (200.0, 2000.0, 2200.0)
    assert not sample.reloaded
    assert sample.snapshot is after


def test_upstream_is_the_sum_of_its_servers() -> None:
    """Of those that are there now; a new one counts from zero."""
    sample = compare(look(0.0, peers=[peer(1, 10), peer(2, 5)]), look(1.0, peers=[peer(1, 14), peer(3, 2)]))
    moved = sample.http.upstreams["u"]
    assert (moved.requests, moved.received, moved.sent) == (6, 60, 600)
    assert {number: one.requests for number, one in moved.peers.items()} == {1: 4, 3: 2}
    assert not moved.went_back


def test_counters_that_went_back_count_from_zero() -> None:
    """They were cleared: what they show came since then."""
    moved = compare(look(0.0, zones={"z": zone(100, 7, 9, 9)}), look(1.0, zones={"z": zone(3, 1, 9, 20)})).http.zones[
        "z"
    ]
    assert moved == Movement(seconds=1.0, requests=3, count_5xx=1, received=9, sent=20, went_back=True)


def test_restart_is_seen_though_counters_are_ahead_already() -> None:
    """A busy instance is past its old numbers by the next look: another master's process ID tells."""
    before = look(0.0, zones={"z": zone(100)}, peers=[peer(1, 10)], total=50, accepted=50)
    after = look(60.0, zones={"z": zone(400)}, peers=[peer(1, 30)], total=70, accepted=70, ppid=99, generation=0)
    sample = compare(before, after)
    assert sample.restarted
    assert sample.reloaded
    assert (sample.requests, sample.connections) == (70, 70)
    assert sample.http.zones["z"].requests == 400
    assert sample.http.zones["z"].went_back
    assert sample.http.upstreams["u"].requests == 30


@pytest.mark.parametrize("generation", [0, 1])
def test_restart_in_a_container_is_seen(generation: int) -> None:
    """There all process IDs are as before: a configuration of another time with no higher generation tells."""
    before = look(0.0, zones={"z": zone(100)}, generation=1)
    sample = compare(before, look(9.0, zones={"z": zone(400)}, generation=generation, loaded=2021))
    assert sample.restarted
    assert sample.http.zones["z"].requests == 400


def test_reload_is_seen_by_its_generation() -> None:
    """Zones survive it, so that differences hold; a server with another's ID is not taken for that one."""
    before = look(0.0, zones={"z": zone(100)}, peers=[peer(1, 10)])
    after = look(
        1.0, zones={"z": zone(130)}, peers=[peer(1, 12, server="10.9.9.9:80")], generation=2, pid=77, loaded=2021
    )
    sample = compare(before, after)
    assert sample.reloaded
    assert not sample.restarted
    assert sample.http.zones["z"].requests == 30
    assert sample.http.upstreams["u"].requests == 12


def test_another_worker_is_no_reload() -> None:
    """Any of them answers."""
    sample = compare(look(0.0, zones={"z": zone(1)}), look(1.0, zones={"z": zone(2)}, pid=12))
    assert not sample.reloaded
    assert sample.http.zones["z"].requests == 1


def test_zone_that_is_new_and_one_that_is_gone() -> None:
    """The one counts from zero, the other is not told of."""
    sample = compare(look(0.0, zones={"old": zone(5)}), look(1.0, zones={"new": zone(7)}))
    assert {name: moved.requests for name, moved in sample.http.zones.items()} == {"new": 7}


def test_stream_side() -> None:
    """Connections are its requests, sessions its responses."""

    def at(moment: float, connections: int, count_5xx: int) -> Snapshot:
        zones = {
            "s": StreamServerZone(
                connections=connections, sessions=Sessions(count_5xx=count_5xx), received=connections, sent=connections
            )
        }
        peers = (StreamPeer(id=0, server="a:1", state="up", connections=connections, received=0, sent=0),)
        return look(moment, stream_zones=zones, stream_upstreams={"u": StreamUpstream(peers=peers)})

    sample = compare(at(0.0, 10, 1), at(1.0, 15, 3))
    assert sample.stream.zones["s"] == Movement(seconds=1.0, requests=5, count_5xx=2, received=5, sent=5)
    assert sample.stream.upstreams["u"].requests == 5


def test_two_looks_at_one_moment() -> None:
    """No rate is a division by zero."""
    assert compare(look(1.0, total=1), look(1.0, total=1)).requests_per_second == 0.0


def changes(before: Any, after: Any) -> list[tuple[str, str | None, str | None]]:
    found = peer_changes(look(0.0, peers=before), look(1.0, peers=after))
    return [(change.server, change.before, change.after) for change in found]


def test_changed_states() -> None:
    """Of servers that stay; those that come and go have a state on one side only."""
    found = changes(
        [peer(1, 0), peer(2, 0), peer(3, 0, "unhealthy")], [peer(1, 0, "unavail"), peer(2, 5), peer(4, 0, "checking")]
    )
    assert found == [
        ("10.0.0.1:80", "up", "unavail"),
        ("10.0.0.3:80", "unhealthy", None),
        ("10.0.0.4:80", None, "checking"),
    ]


def test_state_outlives_an_id() -> None:
    """A restart gives new IDs: a server is known by its address, and by its place where that is there twice."""
    before = [peer(5, 0, server="a:1"), peer(6, 0, "down", server="a:1"), peer(7, 0, server="b:1")]
    after = [peer(0, 0, server="a:1"), peer(1, 0, "up", server="a:1"), peer(2, 0, server="b:1")]
    assert changes(before, after) == [("a:1", "down", "up")]


@pytest.mark.parametrize("side", ["http", "stream"])
def test_change_names_its_side(side: Any) -> None:
    """Both sides may have upstreams of one name."""
    one = StreamPeer(id=0, server="a:1", state="up")
    two = StreamPeer(id=0, server="a:1", state="down")
    before = look(0.0, stream_upstreams={"u": StreamUpstream(peers=(one,))}, peers=[peer(1, 0)])
    after = look(0.0, stream_upstreams={"u": StreamUpstream(peers=(two,))}, peers=[peer(1, 0, "down")])
    (change,) = [change for change in peer_changes(before, after) if change.side == side]
    assert isinstance(change, PeerChanged)
    assert (change.upstream, change.after) == ("u", "down")

"""What a pool knows of its peers, without a loop and without a server."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, cast

import pytest

from aetcd import ConfigError
from aetcd._routing.balance import RoundRobin, Sticky
from aetcd._routing.health import HealthPolicy
from aetcd._routing.peer import Peer, parse_peers
from aetcd._transport.seats import Seat, Seats
from aetcd._transport.streams import Stream
from aetcd._transport.trace import PeerEvent, Trace, Tracer

A, B, C = parse_peers("http://a,b,c")


def seats_of(peers: Sequence[Peer] = (A, B, C), *, policy: Any = None, events: list[PeerEvent] | None = None) -> Seats:
    tracer = None if events is None else Tracer(Trace(on_peer_state=events.append), debug=False)
    health = HealthPolicy(eject_after=2, base=1.0, cap=1.0)
    return Seats(peers, policy or RoundRobin(), health, random.Random(1), tracer)


def stream_at(heard: float) -> Stream:
    """All that a seat wants to know of one."""

    class Heard:
        last_heard = heard

    return cast("Stream", Heard())


def test_pick_goes_past_those_tried_and_those_not_usable() -> None:
    """First usable ones not tried, then all not tried, then usable ones again."""
    seats = seats_of(policy=Sticky())
    a, b, c = (seats.find(peer) for peer in (A, B, C))
    for _ in range(2):
        seats.failed(b, 1.0, "down")
    assert seats.pick(set()) is a
    assert seats.pick({a}) is c
    assert seats.pick({a, c}) is b
    assert seats.pick({a, b, c}) in {a, c}
    assert [seats.untried(tried) for tried in (set(), {a}, {a, b, c})] == [3, 2, 0]


def test_all_are_usable_where_none_is_well() -> None:
    """The pool's opinion may be what is wrong."""
    seats = seats_of()
    found = [seats.find(peer) for peer in (A, B, C)]
    for seat in found:
        seats.failed(seat, 1.0, "down")
        seats.failed(seat, 1.0, "down")
    assert {seats.pick(set()) for _ in range(3)} == set(found)
    seats.answered(found[1], 2.0)
    assert {seats.pick(set()) for _ in range(3)} == {found[1]}


def test_tickets_may_be_given_back_in_any_order() -> None:
    """Pending counts them, and latency is a moving average of those that were answered."""
    seat = seats_of().find(A)
    first, second, third = seat.enter(0.0), seat.enter(1.0), seat.enter(2.0)
    assert seat.pending == 3
    seat.leave(second, 2.0, answered=True)
    assert seat.latency == 1.0
    seat.leave(third, 12.0, answered=False)
    assert seat.latency == 1.0
    seat.leave(first, 6.0, answered=True)
    assert seat.latency == pytest.approx(1.0 + 0.2 * 5.0)
    assert seat.pending == 0


def test_slow_is_who_keeps_its_oldest_request_waiting() -> None:
    """Until a probe says that it is well: then the request is slow, and not its peer."""
    seats = seats_of()
    seat = seats.find(A)
    assert not seat.slow(100.0)
    old = seat.enter(100.0)
    seat.enter(101.9)
    assert not seat.slow(102.0)
    assert seat.slow(102.1)
    seats.probe_started(seat, 102.1)
    seats.probed(seat, 102.2, None)
    assert not seat.slow(104.0)
    assert seat.slow(104.3)
    seat.leave(old, 104.3, answered=True)
    seats.probed(seat, 104.3, None)
    assert not seat.slow(104.4)


def test_probes_are_due_for_those_not_well_and_those_slow() -> None:
    """One at a time for each peer, looked for not more often than every half second."""
    events: list[PeerEvent] = []
    seats = seats_of(events=events)
    a, b, c = (seats.find(peer) for peer in (A, B, C))
    b.enter(10.0)
    assert list(seats.due_for_probe(12.0)) == []
    assert list(seats.due_for_probe(12.4)) == []
    assert list(seats.due_for_probe(12.5)) == [b]
    assert b.probing
    assert [(event.peer, event.after) for event in events] == [(B.url, "suspect")]
    seats.failed(c, 12.6, "down")
    assert list(seats.due_for_probe(12.6)) == [c]
    assert list(seats.due_for_probe(13.2)) == []
    seats.probed(c, 13.3, "down")
    assert c.health.state.value == "ejected"
    assert list(seats.due_for_probe(c.health.until)) == [c]
    assert c.health.state.value == "probing"
    assert not a.probing


def test_silent_probe_ejects_at_once() -> None:
    """A probe is not slow by its nature, so its silence says it all; a probe that is refused counts as one failure."""
    for silent, state in [(True, "ejected"), (False, "suspect")]:
        seats = seats_of()
        seat = seats.find(A)
        seats.probe_started(seat, 1.0)
        seats.probed(seat, 2.0, "no answer", silent=silent)
        assert seat.health.state.value == state


def test_quiet_since_the_last_word_of_stream_or_probe() -> None:
    """A peer that has just said that it is well need not be asked again; one that said that it is not is."""
    seats = seats_of()
    seat = seats.find(A)
    assert seat.quiet_for(5.0) == 0.0
    seats.opened(seat, stream_at(10.0))
    seats.opened(seat, stream_at(12.0))
    assert seat.quiet_for(20.0) == 8.0
    seats.probed(seat, 19.0, None)
    assert seat.quiet_for(20.0) == 1.0
    seats.probed(seat, 19.5, "no leader")
    assert seat.quiet_for(20.0) == 8.0


def test_unwell_since_the_first_of_several_bad_probes() -> None:
    """An answer to a request does not end it, a good probe does, and so does a long time without any."""
    seats = seats_of()
    seat = seats.find(A)
    assert seat.unwell_for(10.0) == 0.0
    seats.probed(seat, 10.0, "no leader")
    seats.answered(seat, 10.5)
    seats.probed(seat, 12.0, "no leader")
    assert seat.unwell_for(12.0) == 2.0
    seats.probed(seat, 13.0, None)
    assert seat.unwell_for(13.0) == 0.0
    seats.probed(seat, 14.0, "no leader")
    seats.probed(seat, 19.5, "no leader")
    assert seat.unwell_for(19.5) == 0.0


def test_streams_are_known_while_they_are_read() -> None:
    """Also those of a peer that is learnt of no longer."""
    seats = seats_of([A])
    seats.learn([B])
    learnt = seats.find(B)
    stream, other = stream_at(1.0), stream_at(1.0)
    seats.opened(learnt, stream)
    seats.opened(seats.find(A), other)
    seats.learn([])
    assert seats.with_streams() == {learnt, seats.find(A)}
    assert set(seats.streams()) == {stream, other}
    seats.forget(stream)
    assert seats.with_streams() == {seats.find(A)}
    assert not learnt.streams


def test_learning_keeps_what_is_known_of_a_peer() -> None:
    """Its health and its load go on; configured ones stay; duplicates are one."""
    seats = seats_of([A])
    seats.learn([B, A, B])
    assert list(seats.peers) == [A, B]
    seat = seats.find(B)
    seats.failed(seat, 1.0, "down")
    seats.learn([C, B])
    assert list(seats.peers) == [A, C, B]
    assert seats.find(B) is seat


def test_peer_asked_by_name_and_learnt_later_is_the_same() -> None:
    """It has one place."""
    seats = seats_of([A])
    named = seats.find("http://b")
    assert seats.find("b") is named
    assert [status.url for status in seats.status()] == [A.url, B.url]
    assert seats.pick({seats.find(A)}) is not named
    seats.learn([B])
    assert seats.find(B) is named
    assert [status.url for status in seats.status()] == [A.url, B.url]


def test_clear_text_is_refused_where_the_configured_ones_use_tls() -> None:
    """Learnt ones are left out, named ones refused; a name without a scheme is taken to be https."""
    secure = parse_peers("https://a")
    seats = seats_of(secure)
    seats.learn([B, *parse_peers("https://c")])
    assert [peer.url for peer in seats.peers] == ["https://a:2379", "https://c:2379"]
    with pytest.raises(ConfigError, match=r"^peer: "):
        seats.find("http://b")
    assert seats.find("b").peer.tls


def test_events_are_told_once_for_each_change() -> None:
    """And none where nothing changed."""
    events: list[PeerEvent] = []
    seats = seats_of(events=events)
    seat: Seat = seats.find(A)
    seats.answered(seat, 0.0)
    seats.failed(seat, 1.0, "cut")
    seats.failed(seat, 2.0, "refused")
    seats.failed(seat, 3.0, "refused")
    seats.answered(seat, 4.0)
    seats.answered(seat, 5.0)
    changes = [(event.before, event.after, event.error) for event in events]
    assert changes == [
        ("healthy", "suspect", "cut"),
        ("suspect", "ejected", "refused"),
        ("ejected", "healthy", None),
    ]

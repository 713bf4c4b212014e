"""Many watches on one stream, without a server: what is sent, what is understood, and when silence is believed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from attrs import define, field

from aetcd.errors import HistoryLost, NoLeader, PermissionDenied, Unauthenticated, WatchRefused
from aetcd.etcd._values import Change, Node
from aetcd.etcd.v3._frames import WatchFrame
from aetcd.etcd.v3._models import Event, Header, KeyValue
from aetcd.etcd.v3._mux import ASKS, DEAF, NAMELESS, PATIENCE, PING, PING_REQUEST, QUIET, Mux
from aetcd.etcd.v3._reader import Reader, refusal


@define(eq=False)
class Told:
    """A watch that remembers what it was told."""

    key: str = "k"
    seen: list[tuple[str, int]] = field(factory=list)

    def request(self, watch_id: int) -> bytes:
        return json.dumps({"create": self.key, "id": watch_id}).encode()

    def created(self, frame: WatchFrame) -> None:
        self.seen.append(("created", frame.header.revision))

    def told(self, frame: WatchFrame) -> None:
        self.seen.append(("told", frame.header.revision))

    def cancelled(self, frame: WatchFrame) -> None:
        self.seen.append(("cancelled", frame.header.revision))


def frame(watch_id: int, revision: int = 7, **facts: Any) -> bytes:
    told = {"header": {"revision": str(revision)}, "watch_id": str(watch_id), **facts}
    return json.dumps({"result": told}).encode() + b"\n"


def created(watch_id: int, revision: int = 7) -> bytes:
    return frame(watch_id, revision, created=True)


PONG = frame(NAMELESS, created=True, canceled=True, cancel_reason="mvcc: watcher range is empty")
DUPLICATE = frame(NAMELESS, created=True, canceled=True, cancel_reason="mvcc: duplicate watch ID provided")


def up(*watches: Told) -> tuple[Mux, list[int]]:
    """A stream that has come up at second 0, with its watches asked for."""
    mux = Mux(lambda: None)
    mux.began(0.0)
    mux.receive(PONG, 0.0)
    ids = [mux.add(watch) for watch in watches]
    mux.take()
    return mux, ids


# Watches


class Unasked(Told):
    """A watch of which nobody can make a request."""

    def request(self, watch_id: int) -> bytes:
        raise TypeError("no request")


def test_one_that_cannot_be_asked_for() -> None:
    """It is no part of the stream, and the others are none the worse."""
    one = Told()
    mux, (first,) = up(one)
    with pytest.raises(TypeError):
        mux.add(Unasked())
    mux.receive(created(first), 1.0)
    mux.receive(created(mux.add(Told())), 1.0)
    assert len(mux) == 2
    assert one.seen == [("created", 7)]


def test_each_is_told_what_is_its_own() -> None:
    """However the bytes are cut."""
    one, two = Told(), Told()
    mux, (first, second) = up(one, two)
    data = created(first) + created(second) + frame(second, 8) + frame(first, 9) + frame(second, 10)
    for start in range(0, len(data), 11):
        mux.receive(data[start : start + 11], 1.0)
    assert one.seen == [("created", 7), ("told", 9)]
    assert two.seen == [("created", 7), ("told", 8), ("told", 10)]


def test_what_is_sent_and_who_is_woken() -> None:
    """Requests in order and once; whoever sends is woken when there is something."""
    woken = []
    mux = Mux(lambda: woken.append(True))
    ids = [mux.add(Told(key)) for key in "ab"]
    assert woken == [True]
    assert mux.take() == b"".join(Told(key).request(watch_id) for key, watch_id in zip("ab", ids, strict=True))
    assert mux.take() == b""
    mux.drop(ids[0])
    assert woken == [True, True]
    assert json.loads(mux.take()) == {"cancel_request": {"watch_id": ids[0]}}
    assert len(mux) == 1


def test_late_frames_of_one_that_left() -> None:
    """They go nowhere, and its ID is never used again."""
    one = Told()
    mux, (first,) = up(one)
    mux.receive(created(first), 1.0)
    mux.drop(first)
    mux.receive(frame(first, 8) + frame(first, canceled=True), 1.0)
    assert one.seen == [("created", 7)]
    assert mux.add(Told()) != first


def test_one_that_left_before_it_stood() -> None:
    """The answer to its request goes nowhere, and is no sign that others were lost."""
    one, two = Told(), Told()
    mux, (first, second) = up(one, two)
    mux.drop(first)
    mux.take()
    mux.receive(created(first) + created(second), 1.0)
    assert (one.seen, two.seen) == ([], [("created", 7)])
    assert mux.take() == b""


def test_cancelled_by_the_server() -> None:
    """It is told so, once, and nothing of it is sent; the others go on."""
    one, two = Told(), Told()
    mux, (first, second) = up(one, two)
    mux.receive(created(first) + created(second) + frame(first, canceled=True, compact_revision="5"), 1.0)
    mux.receive(frame(first, 9) + frame(second, 9), 1.0)
    assert one.seen == [("created", 7), ("cancelled", 7)]
    assert two.seen == [("created", 7), ("told", 9)]
    mux.drop(first)
    assert mux.take() == b""


def test_refused_by_name() -> None:
    """A watch that is not permitted is created and cancelled in one frame: it never stood."""
    one = Told()
    mux, (first,) = up(one)
    mux.receive(frame(first, created=True, canceled=True, cancel_reason="permission denied"), 1.0)
    assert one.seen == [("cancelled", 7)]
    assert len(mux) == 0


# Lost requests


def test_a_request_that_was_passed_over_is_made_again() -> None:
    """Answers come in the order of requests: whatever is before an answered one was lost."""
    watches = [Told(key) for key in "abc"]
    mux, ids = up(*watches)
    mux.receive(created(ids[2]), 1.0)
    again = watches[0].request(ids[0]) + watches[1].request(ids[1])
    assert mux.take() == again
    mux.receive(created(ids[0]) + created(ids[1]), 1.0)
    assert [watch.seen for watch in watches] == [[("created", 7)]] * 3


def test_a_lost_request_is_found_by_a_ping() -> None:
    """Where nothing else is asked for, the ping that waits behind it tells."""
    one = Told()
    mux, (first,) = up(one)
    assert mux.tick(0.5)
    assert mux.take() == b""
    mux.receive(frame(99), QUIET)  # the stream is alive, and still there is no answer
    assert tick_until(mux, 1.0, QUIET + 0.5) is None
    assert mux.take() == PING_REQUEST
    mux.receive(PONG, 2.5)
    assert mux.take() == one.request(first)


def test_a_request_that_was_not_lost_after_all() -> None:
    """etcd refuses the second one by a frame without a name: the watch stands, and no other suffers."""
    one, two = Told("a"), Told("b")
    mux, (first, second) = up(one, two)
    mux.receive(created(second), 1.0)  # out of order, against all experience
    assert mux.take() == one.request(first)
    mux.receive(created(first) + DUPLICATE + frame(first, 8) + frame(second, 8), 1.0)
    assert one.seen == [("created", 7), ("told", 8)]
    assert two.seen == [("created", 7), ("told", 8)]
    assert mux.take() == b""


def test_refused_without_a_name_again_and_again() -> None:
    """It is asked for a few times, then told the reason."""
    one = Told()
    mux, _ = up(one)
    for _ in range(ASKS - 1):
        mux.receive(DUPLICATE, 1.0)
        assert mux.take() != b""
    assert one.seen == []
    mux.receive(DUPLICATE, 1.0)
    assert one.seen == [("cancelled", 7)]
    assert mux.take() == b""


# Silence


def tick_until(mux: Mux, start: float, end: float) -> float | None:
    """When silence was believed, at two looks in a second."""
    now = start
    while now <= end:
        if not mux.tick(now):
            return now
        now += 0.5
    return None


def test_silence_is_believed_after_a_question() -> None:
    """Within five seconds of the last word, and never without having asked."""
    mux, _ = up()
    silent = tick_until(mux, 0.5, 10.0)
    assert silent is not None
    assert QUIET + PATIENCE < silent <= 5.0
    assert mux.take() == PING_REQUEST


def test_answers_keep_it_alive() -> None:
    """Each silence is asked about anew."""
    mux, _ = up()
    for now in range(20):
        assert mux.tick(now + 0.1)
        assert mux.tick(now + 0.6)
        if mux.take() == PING_REQUEST:
            mux.receive(PONG, now + 0.7)


def test_a_word_keeps_it_alive_for_a_while() -> None:
    """A server that is busy telling changes may answer a question late. One that never does hears nothing."""
    mux, (first,) = up(Told())
    mux.receive(created(first), 0.0)
    mux.add(Told())
    for step in range(1, 40):
        now = step / 2
        if not mux.tick(now):
            break
        mux.receive(frame(first, step + 10), now)
    assert QUIET + DEAF < now <= QUIET + DEAF + 1.5


def test_each_answer_keeps_it_alive() -> None:
    """A question stands behind all watches that were asked for before it."""
    mux, ids = up(*(Told() for _ in range(40)))
    for step, watch_id in enumerate(ids, 1):
        assert mux.tick(step / 2)
        mux.receive(created(watch_id), step / 2)


def test_own_absence_is_not_the_servers_silence() -> None:
    """A client that was stopped gives the server its time anew."""
    mux, _ = up()
    assert tick_until(mux, 0.5, 3.0) is None
    assert mux.take() == PING_REQUEST
    assert tick_until(mux, 60.0, 60.0 + PATIENCE) is None
    assert not mux.tick(60.5 + PATIENCE)


def test_a_ping_that_is_not_permitted_is_answered_too() -> None:
    """Then etcd gives the ID back."""
    mux, _ = up()
    assert tick_until(mux, 0.5, 3.0) is None
    assert mux.take() == PING_REQUEST
    mux.receive(frame(PING, created=True, canceled=True, cancel_reason="permission denied"), 3.0)
    assert tick_until(mux, 3.5, 3.0 + QUIET + PATIENCE) is None
    assert mux.take() == PING_REQUEST


def test_the_error_that_ends_a_stream() -> None:
    """It is raised as what it means."""
    mux, _ = up(Told())
    with pytest.raises(NoLeader):
        mux.receive(b'{"error":{"grpc_code":14,"http_code":503,"message":"etcdserver: no leader"}}', 1.0)


def test_release() -> None:
    """A stream that broke gives its watches back."""
    watches = [Told(), Told(), Told()]
    mux, ids = up(*watches)
    mux.drop(ids[1])
    assert mux.release() == [watches[0], watches[2]]
    assert len(mux) == 0


# What the frames of one watch say


def event(key: str, revision: int) -> Event:
    return Event(kv=KeyValue(key=key.encode(), value=b"v", mod_revision=revision, version=1))


def told(*events: Event, fragment: bool = False, revision: int = 99) -> WatchFrame:
    return WatchFrame(header=Header(revision=revision), watch_id=2, events=events, fragment=fragment)


def reader(wanted: str = "") -> Reader:
    def read(kv: KeyValue) -> Node:
        return Node(key=kv.key.decode(), raw=kv.value, modified_revision=kv.mod_revision)

    return Reader(read, lambda key: key.startswith(wanted.encode()))


def shown(batches: Any) -> list[tuple[int, list[str]]]:
    return [(batch.revision, [item.key for item in batch.items if isinstance(item, Change)]) for batch in batches]


def test_revisions_are_kept_together() -> None:
    """One batch for each, in order, and none is left out where nothing of it is wanted."""
    frames = told(event("a", 5), event("b", 5), event("x", 6), event("a", 7))
    assert shown(reader().batches(frames)) == [(5, ["a", "b"]), (6, ["x"]), (7, ["a"])]
    assert shown(reader("a").batches(frames)) == [(5, ["a"]), (6, []), (7, ["a"])]


def test_fragments_within_one_revision() -> None:
    """It comes when it is whole; what is before it comes at once, so that little is kept."""
    read = reader()
    assert shown(read.batches(told(event("a", 5), event("a", 6), fragment=True))) == [(5, ["a"])]
    assert shown(read.batches(told(event("b", 6), fragment=True))) == []
    assert shown(read.batches(told(event("c", 6), event("a", 7), fragment=True))) == [(6, ["a", "b", "c"])]
    assert shown(read.batches(told(event("b", 7)))) == [(7, ["a", "b"])]
    assert shown(read.batches(told(event("a", 8)))) == [(8, ["a"])]


def test_progress_moves_the_cursor() -> None:
    """A frame without events does, but not that which says that the watch stands."""
    assert shown(reader().batches(told(revision=12))) == [(12, [])]
    assert shown(reader().batches(WatchFrame(created=True, header=Header(revision=12)))) == []


@pytest.mark.parametrize(
    ("facts", "kind"),
    [
        ({"compact_revision": 5}, HistoryLost),
        (
            {"cancel_reason": "rpc error: code = PermissionDenied desc = etcdserver: permission denied"},
            PermissionDenied,
        ),
        ({"cancel_reason": "rpc error: code = PermissionDenied desc = in other words"}, PermissionDenied),
        ({"cancel_reason": "rpc error: code = InvalidArgument desc = etcdserver: user name is empty"}, Unauthenticated),
        (
            {"cancel_reason": "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token"},
            Unauthenticated,
        ),
        (
            {"cancel_reason": "rpc error: code = InvalidArgument desc = auth: revision in header is old"},
            Unauthenticated,
        ),
        ({"cancel_reason": "something else"}, WatchRefused),
        ({}, WatchRefused),
    ],
)
def test_why_it_ended(facts: dict[str, Any], kind: type[Exception]) -> None:
    """As the class that it means."""
    error = refusal(WatchFrame(canceled=True, **facts), "http://peer")
    assert type(error) is kind
    if isinstance(error, HistoryLost):
        assert error.first_available == 5

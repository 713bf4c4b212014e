"""The judge of histories, on histories that are wrong on purpose, one for each rule, and on right ones."""

from __future__ import annotations

import heapq
from itertools import chain
from typing import Any

import pytest
from attrs import evolve
from checker import Event, Hold, Kind, holds_of, judge
from hypothesis import given
from hypothesis import strategies as st

TTL = 3.0


def held(
    who: str, token: int, since: float, until: float, *, wanted: float = 0.0, process: str = "p", **said: Any
) -> list[Event]:
    """A hold as a contender records it."""
    common: dict[str, Any] = {"name": "job", "who": who, "process": process, **said}
    return [
        Event(at=wanted, what="wanted", **common),
        Event(at=since, what="acquired", token=token, **common),
        Event(at=since, what="trusted", **common),
        Event(at=until, what="trusted", **common),
        Event(at=until, what="released", **common),
    ]


def rules(*histories: list[Event], **limits: float) -> set[str]:
    """What is broken."""
    return {fault.rule for fault in judge(chain(*histories), **{"ttl": TTL, **limits})}


def test_one_after_the_other() -> None:
    """Nothing is wrong with holders who take turns."""
    assert rules(held("a", 1, 1, 2), held("b", 2, 2.1, 3), held("c", 5, 3.1, 3.1)) == set()


@pytest.mark.parametrize("kind", ["lock", "lead"])
@pytest.mark.parametrize("since", [1.0, 1.5, 2.0], ids=["from the start", "half way", "at the last moment"])
def test_two_at_once(kind: Kind, since: float) -> None:
    """Two who trust the same lock, or lead, be it for a moment."""
    assert rules(held("a", 1, 1, 2, kind=kind), held("b", 2, since, 3, kind=kind)) == {"together"}


def test_one_who_was_not_told_yet() -> None:
    """Who loses a hold by an administrator's hand may take a moment to hear of it, and no longer."""
    first = [evolve(event, what="lost") if event.what == "released" else event for event in held("a", 1, 1, 2)]
    assert rules(first, held("b", 2, 1.6, 3), notice=0.5) == set()
    assert rules(first, held("b", 2, 1.4, 3), notice=0.5) == {"together"}
    assert rules(held("a", 1, 1, 2), held("b", 2, 1.6, 3), notice=0.5) == {"together"}, "it gave up by itself"


def test_one_within_another() -> None:
    """A hold that began and ended while another went on, and the one behind both."""
    assert rules(held("a", 1, 1, 9), held("b", 2, 2, 3), held("c", 3, 4, 5)) == {"together"}


def test_a_killed_holder_is_not_one_any_more() -> None:
    """It trusted itself until it said so last: whoever comes after that is alone."""
    history = [event for event in held("a", 1, 1, 2, process="dead") if event.what != "released"]
    end = Event(at=2.5, what="killed", process="dead")
    assert rules(history, [end], held("b", 2, 5, 6)) == set()
    assert rules(history, [end], held("b", 2, 1.9, 6)) == {"together"}


@pytest.mark.parametrize(
    ("one", "other", "broken"),
    [
        ("read", "read", set()),
        ("read", "write", {"mixed"}),
        ("write", "read", {"mixed"}),
        ("write", "write", {"mixed"}),
    ],
)
def test_readers_and_writers(one: Kind, other: Kind, broken: set[str]) -> None:
    """Readers may hold together, and no writer may with anybody."""
    assert rules(held("a", 1, 1, 3, kind=one), held("b", 2, 2, 4, kind=other)) == broken


def permits(limit: int, *spans: tuple[int, float, float]) -> list[Event]:
    """Holds of a semaphore."""
    holds = (held(f"w{token}", token, a, b, kind="permit", limit=limit) for token, a, b in spans)
    return list(chain.from_iterable(holds))


def test_as_many_as_the_limit() -> None:
    """So many may hold a semaphore, and not one more."""
    assert rules(permits(2, (1, 1, 4), (2, 2, 5), (3, 4.5, 6))) == set()
    assert rules(permits(2, (1, 1, 4), (2, 2, 5), (3, 3, 6))) == {"limit"}


def test_two_limits_at_once() -> None:
    """Holders who do not agree on the limit are judged by the smaller one."""
    one = held("a", 1, 1, 4, kind="permit", limit=1)
    assert rules(one, held("b", 2, 2, 3, kind="permit", limit=3)) == {"limit"}


@pytest.mark.parametrize("kind", ["lock", "lead", "write"])
def test_a_smaller_token_later(kind: Kind) -> None:
    """Tokens grow from holder to holder; one that does not tells that its owner was overtaken, too."""
    assert rules(held("a", 2, 1, 2, kind=kind), held("b", 1, 3, 4, kind=kind)) == {"tokens", "order"}


def test_the_same_token_twice() -> None:
    """Nobody has a token that another has had."""
    assert rules(held("a", 7, 1, 2), held("b", 7, 3, 4)) == {"tokens"}


def test_a_smaller_token_much_later() -> None:
    """Not only neighbours are compared."""
    assert "tokens" in rules(held("a", 9, 1, 2), held("b", 10, 3, 4), held("c", 11, 5, 6), held("d", 8, 7, 8))


def test_readers_may_notice_in_any_order() -> None:
    """Those who share are told at the same moment, and who is slower is not wronged."""
    assert rules(held("a", 2, 1, 1.5, kind="read"), held("b", 1, 2, 3, kind="read")) == set()


def test_a_reader_that_overtook_a_writer() -> None:
    """A waiting writer holds later readers back, though other readers are in."""
    first = held("a", 1, 1, 9, kind="read")
    assert rules(first, held("b", 3, 2, 3, kind="read"), held("c", 2, 10, 11, kind="write")) == {"tokens", "order"}


def test_a_permit_out_of_order() -> None:
    """Of a semaphore with one place left, the first in the queue has it."""
    assert rules(permits(2, (1, 1, 9), (3, 2, 3), (2, 4, 5))) == {"order"}
    assert rules(permits(3, (1, 1, 9), (3, 2, 3), (2, 4, 5))) == set(), "there was room for both"


def test_one_who_is_never_told() -> None:
    """Whoever wants something gets it, or is told why not, or dies."""
    wanted = Event(at=1, what="wanted", name="job", who="a", process="p")
    assert rules([wanted]) == {"starved"}
    assert rules([wanted, Event(at=2, what="failed", name="job", who="a", process="p")]) == set()
    assert rules([wanted, Event(at=2, what="killed", process="p")]) == set()
    assert rules([wanted, Event(at=2, what="killed", process="another")]) == {"starved"}


def test_one_who_waits_for_too_long() -> None:
    """Patience has an end also for those who got it."""
    assert rules(held("a", 1, 11, 12, wanted=0.5), patience=10) == {"starved"}
    assert rules(held("a", 1, 11, 12, wanted=1.5), patience=10) == set()


@pytest.mark.parametrize("end", ["released", "lost", "killed"])
def test_what_is_left_over(end: Any) -> None:
    """An entry may outlive its owner by the TTL, and no longer."""
    history = [evolve(event, what=end) if event.what == "released" else event for event in held("a", 1, 1, 2)]

    def found(at: float, token: int = 1) -> list[Event]:
        return [Event(at=at, what="found", name="job", token=token)]

    assert rules(history, found(2 + TTL - 0.1)) == set()
    assert rules(history, found(2 + TTL + 0.1)) == {"orphan"}
    assert rules(history, found(2.1, token=4)) == {"orphan"}, "it is nobody's who is known"


def test_what_one_left_who_had_nothing() -> None:
    """Of one who died while it waited the token is not known: its entry may stand for the TTL all the same."""
    wanted = Event(at=1, what="wanted", name="job", who="a", process="p")
    killed = Event(at=2, what="killed", process="p")
    for at, broken in ((4.9, set()), (5.1, {"orphan"})):
        assert rules([wanted, killed, Event(at=at, what="found", name="job", token=9)]) == broken


@pytest.mark.parametrize("end", ["lost", "released", "failed"])
def test_trust_that_comes_back(end: Any) -> None:
    """Whoever was told of a loss, or has released, does not trust that hold again."""
    history = [evolve(event, what=end) if event.what == "released" else event for event in held("a", 1, 1, 2)]
    again = Event(at=3, what="trusted", name="job", who="a", process="p")
    assert rules(history, [again]) == {"revived"}


def test_other_names_are_other_things() -> None:
    """Who holds one lock is nothing to who holds another."""
    assert rules(held("a", 2, 1, 3), held("b", 1, 2, 4, name="other")) == set()


# Histories of a queue that is served as it should be, by chance

arrivals = st.lists(
    st.tuples(
        st.floats(min_value=0.01, max_value=5),  # until the next one comes
        st.floats(min_value=0.01, max_value=9),  # how long it holds
        st.floats(min_value=0, max_value=0.5),  # how long it takes to notice
        st.booleans(),
    ),
    min_size=1,
    max_size=30,
)
Arrivals = list[tuple[float, float, float, bool]]


def served(arrivals: Arrivals, kind: str, limit: int = 1) -> list[Event]:
    """Each is let in, in order of arrival, once those before it leave room for it."""
    history: list[Event] = []
    at = admitted = 0.0
    inside: list[tuple[float, Kind]] = []
    for token, (pause, length, delay, is_reader) in enumerate(arrivals, start=1):
        at += pause
        own: Kind = ("read" if is_reader else "write") if kind == "rwlock" else kind  # type: ignore[assignment]
        admitted = max(admitted, at)
        while not fits(inside := [(end, other) for end, other in inside if end > admitted], own, limit):
            admitted = heapq.nsmallest(1, inside)[0][0]
        since = admitted + 0.001 + delay
        inside.append((since + length, own))
        history += held(f"w{token}", token, since, since + length, wanted=at, kind=own, limit=limit)
    return history


def fits(inside: list[tuple[float, Kind]], own: Kind, limit: int) -> bool:
    if own == "permit":
        return len(inside) < limit
    return not inside or (own == "read" and all(other == "read" for _, other in inside))


@given(arrivals, st.sampled_from(["lock", "lead", "permit", "rwlock"]), st.integers(min_value=1, max_value=4))
def test_fair_queues(arrivals: Arrivals, kind: str, limit: int) -> None:
    """No queue that is served in order is found to be wrong, however slow its contenders are to notice."""
    assert judge(served(arrivals, kind, limit), ttl=TTL) == []


@given(arrivals.filter(lambda drawn: len(drawn) > 1), st.data())
def test_one_hold_that_is_moved(arrivals: Arrivals, data: st.DataObject) -> None:
    """A hold that goes on into the next one's is found, and one that changes places with it."""
    history = served(arrivals, "lock")
    place = data.draw(st.integers(min_value=0, max_value=len(arrivals) - 2))
    one, other = holds_of(history)[place : place + 2]
    assert "together" in rules(history, [trusted(one, other.since)])
    swapped = [
        evolve(event, token={one.token: other.token, other.token: one.token}.get(event.token, event.token))
        for event in history
    ]
    assert rules(swapped) == {"tokens", "order"}


def trusted(hold: Hold, at: float) -> Event:
    return Event(at=at, what="trusted", name=hold.name, who=hold.who, process=hold.process)

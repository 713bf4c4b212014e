"""Which peer is next: fair, least burdened, the better of two, or always the same."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from attrs import define
from hypothesis import given, settings
from hypothesis import strategies as st

from aetcd._routing.balance import LeastPending, Policy, PowerOfTwo, RoundRobin, Sticky, make_policy
from aetcd._routing.peer import Peer
from aetcd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMES = ["round_robin", "least_pending", "power_of_two", "sticky"]

quick = settings(max_examples=100, deadline=None, derandomize=True)


@define(eq=False)
class Place:
    peer: Peer
    pending: int = 0
    latency: float = 0.0


def places(count: int) -> list[Place]:
    return [Place(Peer(f"h{number}", 2379)) for number in range(count)]


def without(all_places: list[Place], *left_out: int) -> list[Place]:
    return [place for number, place in enumerate(all_places) if number not in left_out]


def picks(policy: Policy, candidates: Sequence[Place], times: int) -> list[str]:
    return [policy.pick(candidates).peer.host for _ in range(times)]


subsets = st.lists(st.sets(st.integers(0, 4), max_size=4), min_size=1, max_size=25)


@pytest.mark.parametrize("name", NAMES)
@quick
@given(seed=st.integers(0, 1000), missing=subsets)
def test_picks_one_of_the_candidates(name: str, seed: int, missing: list[set[int]]) -> None:
    """Whatever was picked before, the peer is one of those given now."""
    policy = make_policy(name, Random(seed))
    five = places(5)
    for left_out in missing:
        candidates = without(five, *left_out)
        assert policy.pick(candidates) in candidates


@pytest.mark.parametrize("name", NAMES)
def test_new_objects_for_the_same_peers(name: str) -> None:
    """A policy knows peers, not the objects that carry them."""
    policy = make_policy(name, Random(1))
    for _ in range(10):
        policy.pick(places(3))
    assert {policy.pick(places(1)).peer for _ in range(10)} == {Peer("h0", 2379)}


# Round robin


def test_round_robin_goes_round() -> None:
    """Three peers, in order, again and again."""
    assert picks(RoundRobin(), places(3), 7) == ["h0", "h1", "h2", "h0", "h1", "h2", "h0"]


def test_round_robin_is_fair_when_a_peer_is_left_out_for_one_call() -> None:
    """A failover's second pick, without the peer that failed, does not shift the turns of the others.

    A bare counter fails here: each failover moves it on, and one of the two peers gets all.
    """
    policy, three = RoundRobin(), places(3)
    asked: Counter[str] = Counter()
    for _ in range(300):
        first = policy.pick(three)
        if first.peer.host == "h0":
            asked[policy.pick(without(three, 0)).peer.host] += 1
        else:
            asked[first.peer.host] += 1
    assert abs(asked["h1"] - asked["h2"]) <= 1


def test_round_robin_is_fair_while_the_list_changes() -> None:
    """Two lists in turn, of different length: nobody in both is passed over."""
    policy, three = RoundRobin(), places(3)
    asked = Counter(policy.pick(three if turn % 2 else without(three, 2)).peer.host for turn in range(300))
    assert asked["h0"] >= 100
    assert asked["h1"] >= 100
    assert asked["h2"] >= 75


def test_round_robin_returning_peer_gets_no_burst() -> None:
    """A peer that was ejected for long comes next once, and then in its turn: what it missed is not made up for."""
    policy, three = RoundRobin(), places(3)
    picks(policy, without(three, 1), 100)
    assert picks(policy, three, 6).count("h1") == 2
    assert picks(policy, three, 3).count("h1") == 1


@quick
@given(subsets)
def test_round_robin_lets_nobody_wait_too_long(missing: list[set[int]]) -> None:
    """However the list changes, a peer is passed over at most once for each other peer before its turn comes."""
    policy, five = RoundRobin(), places(5)
    waited: Counter[str] = Counter()
    for left_out in missing:
        candidates = without(five, *left_out)
        chosen = policy.pick(candidates)
        for place in candidates:
            waited[place.peer.host] += 1
        waited[chosen.peer.host] = 0
        assert max(waited.values()) < 5


@quick
@given(st.sets(st.integers(0, 4), max_size=3), st.integers(0, 20))
def test_round_robin_is_even_over_a_steady_list(left_out: set[int], before: int) -> None:
    """Once the list stays as it is, no two peers' shares differ by more than one."""
    policy, five = RoundRobin(), places(5)
    picks(policy, five, before)
    candidates = without(five, *left_out)
    shares = Counter(picks(policy, candidates, 23))
    assert len(shares) == len(candidates)
    assert max(shares.values()) - min(shares.values()) <= 1


def test_round_robin_forgets_peers_that_are_gone() -> None:
    """A client that sees new addresses for months holds a bounded number of them, and stays fair."""
    policy = RoundRobin()
    for number in range(5000):
        policy.pick([Place(Peer("h", number % 65535 + 1))])
    assert len(policy._turns._last) <= 1024
    assert picks(policy, places(2), 4) == ["h0", "h1", "h0", "h1"]


# Least pending


def test_least_pending_breaks_ties_by_turns() -> None:
    """Idle peers are asked in turn, so that sequential calls do not all go to the first."""
    assert picks(LeastPending(), places(3), 6) == ["h0", "h1", "h2", "h0", "h1", "h2"]


@quick
@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=5), min_size=1, max_size=30))
def test_least_pending_is_minimal(loads: list[list[int]]) -> None:
    """No peer with more requests in flight than another is ever picked; of equals the longest unpicked one is."""
    policy = LeastPending()
    last: dict[Peer, int] = {}
    for turn, pendings in enumerate(loads, 1):
        candidates = places(len(pendings))
        for place, pending in zip(candidates, pendings, strict=True):
            place.pending = pending
        chosen = policy.pick(candidates)
        assert chosen.pending == min(pendings)
        equals = [place for place in candidates if place.pending == chosen.pending]
        assert last.get(chosen.peer, 0) == min(last.get(place.peer, 0) for place in equals)
        last[chosen.peer] = turn


# Power of two


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((0, 0.010), (0, 0.020)),
        ((0, 0.020), (2, 0.010)),
        ((1, 0.010), (0, 0.030)),
        ((0, 0.0), (0, 0.001)),
        ((3, 0.0), (0, 0.001)),
        ((0, 0.0), (1, 0.0)),
        ((0, 0.020), (1, 0.010)),
    ],
)
def test_power_of_two_takes_the_better(first: tuple[int, float], second: tuple[int, float]) -> None:
    """Latency times requests in flight, this one included; the unknown before the known; of equals the idler one."""
    better, worse = (Place(Peer("better", 1), *first), Place(Peer("worse", 1), *second))
    policy = PowerOfTwo(Random(1))
    assert picks(policy, [better, worse], 20) == ["better"] * 20
    assert picks(policy, [worse, better], 20) == ["better"] * 20


def test_power_of_two_never_takes_the_worst() -> None:
    """The two are different ones: the slowest of all always meets a better one."""
    five = places(5)
    for number, place in enumerate(five):
        place.latency = 0.01 * (number + 1)
    asked = Counter(picks(PowerOfTwo(Random(1)), five, 2000))
    assert asked["h4"] == 0
    # Of the 10 pairs, 4 are won by the first, 3 by the second, and so on.
    assert asked["h0"] == pytest.approx(800, abs=100)
    assert asked["h3"] == pytest.approx(200, abs=60)


def test_power_of_two_spreads_over_equals() -> None:
    """Peers without a difference get the same share, the last in the list too."""
    asked = Counter(picks(PowerOfTwo(Random(1)), places(3), 3000))
    assert all(share == pytest.approx(1000, abs=120) for share in asked.values())
    assert len(asked) == 3
    assert Counter(picks(PowerOfTwo(Random(1)), places(2), 1000))["h0"] == pytest.approx(500, abs=80)


# Sticky


def test_sticky_begins_with_the_first() -> None:
    """Who lists peers in order of preference gets the first one as long as it is there."""
    assert picks(Sticky(), places(3), 3) == ["h0"] * 3


@pytest.mark.parametrize(("left_out", "next_one"), [(0, "h1"), (1, "h2"), (2, "h0")])
def test_sticky_moves_to_the_next_and_stays(left_out: int, next_one: str) -> None:
    """When its peer is gone the one behind it takes over, for good; the last is followed by the first."""
    policy, three = Sticky(), places(3)
    while policy.pick(three) is not three[left_out]:
        policy.pick(without(three, *(n for n in range(3) if n != left_out)))
    assert picks(policy, without(three, left_out), 3) == [next_one] * 3
    assert picks(policy, three, 3) == [next_one] * 3


@quick
@given(subsets)
def test_sticky_is_stable(missing: list[set[int]]) -> None:
    """It never leaves a peer that is among the candidates, and moves to the next one present when it must."""
    policy, five = Sticky(), places(5)
    current = policy.pick(five)
    for left_out in missing:
        candidates = without(five, *left_out)
        chosen = policy.pick(candidates)
        if current in candidates:
            assert chosen is current
        current = chosen
        assert policy.pick(five) is current


# By name


@pytest.mark.parametrize(
    ("name", "kind"),
    [("round_robin", RoundRobin), ("least_pending", LeastPending), ("power_of_two", PowerOfTwo), ("sticky", Sticky)],
)
def test_policy_by_name(name: str, kind: type) -> None:
    """Each name gives a policy of its own: two clients do not share turns."""
    policy = make_policy(name, Random(1))
    assert type(policy) is kind
    assert make_policy(name, Random(1)) is not policy


def test_own_policy_is_taken_as_it_is() -> None:
    """A user's policy is one object with `pick`."""

    class First:
        def pick(self, candidates: Sequence[Any]) -> Any:
            return candidates[0]

    policy = First()
    assert make_policy(policy, Random(1)) is policy


@pytest.mark.parametrize("name", ["", "random", "ROUND_ROBIN"])
def test_unknown_name_lists_the_known(name: str) -> None:
    """The error names the argument, the value and what would have worked."""
    with pytest.raises(ConfigError, match=r"^balance: ") as caught:
        make_policy(name, Random(1))
    for part in [repr(name), *NAMES]:
        assert part in str(caught.value)


@pytest.mark.parametrize("value", [None, 1, ["sticky"], object(), RoundRobin, type("NoCall", (), {"pick": 1})()])
def test_what_cannot_pick_is_refused(value: Any) -> None:
    """A class in place of an object would fail at the first request only."""
    with pytest.raises(TypeError, match=r"^balance: "):
        make_policy(value, Random(1))

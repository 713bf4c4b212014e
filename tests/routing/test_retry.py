"""Whether a request goes again: never twice where that may harm, never too often, never too late."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aetcd._routing.retry import Fate, GiveUp, Reason, RetryAfter, RetryPolicy, decide, full_jitter, make_retry
from aetcd._wire.message import Effect
from aetcd.errors import ConfigError

quick = settings(max_examples=100, deadline=None, derandomize=True)

SAFE = [(effect, fate) for effect in Effect for fate in Fate if (effect, fate) != (Effect.ONCE, Fate.OPEN)]


class Longest(Random):
    """Draws the longest delay that is possible."""

    def uniform(self, a: float, b: float) -> float:
        return b


def ask(**options: Any) -> RetryAfter | GiveUp:
    facts: dict[str, Any] = {
        "policy": RetryPolicy(),
        "effect": Effect.READ,
        "fate": Fate.OPEN,
        "attempt": 1,
        "untried": 2,
        "remaining": 10.0,
        "random": Longest(),
        "peers": 3,
    }
    return decide(**(facts | options))


@pytest.mark.parametrize(("effect", "fate"), SAFE)
def test_safe_requests_go_to_another_peer_at_once(effect: Effect, fate: Fate) -> None:
    """A read, a repeatable write, and a write that was certainly not applied, go again without waiting."""
    assert ask(effect=effect, fate=fate) == RetryAfter(0.0)


def test_open_write_is_never_repeated() -> None:
    """Also where attempts and time are over, the reason is the one that the caller must know."""
    assert ask(effect=Effect.ONCE) == GiveUp(Reason.OUTCOME_UNKNOWN)
    assert ask(effect=Effect.ONCE, attempt=99, remaining=0.0) == GiveUp(Reason.OUTCOME_UNKNOWN)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"attempt": 9}, RetryAfter(0.0)),
        ({"attempt": 10}, GiveUp(Reason.ATTEMPTS)),
        ({"attempt": 11}, GiveUp(Reason.ATTEMPTS)),
        ({"policy": RetryPolicy(attempts=1)}, GiveUp(Reason.ATTEMPTS)),
        ({"remaining": 0.0}, GiveUp(Reason.DEADLINE)),
        ({"remaining": -1.0}, GiveUp(Reason.DEADLINE)),
        ({"remaining": math.inf}, RetryAfter(0.0)),
        ({"untried": 0, "attempt": 3, "remaining": math.inf}, RetryAfter(0.05)),
        ({"untried": 0, "attempt": 3, "remaining": 0.051}, RetryAfter(0.05)),
        ({"untried": 0, "attempt": 3, "remaining": 0.05}, GiveUp(Reason.DEADLINE)),
        ({"untried": 0, "attempt": 3, "remaining": 0.01}, GiveUp(Reason.DEADLINE)),
        ({"untried": 0, "attempt": 3, "policy": RetryPolicy(base=0.0)}, RetryAfter(0.0)),
    ],
)
def test_limits(options: dict[str, Any], expected: RetryAfter | GiveUp) -> None:
    """Attempts are counted with the first; a delay that would use up the time is not begun."""
    assert ask(**options) == expected


@pytest.mark.parametrize(
    ("peers", "delays"),
    [
        (1, [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0, 1.0]),
        (3, [0.0, 0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]),
        (5, [0.0, 0.0, 0.0, 0.0, 0.05, 0.1, 0.2, 0.4, 0.8]),
    ],
)
def test_delays_grow_after_the_first_round(peers: int, delays: list[float]) -> None:
    """The first round over the peers does not wait; each attempt after it may wait twice as long, up to the cap."""
    longest = [
        ask(attempt=attempt, untried=max(0, peers - attempt), peers=peers, remaining=math.inf)
        for attempt in range(1, 10)
    ]
    assert longest == [RetryAfter(delay) for delay in delays]


def test_round_ends_early() -> None:
    """A call that has no other peer to try before a round is over waits as after the first round."""
    assert ask(attempt=1, untried=0, peers=3) == RetryAfter(0.05)


def test_jitter_is_full() -> None:
    """Delays are spread over the whole span from nothing, the same for the same source of chance."""
    random = Random(1)
    drawn = [full_jitter(random, base=1.0, cap=3.0, doublings=5) for _ in range(3000)]
    assert min(drawn) < 0.05
    assert max(drawn) > 2.95
    assert sum(drawn) / len(drawn) == pytest.approx(1.5, abs=0.1)
    assert full_jitter(Random(7), base=1.0, cap=3.0, doublings=0) == full_jitter(
        Random(7), base=1.0, cap=3.0, doublings=0
    )


def test_jitter_does_not_overflow() -> None:
    """However often it was doubled, the cap holds."""
    assert full_jitter(Longest(), base=1.0, cap=30.0, doublings=100_000) == 30.0


policies = st.builds(RetryPolicy, attempts=st.integers(1, 12), base=st.floats(0.0, 5.0), cap=st.floats(0.0, 5.0))


@quick
@given(
    policies,
    st.sampled_from(Effect),
    st.lists(st.tuples(st.sampled_from(Fate), st.floats(0.0, 1.0)), min_size=12, max_size=12),
    st.integers(1, 7),
    st.floats(0.0, 20.0) | st.just(math.inf),
    st.integers(0, 1000),
)
def test_any_call_keeps_its_limits(
    policy: RetryPolicy, effect: Effect, story: list[tuple[Fate, float]], peers: int, timeout: float, seed: int
) -> None:
    """A call that only meets failures ends: by its attempts, before its deadline, and after one open write."""
    random, now = Random(seed), 0.0
    for sends, (fate, took) in enumerate(story, 1):
        assert sends <= policy.attempts
        assert now <= timeout
        now += took
        untried = max(0, peers - sends)
        choice = decide(
            policy=policy,
            effect=effect,
            fate=fate,
            attempt=sends,
            untried=untried,
            remaining=timeout - now,
            random=random,
            peers=peers,
        )
        match choice:
            case RetryAfter(seconds):
                assert (effect, fate) != (Effect.ONCE, Fate.OPEN)
                assert 0.0 <= seconds <= policy.cap
                assert seconds == 0.0 or not untried
                now += seconds
            case GiveUp(Reason.OUTCOME_UNKNOWN):
                assert (effect, fate) == (Effect.ONCE, Fate.OPEN)
                return
            case GiveUp(Reason.ATTEMPTS):
                assert sends == policy.attempts
                return
            case GiveUp(Reason.DEADLINE):
                assert now + policy.cap >= timeout
                return
    pytest.fail("a call without an end")


@pytest.mark.parametrize(
    ("value", "attempts"), [(None, 10), (True, 10), (False, 1), (1, 1), (7, 7), (RetryPolicy(attempts=4), 4)]
)
def test_retry_in_each_form(value: Any, attempts: int) -> None:
    """Nothing, yes, no, a number, or a policy."""
    assert make_retry(value).attempts == attempts


def test_policy_is_taken_as_it_is() -> None:
    """Its other settings are kept."""
    policy = RetryPolicy(attempts=2, base=0.5, cap=9.0)
    assert make_retry(policy) is policy


@pytest.mark.parametrize(
    ("value", "error"), [(0, ConfigError), (-1, ConfigError), (1.5, TypeError), ("3", TypeError), ([], TypeError)]
)
def test_bad_retry_names_the_argument(value: Any, error: type[Exception]) -> None:
    """What is no number of attempts is refused before anything is sent."""
    with pytest.raises(error, match=r"^retry: "):
        make_retry(value)


@pytest.mark.parametrize(
    ("options", "error", "name"),
    [
        ({"attempts": 0}, ConfigError, "attempts"),
        ({"attempts": True}, TypeError, "attempts"),
        ({"attempts": 2.0}, TypeError, "attempts"),
        ({"base": -0.1}, ConfigError, "base"),
        ({"base": "1"}, TypeError, "base"),
        ({"cap": math.inf}, ConfigError, "cap"),
        ({"cap": math.nan}, ConfigError, "cap"),
        ({"cap": False}, TypeError, "cap"),
    ],
)
def test_bad_policy_names_the_argument(options: dict[str, Any], error: type[Exception], name: str) -> None:
    """A policy that cannot work is refused when it is made."""
    with pytest.raises(error, match=rf"^{name}: "):
        RetryPolicy(**options)

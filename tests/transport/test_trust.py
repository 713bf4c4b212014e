"""Until when a lease is believed in."""

from __future__ import annotations

import asyncio
import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetcd._trust import Flag, Trust, boot_clock


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_nothing_is_believed_before_a_confirmation() -> None:
    """Not even for a moment."""
    trust = Trust(Clock())
    assert not trust.held
    assert trust.remaining == 0.0


def test_trust_counts_from_the_sending() -> None:
    """Not from the answer, which may have taken long; and it ends with the last moment."""
    clock = Clock()
    trust = Trust(clock)
    sent = clock.now
    clock.now += 4
    trust.confirm(sent, 10)
    assert trust.remaining == 6.0
    found = []
    for later in (9.999, 10, 11):
        clock.now = sent + later
        found.append((trust.held, trust.remaining > 0))
    assert found == [(True, True), (False, False), (False, False)]


def test_answer_that_comes_too_late_confirms_nothing() -> None:
    """The lease may be another's by then."""
    clock = Clock()
    trust = Trust(clock)
    trust.confirm(clock.now - 10, 10)
    assert not trust.held


def test_clock_skew_is_taken_off() -> None:
    """Where servers' own clocks judge."""
    clock = Clock()
    trust = Trust(clock, clock_skew=1.0)
    trust.confirm(clock.now, 10)
    assert trust.remaining == 9.0


@given(st.permutations([(1000.0, 10.0), (1002.0, 10.0), (1004.0, 10.0), (1001.0, 5.0)]))
def test_confirmations_may_come_in_any_order(answers: list[tuple[float, float]]) -> None:
    """An older one takes nothing away."""
    trust = Trust(Clock())
    for sent, ttl in answers:
        trust.confirm(sent, ttl)
    assert trust.until == 1014.0


def test_trust_that_ran_out_does_not_come_back() -> None:
    """A renewal that was sent and confirmed after the last moment is none: the holder was told that it is over."""
    clock = Clock()
    trust = Trust(clock)
    trust.confirm(clock.now, 10)
    clock.now += 10
    trust.confirm(clock.now, 10)
    assert not trust.held
    assert trust.remaining == 0.0


def test_end_is_for_good() -> None:
    """A confirmation that was on its way when the server said that it is over changes nothing."""
    clock = Clock()
    trust = Trust(clock)
    trust.confirm(clock.now, 10)
    trust.end()
    assert not trust.held
    assert trust.until == -math.inf
    trust.confirm(clock.now, 10)
    assert not trust.held


def test_boot_clock_goes_on() -> None:
    """In seconds, with the time for which the machine slept where the system counts it."""
    first = boot_clock()
    time.sleep(0.01)
    assert 0.009 < boot_clock() - first < 5
    if hasattr(time, "CLOCK_BOOTTIME"):
        assert abs(time.clock_gettime(time.CLOCK_BOOTTIME) - boot_clock()) < 1


async def test_flag_is_true_for_good_once_set() -> None:
    """It wakes all who wait, and who waits later does not wait."""
    flag = Flag()
    assert not flag
    assert not flag.is_set()
    assert repr(flag) == "<Flag not set>"
    waiting = [asyncio.create_task(flag.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    flag.set()
    flag.set()
    async with asyncio.timeout(1):
        await asyncio.gather(*waiting, flag.wait())
    assert flag
    assert flag.is_set()
    assert repr(flag) == "<Flag set>"


async def test_cancelled_wait_leaves_nothing() -> None:
    """The flag can still be waited for."""
    flag = Flag()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(flag.wait(), 0.01)
    flag.set()
    await flag.wait()

"""A peer's health: what ejects it, for how long, and what brings it back."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from aetcd._routing.health import Health, HealthPolicy, State
from aetcd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

LONG = 1e9


class Chance(Random):
    """Draws what the test says, as a part of what is possible."""

    def __init__(self, part: float = 1.0) -> None:
        super().__init__(0)
        self.part = part

    def uniform(self, a: float, b: float) -> float:
        return a + self.part * (b - a)


def ejected(now: float = 0.0, **options: Any) -> Health:
    """A peer that was ejected at `now`, for the longest time possible."""
    health = Health(HealthPolicy(**options))
    health.failed(now, Chance(), "down", weight=health.policy.eject_after)
    return health


def probed(state: State) -> Health:
    """A peer under probe."""
    health = ejected() if state is State.PROBING else Health()
    health.suspect(0.0, "slow")
    health.probe_started(5.0)
    assert health.state is state
    return health


def suspected() -> Health:
    health = Health()
    health.suspect(0.0, "slow")
    return health


def probing() -> Health:
    return probed(State.PROBING)


def succeeded(health: Health) -> State:
    return health.succeeded(9.0)


def failed(health: Health) -> State:
    return health.failed(9.0, Chance(), "down")


def failed_hard(health: Health) -> State:
    return health.failed(9.0, Chance(), "silent", weight=3)


def suspect(health: Health) -> State:
    return health.suspect(9.0, "slow")


def probe_started(health: Health) -> State:
    return health.probe_started(9.0)


@pytest.mark.parametrize(
    ("make", "event", "after"),
    [
        (Health, succeeded, State.HEALTHY),
        (Health, failed, State.SUSPECT),
        (Health, failed_hard, State.EJECTED),
        (Health, suspect, State.SUSPECT),
        (Health, probe_started, State.HEALTHY),
        (suspected, succeeded, State.HEALTHY),
        (suspected, failed, State.SUSPECT),
        (suspected, failed_hard, State.EJECTED),
        (suspected, suspect, State.SUSPECT),
        (suspected, probe_started, State.SUSPECT),
        (ejected, succeeded, State.HEALTHY),
        (ejected, failed, State.EJECTED),
        (ejected, failed_hard, State.EJECTED),
        (ejected, suspect, State.EJECTED),
        (ejected, probe_started, State.PROBING),
        (probing, succeeded, State.HEALTHY),
        (probing, failed, State.EJECTED),
        (probing, failed_hard, State.EJECTED),
        (probing, suspect, State.PROBING),
        (probing, probe_started, State.PROBING),
    ],
)
def test_every_transition(make: Callable[[], Health], event: Callable[[Health], State], after: State) -> None:
    """Each state answers each event as the diagram says, gives the state before, and dates the change."""
    health = make()
    before, changed_at = health.state, health.last_change
    assert event(health) is before
    assert health.state is after
    assert health.usable is (after in {State.HEALTHY, State.SUSPECT})
    # A failed probe leaves PROBING and comes from EJECTED: that is a change too.
    assert health.last_change == (changed_at if before is after else 9.0)


def test_failures_in_a_row_eject() -> None:
    """The third failure in a row ejects, and one success between starts the count again."""
    health = Health()
    for _ in range(2):
        health.failed(1.0, Chance(), "down")
    health.succeeded(1.0)
    for _ in range(2):
        health.failed(1.0, Chance(), "down")
    assert health.usable
    assert health.failed(1.0, Chance(), "down") is State.SUSPECT
    assert health.state is State.EJECTED


def test_ejection_grows_up_to_the_cap() -> None:
    """Each failed probe at most doubles the time, up to the cap; a success starts from the beginning."""
    health = ejected(base=1.0, cap=5.0)
    lengths = [health.until]
    for _ in range(4):
        now = health.until
        health.probe_started(now)
        health.failed(now, Chance(), "down")
        lengths.append(health.until - now)
    assert lengths == [1.0, 2.0, 4.0, 5.0, 5.0]
    health.succeeded(100.0)
    health.failed(100.0, Chance(), "down", weight=3)
    assert health.until == 101.0


def test_ejection_is_drawn_from_nothing_up() -> None:
    """Full jitter: peers that failed together are not probed together."""
    for part in (0.0, 0.25, 1.0):
        health = Health(HealthPolicy(base=2.0))
        health.failed(10.0, Chance(part), "down", weight=3)
        assert health.until == 10.0 + 2.0 * part


def test_down_for_days() -> None:
    """Thousands of failed probes neither overflow nor exceed the cap."""
    health = ejected()
    for _ in range(3000):
        now = health.until
        health.probe_started(now)
        health.failed(now, Chance(), "down")
    assert health.until - now == 30.0


def test_one_outage_is_one_ejection() -> None:
    """Requests under way when the peer went down fail together, and count as one ejection."""
    health = ejected()
    until = health.until
    for _ in range(100):
        health.failed(0.1, Chance(), "down too")
    assert (health.until, health.ejections) == (until, 1)
    assert health.last_error == "down too"


def test_late_answer_readmits() -> None:
    """An answer re-admits an ejected peer, whether or not a probe asked for it."""
    health = ejected()
    assert health.succeeded(0.1) is State.EJECTED
    assert health.usable
    assert (health.failures, health.ejections) == (0, 0)


def test_probe_waits_for_the_end_of_the_ejection() -> None:
    """Not a moment sooner, and from that moment on."""
    health = ejected()
    assert health.until == 1.0
    assert not health.probe_due(0.999)
    assert health.probe_due(1.0)
    assert health.probe_due(LONG)


@pytest.mark.parametrize("state", [State.SUSPECT, State.PROBING])
@pytest.mark.parametrize("result", [succeeded, failed])
def test_one_probe_at_a_time(state: State, result: Callable[[Health], State]) -> None:
    """No second probe is due before the first one's result; after a failure the next one is."""
    health = probed(state)
    assert not health.probe_due(LONG)
    result(health)
    assert health.probe_due(LONG) is (result is failed)


def test_failing_probes_of_a_suspect_eject_it() -> None:
    """A suspect peer without traffic is ejected by its probes alone."""
    health = suspected()
    for state in (State.SUSPECT, State.SUSPECT, State.EJECTED):
        assert health.probe_due(1.0)
        health.probe_started(1.0)
        health.failed(1.0, Chance(), "down")
        assert health.state is state


def test_healthy_peer_is_not_probed() -> None:
    """There is nothing to find out, and a probe reported all the same does not hide the next one."""
    health = Health()
    health.probe_started(0.0)
    assert not health.probe_due(LONG)
    health.suspect(0.0, "slow")
    assert health.probe_due(0.0)


def test_last_error_stays_for_the_reader() -> None:
    """What failed last can be read after the recovery; a suspicion does not hide a failure's text."""
    health = suspected()
    assert health.last_error == "slow"
    health.failed(1.0, Chance(), "refused")
    health.suspect(1.0, "slow")
    health.succeeded(2.0)
    assert health.last_error == "refused"


@pytest.mark.parametrize(
    ("options", "error", "name"),
    [
        ({"eject_after": 0}, ConfigError, "eject_after"),
        ({"eject_after": True}, TypeError, "eject_after"),
        ({"eject_after": 1.5}, TypeError, "eject_after"),
        ({"base": -1.0}, ConfigError, "base"),
        ({"cap": float("inf")}, ConfigError, "cap"),
        ({"cap": float("nan")}, ConfigError, "cap"),
        ({"cap": "30"}, TypeError, "cap"),
        ({"base": True}, TypeError, "base"),
    ],
)
def test_bad_policy_names_the_argument(options: dict[str, Any], error: type[Exception], name: str) -> None:
    """A policy that cannot work is refused when it is made."""
    with pytest.raises(error, match=rf"^{name}: "):
        HealthPolicy(**options)


class Life(RuleBasedStateMachine):
    """Any sequence of results, suspicions and probes, beside what may be promised of it."""

    @initialize(
        eject_after=st.integers(1, 5),
        base=st.floats(0.0, 10.0),
        cap=st.floats(0.0, 60.0),
        seed=st.integers(0, 1000),
    )
    def begin(self, eject_after: int, base: float, cap: float, seed: int) -> None:
        self.policy = HealthPolicy(eject_after=eject_after, base=base, cap=cap)
        self.health = Health(self.policy)
        self.random = Random(seed)
        self.now = 0.0
        self.failures = 0
        self.probing = False
        self.ejections = 0

    def expect_change(self, before: State, answer: State, changed_at: float) -> None:
        assert answer is before
        if self.health.state is before:
            assert self.health.last_change == changed_at
        else:
            assert self.health.last_change == self.now

    @rule(seconds=st.floats(0.0, 40.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def succeed(self) -> None:
        before, changed_at = self.health.state, self.health.last_change
        self.expect_change(before, self.health.succeeded(self.now), changed_at)
        self.failures = self.ejections = 0
        self.probing = False
        assert self.health.state is State.HEALTHY

    @rule(weight=st.integers(1, 3))
    def fail(self, weight: int) -> None:
        before, changed_at, until = self.health.state, self.health.last_change, self.health.until
        self.expect_change(before, self.health.failed(self.now, self.random, "down", weight), changed_at)
        self.failures += weight
        self.probing = False
        if self.health.state is State.EJECTED and before is not State.EJECTED:
            length = self.health.until - self.now
            assert length <= self.policy.cap + 1e-6
            assert length <= self.policy.base * 2**self.ejections + 1e-6
            self.ejections += 1
        else:
            assert self.health.until == until

    @rule()
    def slow(self) -> None:
        before, changed_at = self.health.state, self.health.last_change
        self.expect_change(before, self.health.suspect(self.now, "slow"), changed_at)
        assert self.health.state is not State.HEALTHY

    @precondition(lambda self: self.health.probe_due(self.now))
    @rule()
    def probe(self) -> None:
        before, changed_at = self.health.state, self.health.last_change
        self.expect_change(before, self.health.probe_started(self.now), changed_at)
        self.probing = True

    @precondition(lambda self: self.probing)
    @rule(well=st.booleans())
    def probe_ends(self, well: bool) -> None:
        if well:
            self.succeed()
        else:
            self.fail(1)

    @invariant()
    def usable_until_failures_in_a_row_reach_the_limit(self) -> None:
        """And from then on never before a success."""
        assert self.health.usable is (self.failures < self.policy.eject_after)

    @invariant()
    def healthy_is_without_failures(self) -> None:
        assert self.health.failures == self.failures
        if self.health.state is State.HEALTHY:
            assert (self.failures, self.ejections) == (0, 0)

    @invariant()
    def one_probe_at_a_time(self) -> None:
        if self.probing:
            assert not self.health.probe_due(self.now)
            assert not self.health.probe_due(self.now + LONG)

    @invariant()
    def nobody_is_forgotten(self) -> None:
        """A peer that is not well is due for a probe within the longest ejection, unless one is under way."""
        if not self.probing:
            unwell = self.health.state is not State.HEALTHY
            assert self.health.probe_due(self.now + self.policy.cap + 1e-6) is unwell

    @invariant()
    def only_a_probe_makes_it_probing(self) -> None:
        if self.health.state is State.PROBING:
            assert self.probing


Life.TestCase.settings = settings(max_examples=100, stateful_step_count=20, deadline=None, derandomize=True)
test_life = Life.TestCase

"""The health of one peer. Every change of its state is in this file."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from attrs import define, field, frozen

from aetcd._routing.retry import check_count, check_seconds, full_jitter

if TYPE_CHECKING:
    from random import Random

__all__ = ["Health", "HealthPolicy", "State"]


class State(enum.Enum):
    """How far a peer is trusted.

    HEALTHY -- failure or suspicion --> SUSPECT -- failures in a row --> EJECTED -- its time over --> PROBING
                                                                            <----- probe failed -----
    A success leads from each of them to HEALTHY.
    """

    HEALTHY = "healthy"
    SUSPECT = "suspect"
    """It failed of late, or is slow: it gets requests, and a probe."""
    EJECTED = "ejected"
    """It failed too often: it gets no requests while others can take them."""
    PROBING = "probing"
    """Its ejection is over, and one probe is under way."""


@frozen(kw_only=True)
class HealthPolicy:
    """When a peer is ejected, and for how long.

    eject_after: Failures in a row.
    base: Longest first ejection, in seconds. It doubles with each failed probe.
    cap: What it never grows beyond, in seconds.
    """

    eject_after: int = field(default=3, validator=check_count)
    base: float = field(default=1.0, validator=check_seconds)
    cap: float = field(default=30.0, validator=check_seconds)


@define
class Health:
    """What is known of a peer. Each method that may change its state returns the state before.

    A result is a result, whether of a request or of a probe: `succeeded` and `failed` take both. Times are seconds of a
    monotonic clock.

    failures: In a row, each with its weight.
    ejections: In a row: they lengthen the next one.
    until: When the last ejection ends. It means something while the peer is ejected.
    last_error: What failed last. It stays when the peer recovers.
    last_change: When the state changed last.
    shunned: Until when no answer re-admits it.
    """

    policy: HealthPolicy = field(factory=HealthPolicy)
    state: State = State.HEALTHY
    failures: int = 0
    ejections: int = 0
    until: float = 0.0
    last_error: str | None = None
    last_change: float = 0.0
    shunned: float = 0.0
    _probed: bool = field(default=False, init=False)

    @property
    def usable(self) -> bool:
        """Whether it takes requests while other peers do too."""
        return self.state is State.HEALTHY or self.state is State.SUSPECT

    def succeeded(self, now: float) -> State:
        """An answer came. It re-admits an ejected peer also where no probe asked for it: an answer is an answer."""
        before = self.state
        if before is not State.HEALTHY and now >= self.shunned:
            self.failures = self.ejections = 0
            self._probed = False
            self._enter(State.HEALTHY, now)
        return before

    def failed(self, now: float, random: Random, error: str, weight: int = 1) -> State:
        """No answer came, or one that says the peer cannot serve.

        weight: As how many failures it counts: a silent peer costs more than one that refuses.
        """
        before = self.state
        self._probed = False
        self.failures += weight
        self.last_error = error
        if before is State.EJECTED:
            # Requests that were under way when it was ejected fail together: they are one outage, not many ejections.
            return before
        if before is State.PROBING or self.failures >= self.policy.eject_after:
            self._eject(now, random)
        elif before is State.HEALTHY:
            self._enter(State.SUSPECT, now)
        return before

    def suspect(self, now: float, error: str) -> State:
        """Something points to trouble before a failure does, such as a request that waits too long."""
        before = self.state
        if before is State.HEALTHY:
            self.last_error = error
            self._enter(State.SUSPECT, now)
        return before

    def shun(self, now: float, seconds: float, error: str) -> State:
        """It answers, and must not be believed: eject it for so long, whatever it answers meanwhile."""
        before = self.state
        self.shunned = self.until = now + seconds
        self.last_error = error
        if before is not State.EJECTED:
            self._probed = False
            self._enter(State.EJECTED, now)
        return before

    def probe_due(self, now: float) -> bool:
        """Whether a probe would tell something new: never while one is under way."""
        if self._probed:
            return False
        return self.state is State.SUSPECT or (self.state is State.EJECTED and now >= self.until)

    def probe_started(self, now: float) -> State:
        """A probe is under way. No other is due until a result comes, so a cancelled probe must be reported as failed.

        A suspect peer stays suspect meanwhile, and goes on taking requests.
        """
        before = self.state
        if before is not State.HEALTHY:
            self._probed = True
        if before is State.EJECTED:
            self._enter(State.PROBING, now)
        return before

    def _eject(self, now: float, random: Random) -> None:
        # Without a floor: a short ejection costs one early probe, and none of the callers' requests.
        self.until = now + full_jitter(random, base=self.policy.base, cap=self.policy.cap, doublings=self.ejections)
        self.ejections += 1
        self._enter(State.EJECTED, now)

    def _enter(self, state: State, now: float) -> None:
        self.state = state
        self.last_change = now

"""Which peer gets the next request. A new policy is one class with `pick`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from aetcd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from aetcd._routing.peer import Peer

__all__ = ["Candidate", "LeastPending", "Policy", "PowerOfTwo", "RoundRobin", "Sticky", "make_policy"]


class Candidate(Protocol):
    """A peer that may be picked.

    pending: Requests that it has not answered yet.
    latency: Moving average of its answers' time in seconds; 0.0 while unknown.
    """

    @property
    def peer(self) -> Peer: ...
    @property
    def pending(self) -> int: ...
    @property
    def latency(self) -> float: ...


C = TypeVar("C", bound=Candidate)


class Policy(Protocol):
    """Picks one of several peers."""

    def pick(self, candidates: Sequence[C]) -> C:
        """One of these. There is at least one, and they may be others at each call."""
        ...


class _Turns:
    """When each peer was picked last, counted in picks."""

    # Peers come and go with discovery; nobody has so many at once.
    _LIMIT = 1024

    def __init__(self) -> None:
        self._last: dict[Peer, int] = {}
        self.count = 0
        self.last = self._last.get

    def take(self, peer: Peer) -> None:
        """It is this peer's turn."""
        if len(self._last) >= self._LIMIT:
            self._last.clear()
        self.count += 1
        self._last[peer] = self.count


class RoundRobin:
    """Each in its turn: the one that was picked the longest time ago.

    A position counted modulo the candidates' number would favour some of them whenever one is left out, as it is by a
    failover or an ejection.
    """

    def __init__(self) -> None:
        self._turns = _Turns()

    def pick(self, candidates: Sequence[C]) -> C:
        """The one whose last turn is the longest ago; of new ones the first."""
        if len(candidates) == 1:
            return candidates[0]
        last, oldest, chosen = self._turns.last, self._turns.count + 1, candidates[0]
        for candidate in candidates:
            turn = last(candidate.peer, 0)
            if turn < oldest:
                chosen, oldest = candidate, turn
        self._turns.take(chosen.peer)
        return chosen


class LeastPending:
    """The one with the fewest requests in flight; of several such, each in its turn."""

    def __init__(self) -> None:
        self._turns = _Turns()

    def pick(self, candidates: Sequence[C]) -> C:
        """One with the fewest requests in flight."""
        last, oldest, chosen = self._turns.last, self._turns.count + 1, candidates[0]
        fewest = chosen.pending
        for candidate in candidates:
            pending = candidate.pending
            if pending > fewest:
                continue
            turn = last(candidate.peer, 0)
            if pending < fewest or turn < oldest:
                chosen, fewest, oldest = candidate, pending, turn
        self._turns.take(chosen.peer)
        return chosen


class PowerOfTwo:
    """The better one of two picked by chance: near the best, without the herd that runs to one best peer.

    Better is the lower latency times requests in flight, this one included. An unknown latency is the best of all, so
    that it gets known.
    """

    def __init__(self, random: Random) -> None:
        self._random = random.random

    def pick(self, candidates: Sequence[C]) -> C:
        """The better one of two."""
        count = len(candidates)
        if count == 1:
            return candidates[0]
        first = int(self._random() * count)
        second = int(self._random() * (count - 1))
        # The second is drawn from those that are left, without building that list.
        a, b = candidates[first], candidates[second + (second >= first)]
        cost_a, cost_b = (a.pending + 1) * a.latency, (b.pending + 1) * b.latency
        if cost_a == cost_b:
            return a if a.pending <= b.pending else b
        return a if cost_a < cost_b else b


class Sticky:
    """The same one as long as it is a candidate; then the one behind it, for good."""

    def __init__(self) -> None:
        self._peer: Peer | None = None
        self._position = 0

    def pick(self, candidates: Sequence[C]) -> C:
        """The one of last time, or the one that stands in its place."""
        for position, candidate in enumerate(candidates):
            if candidate.peer == self._peer:
                self._position = position
                return candidate
        # Where one is left out, those behind it move up: the next one stands at its position.
        self._position %= len(candidates)
        chosen = candidates[self._position]
        self._peer = chosen.peer
        return chosen


_POLICIES: dict[str, Callable[[Random], Policy]] = {
    "round_robin": lambda _: RoundRobin(),
    "least_pending": lambda _: LeastPending(),
    "power_of_two": PowerOfTwo,
    "sticky": lambda _: Sticky(),
}


def make_policy(name_or_policy: str | Policy, random: Random) -> Policy:
    """Read a client's `balance=`: a name, or an object with `pick`, which is taken as it is.

    Raises ConfigError for an unknown name, and TypeError for what cannot pick.
    """
    if isinstance(name_or_policy, str):
        make = _POLICIES.get(name_or_policy)
        if make is None:
            raise ConfigError(f"balance: {name_or_policy!r} is unknown: {', '.join(_POLICIES)} are known")
        return make(random)
    # A class has a callable `pick` too, and would fail at the first request only.
    if isinstance(name_or_policy, type) or not callable(getattr(name_or_policy, "pick", None)):
        raise TypeError(f"balance: a name or an object with pick() is needed, not {name_or_policy!r}")
    return name_or_policy

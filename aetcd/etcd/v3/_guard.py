"""What the answers of a cluster's members must not contradict: a pure judge of their headers."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from typing import TypeAlias

from attrs import define, field

__all__ = ["Doubt", "Guard", "Seen"]

# Every guarded answer begins with its header, in this order; reading all of it again would cost more than the check.
_HEADER = re.compile(
    rb'\{"header":\s*\{"cluster_id":\s*"(\d+)",\s*"member_id":\s*"\d+",\s*"revision":\s*"(\d+)",\s*"raft_term":\s*"(\d+)"'
)

GRACE = 1.0  # seconds by which a member may be behind what was seen, as followers always are a little

Seen: TypeAlias = tuple[int, int, int, int]
"""A cluster's ID, the newest revision and raft term that it was seen at, and the number of resets before."""


class Doubt(enum.Enum):
    """What is wrong with an answer."""

    LATE = "older than what was seen before it was asked for"
    """As a follower's own copy may be, for a moment."""
    BEHIND = "older than what was seen more than a second before"
    """A member that is cut off, or a cluster that was restored from a backup."""
    FOREIGN = "of another cluster"


@define(eq=False)
class Guard:
    """Compares answers with what was seen before they were asked for, since answers overtake each other.

    seen: Take it before a request is sent, and give it back with the answer.
    """

    clock: Callable[[], float]
    seen: Seen = field(default=(0, 0, 0, 0), init=False)
    _heads: dict[str, bytes] = field(factory=dict, init=False)
    _old: int = field(default=0, init=False)
    _older: int = field(default=0, init=False)
    _turned: float = field(default=0.0, init=False)

    def look(self, peer: str, body: bytes, before: Seen) -> Doubt | None:
        """What speaks against an answer; None for one that is taken as it is, and remembered."""
        # Without a write between, a member's header is the same each time.
        head = self._heads.get(peer)
        if head is not None and body.startswith(head):
            return None
        found = _HEADER.match(body)
        known, newest, last, resets = self.seen
        if found is None or before[3] != resets:
            return None  # nothing to be judged, or asked in another age
        cluster, revision, term = int(found[1]), int(found[2]), int(found[3])
        if known and cluster != known:
            return Doubt.FOREIGN
        if revision < before[1] or term < before[2]:
            self._turn()
            return Doubt.BEHIND if revision < self._older or term < before[2] else Doubt.LATE
        if revision > newest or term > last:
            newest, last = max(revision, newest), max(term, last)
            self.seen = (cluster, newest, last, resets)
            self._heads.clear()
            self._turn()
        if revision == newest and term == last:
            self._heads[peer] = found[0]
        return None

    def reset(self, body: bytes) -> bool:
        """Begin anew from a linearizable answer. False where it has no header to begin from."""
        found = _HEADER.match(body)
        if found is None:
            return False
        cluster, revision, term = int(found[1]), int(found[2]), int(found[3])
        self.seen = (cluster, revision, term, self.resets + 1)
        self._heads.clear()
        self._old = self._older = 0
        return True

    @property
    def resets(self) -> int:
        """How often the cluster was found to be another one, or set back."""
        return self.seen[3]

    def _turn(self) -> None:
        """Remember from time to time what was seen, to know later what is old."""
        now = self.clock()
        if now - self._turned >= GRACE:
            self._older, self._old, self._turned = self._old, self.seen[1], now

"""A judge of what contenders recorded: whether a lock was one, a semaphore kept its limit, and the order was fair.

What is recorded is what they believed: `trusted` is said of a moment at which a contender was sure of its hold, by a
clock that all processes of a machine share. A belief lasts at least from the first such moment to the last, so that
a judgement against it is never the fault of the recording.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Literal

from attrs import define, frozen

__all__ = ["Event", "Fault", "Hold", "Kind", "Rule", "What", "holds_of", "judge"]

Kind = Literal["lock", "lead", "read", "write", "permit"]
What = Literal["wanted", "acquired", "trusted", "released", "lost", "failed", "killed", "found"]
Rule = Literal["together", "mixed", "limit", "tokens", "order", "starved", "orphan", "revived"]


@frozen(kw_only=True)
class Event:
    """One moment of a history.

    at: Seconds, by a clock that all who record share.
    what: `wanted`, and how that ends: `released`, `lost` (told so), `failed` (had nothing, and was told so), or
        `killed`, which is said of a process and ends all that it wanted. Between them `acquired`, with the token, and
        `trusted`. `found`: an entry stood in the store when all was over.
    who: One attempt of one contender, which no other shares.
    limit: Of a permit: how many may be held.
    token: The fencing token; of what was found, its creation revision.
    """

    at: float
    what: What
    process: str = ""
    name: str = ""
    who: str = ""
    kind: Kind = "lock"
    limit: int = 1
    token: int = 0


@frozen
class Fault:
    """A rule that was broken, and by whom.

    `together`: two held a lock, or led. `mixed`: a writer was not alone. `limit`: too many held a semaphore. `tokens`:
    one was given twice, or a later holder had a smaller one. `order`: one held before another who had come earlier and
    stood in the way. `starved`: waited for too long, or for ever. `orphan`: an entry outlived its owner by more than
    the TTL. `revived`: one who had given up, or was told of the loss, trusted a hold again.
    """

    rule: Rule
    text: str


@define(kw_only=True)
class Hold:
    """One attempt, as it was recorded. `since` and `until` are the first and the last moment of its trust."""

    who: str
    name: str
    process: str
    kind: Kind
    limit: int
    wanted: float
    since: float = math.inf
    until: float = -math.inf
    token: int = 0
    acquired: float = math.inf
    over: float = math.inf
    lost: bool = False

    @property
    def held(self) -> bool:
        """Whether it was trusted at some moment."""
        return self.since <= self.until


def holds_of(history: Iterable[Event]) -> list[Hold]:
    """The attempts of a history, in the order in which they were begun."""
    return list(_Reading(history).holds.values())


def judge(history: Iterable[Event], *, ttl: float, patience: float = math.inf, notice: float = 0.0) -> list[Fault]:
    """What was wrong: nothing, if all is well.

    ttl: Seconds after the end of its owner for which an entry may still be found.
    patience: Seconds for which a contender may wait.
    notice: Seconds that a holder may take to hear that it lost its hold, where that was taken away by hand: nobody can
        know before. A hold that ended by the clock, or by its owner's will, has no such time.
    """
    reading = _Reading(history)
    by_name: dict[str, list[Hold]] = defaultdict(list)
    for hold in reading.holds.values():
        hold.until = max(min(hold.since, hold.until), hold.until - notice) if hold.lost else hold.until
        by_name[hold.name].append(hold)
    faults = list(reading.faults)
    for holds in by_name.values():
        held = sorted((hold for hold in holds if hold.held), key=lambda hold: hold.since)
        faults += [*_together(held), *_tokens(held), *_order(held), *_starved(holds, patience)]
    for event in reading.found:
        faults += _orphans(event, by_name[event.name], ttl)
    return faults


class _Reading:
    """A history, read once from its first moment to its last."""

    def __init__(self, history: Iterable[Event]) -> None:
        self.holds: dict[str, Hold] = {}
        self.found: list[Event] = []
        self.faults: list[Fault] = []
        # A process's own events stay in the order in which it recorded them.
        for event in sorted(history, key=lambda event: event.at):
            self._read(event)

    def _read(self, event: Event) -> None:
        if event.what == "found":
            self.found.append(event)
        elif event.what == "killed":
            for hold in self.holds.values():
                if hold.process == event.process:
                    hold.over = min(hold.over, event.at)
        elif event.what == "wanted":
            self.holds[event.who] = Hold(
                who=event.who,
                name=event.name,
                process=event.process,
                kind=event.kind,
                limit=event.limit,
                wanted=event.at,
            )
        else:
            self._go_on(self.holds[event.who], event)

    def _go_on(self, hold: Hold, event: Event) -> None:
        if event.what == "acquired":
            hold.token, hold.acquired = event.token, event.at
        elif event.what == "trusted":
            if hold.over < event.at:
                self.faults.append(Fault("revived", f"{hold.who} trusted {hold.name} at {event.at}, after its end"))
            hold.since, hold.until = min(hold.since, event.at), max(hold.until, event.at)
        else:
            hold.over = min(hold.over, event.at)
            hold.lost = event.what == "lost"


# Never together


def _together(held: Sequence[Hold]) -> Iterator[Fault]:
    inside: list[Hold] = []
    for hold in held:
        inside = [*(other for other in inside if other.until >= hold.since), hold]
        rule = _broken(inside)
        if rule:
            names = ", ".join(f"{other.who} ({other.kind}, {other.token})" for other in inside)
            yield Fault(rule, f"{names} held {hold.name} at {hold.since}")


def _broken(inside: Sequence[Hold]) -> Rule | None:
    kinds = {hold.kind for hold in inside}
    if kinds == {"permit"}:
        return "limit" if len(inside) > min(hold.limit for hold in inside) else None
    if kinds <= {"read", "write"}:
        return "mixed" if "write" in kinds and len(inside) > 1 else None
    return "together" if len(inside) > 1 else None


# In order


def _apart(one: Hold, other: Hold) -> bool:
    """Whether the two may never hold at the same time."""
    if one.kind == other.kind == "permit":
        return min(one.limit, other.limit) == 1
    return not one.kind == other.kind == "read"


def _tokens(held: Sequence[Hold]) -> Iterator[Fault]:
    seen: dict[int, Hold] = {}
    for hold in held:
        if hold.token in seen:
            yield Fault("tokens", f"{hold.who} and {seen[hold.token].who} both had the token {hold.token}")
        seen[hold.token] = hold
    for hold, later in _overtaken(held):
        if hold.until < later.since and _apart(hold, later):
            yield Fault("tokens", f"{later.who} had the token {later.token}, after {hold.token} of {hold.who}")


def _order(held: Sequence[Hold]) -> Iterator[Fault]:
    before: dict[str, list[Hold]] = defaultdict(list)
    for hold, later in _overtaken(held):
        before[hold.who].append(later)
    for hold in held:
        # They came before it, and held after it: so they stood in the queue at that moment.
        waiting = before[hold.who]
        inside = [other for other in held if other.since <= hold.since <= other.until] if waiting else []
        ahead = [*waiting, *(other for other in inside if other.token < hold.token)]
        blocked = (
            len(ahead) >= min(other.limit for other in (*ahead, hold))
            if hold.kind == "permit" and ahead
            else any(_apart(hold, other) for other in waiting)
        )
        if waiting and blocked:
            names = ", ".join(f"{other.who} ({other.token})" for other in waiting)
            yield Fault("order", f"{hold.who} ({hold.token}) held {hold.name} before {names}")


def _overtaken(held: Sequence[Hold]) -> Iterator[tuple[Hold, Hold]]:
    """Each hold with each one that began after it and has a smaller token."""
    # The smallest token from a place on, so that a history in order is gone through once.
    least = list(accumulate((hold.token for hold in reversed(held)), min))[::-1]
    for place, hold in enumerate(held, start=1):
        end = bisect_right(least, hold.token - 1, lo=place)
        yield from ((hold, other) for other in held[place:end] if other.token < hold.token)


# To an end


def _starved(holds: Iterable[Hold], patience: float) -> Iterator[Fault]:
    for hold in holds:
        until = min(hold.acquired, hold.over)
        if until == math.inf:
            yield Fault("starved", f"{hold.who} wanted {hold.name} at {hold.wanted}, and nothing became of it")
        elif until - hold.wanted > patience:
            yield Fault("starved", f"{hold.who} waited for {hold.name} for {until - hold.wanted:.1f} s")


def _orphans(event: Event, holds: Sequence[Hold], ttl: float) -> Iterator[Fault]:
    # Of one that never acquired, the token is not known: it may be anybody's who was about in the TTL.
    owners = [hold for hold in holds if hold.token == event.token] or [hold for hold in holds if not hold.token]
    if all(hold.over < event.at - ttl for hold in owners):
        yield Fault("orphan", f"the entry {event.token} of {event.name} stood at {event.at}, {ttl} s after its owner")

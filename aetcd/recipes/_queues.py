"""One watch on a queue, for all of a client who stand in it or look at it.

A watch for each predecessor would begin at a past revision, and etcd v3 serves such ones at intervals of 100 ms only:
that would set the pace of hand-overs. This one stands already when somebody leaves.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Collection
from itertools import islice

import anyio
from attrs import define, field, frozen

from aetcd.errors import PASSING, AetcdError, ClientClosed, HistoryLost
from aetcd.recipes._store import Entry, KeyChange, Queue, Store, Work

__all__ = ["Line", "Place", "Rule", "is_crowded", "line_of", "pause"]

Rule = Callable[[Collection[Entry]], int]
"""How many of the first in a queue own what it is about. They are always its first, so that it is fair."""

PROMISE = 0.1  # seconds that one whose turn has come waits for the word of the one before, in place of reading itself
LINGER = 1.0  # seconds for which a watch outlives its last user, who may come back
LONGEST_PAUSE = 1.0  # seconds


async def pause(failures: int) -> int:
    """Wait for a moment that grows with the failures in a row; how many they are then."""
    await asyncio.sleep(random.uniform(0, min(LONGEST_PAUSE, 0.05 * 2**failures)))
    return min(failures + 1, 10)


def _nobody() -> None:
    """Who has left is told nothing."""


@frozen(kw_only=True)
class _Standing:
    """An entry that a change has told of."""

    key: str
    raw: bytes
    created_revision: int
    modified_revision: int


@define(eq=False)
class Place:
    """An entry of this client's, and what the line has told of it.

    noticed: Called when something has changed. It must not wait.
    admitted: Its turn has come, as far as the line knows: what was before it is gone.
    confirmed: It was seen to stand after those before it were gone.
    promised: The one before it is leaving, and will confirm it: set when it has, or has failed to, or takes too long.
    gone: It stands no longer.
    error: Why nothing more will be told, or None.
    """

    entry: Entry
    rule: Rule
    noticed: Callable[[], None]
    admitted: bool = field(default=False, init=False)
    confirmed: bool = field(default=False, init=False)
    promised: asyncio.Event | None = field(default=None, init=False)
    gone: bool = field(default=False, init=False)
    error: Exception | None = field(default=None, init=False)
    _late: asyncio.TimerHandle | None = field(default=None, init=False)

    def promise(self) -> None:
        """The one before it is leaving."""
        self.promised = asyncio.Event()
        self._late = asyncio.get_running_loop().call_later(PROMISE, self.promised.set)

    def settle(self) -> None:
        """It has left, or not. Whether it confirmed is said before."""
        if self._late is not None and self.promised is not None:
            self._late.cancel()
            self._late = None
            self.promised.set()

    def is_still(self, standing: Entry | None) -> bool:
        """Whether what stands under its key is it."""
        return standing is not None and standing.created_revision == self.entry.created_revision


@define(eq=False)
class Line:
    """A queue as it was at a revision, not long ago; followed for as long as somebody uses it.

    It is no linearizable read: that a place was admitted means that those before it are gone for certain, since the
    order is that of creation, but not that the place itself still stands.
    """

    store: Store
    name: str
    revision: int = field(default=-1, init=False)
    error: Exception | None = field(default=None, init=False)
    _read_at: int = field(default=-1, init=False)
    _entries: dict[str, Entry] = field(factory=dict, init=False)
    _places: dict[str, Place] = field(factory=dict, init=False)
    _rules: Counter[Rule] = field(factory=Counter, init=False)
    _onlookers: set[asyncio.Event] = field(factory=set, init=False)
    _job: Work | None = field(default=None, init=False)
    _left_at: float = field(default=0.0, init=False)

    @property
    def first(self) -> Entry | None:
        """Who is in front."""
        return next(iter(self._entries.values()), None)

    @property
    def length(self) -> int:
        """How many stand in it."""
        return len(self._entries)

    # Its users

    def take(self, place: Place) -> None:
        """Tell a place of its turn and its end, from now on; perhaps at once."""
        self._places[place.entry.key] = place
        self._rules[place.rule] += 1
        self._begin()
        if self.revision >= 0:
            self._look(place)
            self._admit()

    def leave(self, place: Place) -> None:
        """Tell it no more. A second time changes nothing."""
        if self._places.get(place.entry.key) is place:
            del self._places[place.entry.key]
            place.noticed = _nobody
            self._rules[place.rule] -= 1
            if not self._rules[place.rule]:
                del self._rules[place.rule]
            self._left_at = asyncio.get_running_loop().time()

    def look_on(self, changed: asyncio.Event) -> None:
        """Set an event at each change, and when the line has failed."""
        self._onlookers.add(changed)
        self._begin()

    def look_away(self, changed: asyncio.Event) -> None:
        """Set it no more."""
        self._onlookers.discard(changed)
        self._left_at = asyncio.get_running_loop().time()

    def heir(self, place: Place) -> Place | None:
        """Whose turn it will be for certain when a place is gone, if it is one of this client's.

        All that were created before the second are known, and the first of a queue owns by every rule.
        """
        first, second = (*islice(self._entries.values(), 2), None, None)[:2]
        heir = None if second is None else self._places.get(second.key)
        if first is None or first.key != place.entry.key or not place.is_still(first):
            return None
        return None if heir is None or heir.admitted or not heir.is_still(second) else heir

    def removed(self, place: Place, heir: Place | None) -> None:
        """A place is gone, by the answer of the server, and its heir was seen to stand after. The watch tells later."""
        if heir is not None:
            heir.confirmed = True
        if place.is_still(self._entries.get(place.entry.key)):
            del self._entries[place.entry.key]
            self._admit()

    # What is known

    def _know(self, queue: Queue) -> None:
        """All of it, by a read."""
        self._entries = {entry.key: entry for entry in queue.entries}
        self.revision = self._read_at = queue.revision
        for place in tuple(self._places.values()):
            self._look(place)
        self._tell()

    def _apply(self, change: KeyChange) -> bool:
        """One change. False where it tells too little, and the queue has to be read again."""
        if change.revision <= self._read_at:
            return True  # the read has shown it; not so a second change of the last one's revision
        if change.key.rpartition("/")[0] != self.name:
            # Of another queue, whose name begins with this one's; or a whole directory is gone.
            return change.kind == "put" or len(change.key) > len(self.name)
        known = self._entries.get(change.key)
        if change.kind != "put":
            self._entries.pop(change.key, None)
        elif known is not None and known.created_revision == change.created_revision:
            self._entries[change.key] = self._standing(change)
        elif change.created_revision == change.revision:
            self._entries.pop(change.key, None)  # or the new one would stand in the old one's place
            self._entries[change.key] = self._standing(change)
        else:
            return False
        self.revision = change.revision
        place = self._places.get(change.key)
        if place is not None:
            self._look(place)
        self._tell()
        return True

    def _standing(self, change: KeyChange) -> Entry:
        return _Standing(
            key=change.key,
            raw=change.raw or b"",
            created_revision=change.created_revision,
            modified_revision=change.revision,
        )

    def _look(self, place: Place) -> None:
        """See whether a place is gone. One that was created after what is known will yet be told of."""
        if self.revision >= place.entry.created_revision and not place.is_still(self._entries.get(place.entry.key)):
            place.gone = True
            place.noticed()

    def _admit(self) -> None:
        for rule in self._rules:
            for entry in islice(self._entries.values(), rule(self._entries.values())):
                place = self._places.get(entry.key)
                if place is not None and place.rule is rule and not place.admitted and place.is_still(entry):
                    place.admitted = True
                    place.noticed()

    def _tell(self) -> None:
        self._admit()
        for changed in self._onlookers:
            changed.set()

    def _fail(self, error: Exception) -> None:
        self._forget()
        self.error = error
        for place in tuple(self._places.values()):
            place.error = error
            place.noticed()
        for changed in self._onlookers:
            changed.set()

    # Following it

    def _begin(self) -> None:
        if self._job is None:
            self._job = self.store.spawn(self._run, name=f"queue {self.name!r}")

    def _forget(self) -> None:
        """Whoever comes from now on begins another one."""
        if self.store.shared.get((Line, self.name)) is self:
            del self.store.shared[Line, self.name]

    async def _run(self) -> None:
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._follow, group.cancel_scope)
                await self._until_unused()
                self._forget()
                group.cancel_scope.cancel()
        finally:
            self._fail(self.error or ClientClosed(f"the client was closed while it followed the queue {self.name!r}"))

    async def _until_unused(self) -> None:
        """Until nobody has used it for a while. Looked at in intervals, for users come and go often."""
        clock = asyncio.get_running_loop().time
        self._left_at = clock()
        while self._places or self._onlookers or clock() < self._left_at + LINGER:  # noqa: ASYNC110
            await asyncio.sleep(LINGER)

    async def _follow(self, scope: anyio.CancelScope) -> None:
        failures = 0
        try:
            while True:
                before = self.revision
                try:
                    await self._watch()
                except (HistoryLost, *PASSING):
                    # What the watch would have told is in the next read.
                    failures = await pause(failures if self.revision == before else 0)
        except AetcdError as e:
            self._fail(e)
            scope.cancel()

    async def _watch(self) -> None:
        # From now on, and not from the read's revision: the server need not catch up on anything.
        async with self.store.changes(self.name, None, recursive=True) as changes:
            self._know(await self.store.queue(self.name))
            async for change in changes:
                if not self._apply(change):
                    self._know(await self.store.queue(self.name))


def is_crowded(store: Store, name: str) -> bool:
    """Whether a line that is followed knows of several who stand in it: who enters now will wait for its word."""
    line = store.shared.get((Line, name))
    return isinstance(line, Line) and line.length > 1


def line_of(store: Store, name: str) -> Line:
    """The line that a client's users of a queue share."""
    line = store.shared.get((Line, name))
    if line is None:
        line = store.shared[Line, name] = Line(store, name)
    assert isinstance(line, Line)
    return line

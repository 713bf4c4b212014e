"""A queue of contenders, in order of creation: what locks, permits and elections have in common.

Whoever owns is among the first in the queue: how many of them, a rule says. Each contender is told of its own turn by
the line that all contenders of a client share, so that one release wakes one waiter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Generator, Iterable
from typing import Any

from attrs import define, frozen

from aetcd._trust import Flag
from aetcd.errors import PASSING, AetcdError, CoordinationError, LockTimeout, NotOwner, SessionLost
from aetcd.recipes._berths import Berth, berths_of
from aetcd.recipes._queues import Line, Place, Rule, is_crowded, line_of, pause
from aetcd.recipes._store import Entry, Queue, Session, Store

__all__ = ["Contender", "Guarded", "Holder", "alone", "check_patience", "holders", "shown"]


def check_patience(timeout: float | None) -> float | None:
    """Seconds to wait for something: None for ever, 0 for not at all."""
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError(f"timeout must be a number of seconds, not {timeout!r}")
    if not timeout >= 0:
        raise ValueError(f"timeout must be at least 0 seconds, not {timeout!r}")
    return timeout


def alone(entries: Collection[Entry]) -> int:
    """The rule of a lock and of an election: the first owns."""
    return min(1, len(entries))


@frozen(kw_only=True)
class Holder:
    """One who stands in a queue, as everybody sees it.

    name: Its entry, which nobody else has.
    value: What the entry holds, as text: empty for a lock.
    revision: Creation revision of the entry: the fencing token.
    """

    name: str
    value: str
    revision: int


def shown(entries: Iterable[Entry]) -> list[Holder]:
    """As they are told to users."""
    return [
        Holder(name=entry.key, value=entry.raw.decode("utf-8", "replace"), revision=entry.created_revision)
        for entry in entries
    ]


def holders(queue: Queue, rule: Rule) -> list[Holder]:
    """Those who own, the oldest first."""
    return shown(queue.entries[: rule(queue.entries)])


@define(eq=False)
class Guarded:
    """A write that only an owner does: awaiting it, or `commit()`, sends it."""

    _send: Callable[[], Awaitable[Any]]

    async def commit(self) -> Any:
        """Send it: what the transaction alone would answer. A cancel leaves its outcome unknown."""
        return await self._send()

    def __await__(self) -> Generator[Any, None, Any]:
        return self.commit().__await__()


class Contender:
    """One place in a queue: entered by `win`, until `leave`.

    rule: How many of the first own.
    agree: Told the queue that was entered: raises CoordinationError where the place would mean something else to those
        who stand there. The queue is then left again.
    lost: Set when the place can no longer be trusted, because its session was lost or its entry is gone.
    """

    def __init__(
        self,
        store: Store,
        queue: str,
        raw: bytes,
        ttl: int,
        *,
        rule: Rule = alone,
        agree: Callable[[Queue], None] | None = None,
    ) -> None:
        self.lost = Flag()
        self._store = store
        self._queue = queue
        self._raw = raw
        self._ttl = ttl
        self._rule = rule
        self._agree = agree
        self._berth: Berth | None = None
        self._entry: Entry | None = None
        self._place: Place | None = None
        self._line: Line | None = None
        self._limit: asyncio.Timeout | None = None
        self._news = asyncio.Event()
        self._upon_loss: Callable[[], None] | None = None
        self._won = False

    @property
    def held(self) -> bool:
        """Whether the place can be trusted to own, by the clock now."""
        return self._won and not self.lost and self._own.session.held

    @property
    def entry(self) -> Entry:
        """The owner's own entry."""
        if self._entry is None:
            raise NotOwner(f"no place in {self._queue!r} was entered yet")
        return self._entry

    @property
    def _own(self) -> Berth:
        if self._berth is None:
            raise NotOwner(f"no place in {self._queue!r} is held")
        return self._berth

    async def win(self, timeout: float | None) -> None:
        """Enter the queue and wait until it is one's turn.

        timeout: Seconds; None waits for as long as it takes, 0 takes the place only if it is free.

        Raises LockTimeout, SessionLost, or what the store raises. However it fails, and also when it is cancelled, the
        queue is left again.
        """
        check_patience(timeout)
        try:
            async with asyncio.timeout(timeout or None) as limit:
                await self._enter_and_wait(limit, patient=timeout != 0)
        except TimeoutError as e:
            lost = bool(self.lost)
            await self.leave()
            if isinstance(e, AetcdError):
                raise
            if lost:
                raise self._session_lost() from e
            raise LockTimeout(f"{self._queue!r} was not had within {timeout:g} s") from e
        except BaseException:
            await self.leave()
            raise

    async def leave(self) -> None:
        """Leave the queue, about within the session's TTL. It raises nothing of its own.

        It is shielded; where its task is cancelled all the same, it goes on in the background.
        """
        self._won = False
        berth, self._berth = self._berth, None
        if self._line is not None and self._place is not None:
            self._line.leave(self._place)
        if berth is None:
            return
        try:
            clear = not self.lost and await self._cleared(berth)
        except BaseException:
            # No shield keeps off a task's own cancel(). Renewed any longer, the entry would stand for ever.
            berth.abandon()
            raise
        if clear:
            berths_of(self._store, self._ttl).give_back(berth)
        else:
            # It takes the entry with it, and also one that was sent and not confirmed.
            await berth.end()

    async def _cleared(self, berth: Berth) -> bool:
        """Delete the entry, and tell the next in line at once if it is one of this client's."""
        if self._entry is None:
            return False
        if self._line is None or self._place is None:
            return (await berth.cleared(self._entry, None))[0]
        heir = self._line.heir(self._place)
        if heir is not None:
            heir.promise()
        try:
            left, stands = await berth.cleared(self._entry, None if heir is None else heir.entry)
            if left:
                self._line.removed(self._place, heir if stands else None)
        finally:
            if heir is not None:
                heir.settle()
        return left

    def upon_loss(self, call: Callable[[], None] | None) -> None:
        """Call this, which must not wait, when the place is lost: at once where it is already. None: call nothing."""
        self._upon_loss = call
        if call is not None and self.lost:
            call()

    async def swap(self, raw: bytes) -> None:
        """Give the entry another value. Raises NotOwner, and sets `lost`, where it is gone."""
        try:
            self._entry = await self._store.swap(self.entry, raw, self._own.session)
        except NotOwner:
            self.lose()
            raise

    def guarded(self, txn: Any, loss: CoordinationError) -> Guarded:
        """A transaction that is done only if the entry still stands. It raises `loss` where not, and sets `lost`."""

        async def send() -> Any:
            if not self.held:
                raise loss
            try:
                return await self._store.guarded(self.entry, txn)
            except NotOwner as e:
                self.lose()
                raise loss from e

        return Guarded(send)

    async def _enter_and_wait(self, limit: asyncio.Timeout, *, patient: bool) -> None:
        self._limit = limit
        try:
            self._berth = await berths_of(self._store, self._ttl).take(self._lose_with_session)
            admitted = await self._enter(self._berth.session, patient=patient)
            assert self._entry is not None
            if not admitted and not patient:
                raise LockTimeout(f"{self._queue!r} is held by somebody else")
            self._place = Place(self._entry, self._rule, self._noticed)
            self._line = line_of(self._store, self._queue)
            self._line.take(self._place)
            if not admitted:
                await self._turn(self._place)
        finally:
            self._limit = None
        if self.lost or not self._berth.session.held:
            raise self._session_lost()
        self._won = True

    def _session_lost(self) -> SessionLost:
        return SessionLost(f"the session ended while its owner waited for {self._queue!r}")

    async def _enter(self, session: Session, *, patient: bool) -> bool:
        """Whether it is one's turn already, as far as it was asked for."""
        if patient and self._agree is None and is_crowded(self._store, self._queue):
            # A long queue costs much to tell, and the line knows it.
            self._entry = await self._store.enter(self._queue, self._raw, session)
            return False
        self._entry, queue = await self._store.join(self._queue, self._raw, session)
        if self._agree is not None:
            self._agree(queue)
        owners = queue.entries[: self._rule(queue.entries)]
        return any(entry.key == self._entry.key for entry in owners)

    async def _turn(self, place: Place) -> None:
        """Until it is one's turn. A store that cannot be reached is waited for, as long as the session lasts."""
        await self._news.wait()
        if place.promised is not None:
            await place.promised.wait()
            if place.confirmed and not place.gone:
                return
        failures = 0
        while True:
            if place.error is not None:
                raise place.error
            try:
                # The line may be behind: those before are gone for certain, but so may be the own entry.
                if not place.gone and await self._store.stands(place.entry):
                    return
            except PASSING:
                failures = await pause(failures)
            else:
                raise SessionLost(f"the entry {place.entry.key!r} is gone: its session ended, or somebody deleted it")

    def _noticed(self) -> None:
        assert self._place is not None
        if self._place.gone or self._place.error is not None:
            self.lose()
        self._news.set()

    def lose(self) -> None:
        """Trust it no longer."""
        self.lost.set()
        if self._upon_loss is not None:
            self._upon_loss()

    def _lose_with_session(self) -> None:
        self.lose()
        if self._limit is not None and not self._limit.expired():
            self._limit.reschedule(0.0)  # it waits no longer

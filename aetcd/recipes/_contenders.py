"""A queue of contenders, in order of creation: what a lock and an election have in common.

An owner's entry is first in the queue. Each contender watches the entry right before its own and no other, so that one
release wakes one waiter.
"""

from __future__ import annotations

import asyncio
import random

import anyio

from aetcd._trust import Flag
from aetcd.errors import PASSING, AetcdError, HistoryLost, LockTimeout, NotOwner, SessionLost
from aetcd.recipes._store import Entry, Session, Store, Work

__all__ = ["Contender", "check_patience"]

LONGEST_WAIT = 1.0  # seconds between two reads of a queue that cannot be reached


def check_patience(timeout: float | None) -> float | None:
    """Seconds to wait for something: None for ever, 0 for not at all."""
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError(f"timeout must be a number of seconds, not {timeout!r}")
    if not timeout >= 0:
        raise ValueError(f"timeout must be at least 0 seconds, not {timeout!r}")
    return timeout


class Contender:
    """One place in a queue: entered by `win`, until `leave`.

    lost: Set when the place can no longer be trusted, because its session was lost or its entry is gone.
    """

    def __init__(self, store: Store, queue: str, raw: bytes, ttl: int) -> None:
        self.lost = Flag()
        self._store = store
        self._queue = queue
        self._raw = raw
        self._ttl = ttl
        self._session: Session | None = None
        self._entry: Entry | None = None
        self._keeper: Work | None = None
        self._random = random.Random()

    @property
    def held(self) -> bool:
        """Whether the first place can be trusted, by the clock now."""
        return self._keeper is not None and not self.lost and self._own_session.held

    @property
    def entry(self) -> Entry:
        """The owner's own entry."""
        if self._entry is None:
            raise NotOwner(f"no place in {self._queue!r} was entered yet")
        return self._entry

    @property
    def _own_session(self) -> Session:
        if self._session is None:
            raise NotOwner(f"no place in {self._queue!r} was entered yet")
        return self._session

    async def win(self, timeout: float | None) -> None:
        """Enter the queue and wait until all before have left.

        timeout: Seconds; None waits for as long as it takes, 0 takes the place only if nobody is there.

        Raises LockTimeout, SessionLost, or what the store raises. However it fails, and also when it is cancelled, the
        queue is left again.
        """
        check_patience(timeout)
        try:
            if timeout == 0:
                await self._try_once()
            else:
                async with asyncio.timeout(timeout):
                    await self._enter_and_wait()
        except TimeoutError as e:
            await self.leave()
            if isinstance(e, AetcdError):
                raise
            raise LockTimeout(f"{self._queue!r} was not had within {timeout:g} s") from e
        except BaseException:
            await self.leave()
            raise
        self._keeper = self._store.spawn(self._keep, name=f"place in {self._queue!r}")

    async def leave(self) -> None:
        """Leave the queue: within the session's TTL, also when the caller is being cancelled. Never raises."""
        if self._session is None:
            return
        with anyio.move_on_after(self._session.granted_ttl, shield=True):
            if self._keeper is not None:
                self._keeper.cancel()
                await self._keeper.wait()
                self._keeper = None
            # The session is this place's own: its end deletes the entry, and also one that was sent and not confirmed.
            await self._session.aclose()

    async def swap(self, raw: bytes) -> None:
        """Give the entry another value. Raises NotOwner."""
        self._entry = await self._store.swap(self.entry, raw, self._own_session)

    async def _enter(self) -> None:
        self._session = await self._store.begin(self._ttl)
        self._entry = await self._store.enter(self._queue, self._raw, self._session)

    async def _try_once(self) -> None:
        await self._enter()
        if await self._ahead() is not None:
            raise LockTimeout(f"{self._queue!r} is held by somebody else")

    async def _enter_and_wait(self) -> None:
        await self._enter()
        with anyio.CancelScope() as scope:
            alarm = self._store.spawn(lambda: self._alarm(scope), name=f"session in {self._queue!r}")
            try:
                await self._wait()
            finally:
                alarm.cancel()
        if scope.cancelled_caught:
            raise SessionLost(f"the session ended while its owner waited for {self._queue!r}")

    async def _alarm(self, scope: anyio.CancelScope) -> None:
        await self._own_session.lost.wait()
        scope.cancel()

    async def _wait(self) -> None:
        """Until the entry is the first. A store that cannot be reached is waited for, as long as the session lasts."""
        failures = 0
        while True:
            try:
                ahead = await self._ahead()
                if ahead is None:
                    return
                await self._gone(*ahead)
                failures = 0
            except HistoryLost:
                continue  # what the watch would have told is in the next list
            except PASSING:
                failures = await self._pause(failures)

    async def _pause(self, failures: int) -> int:
        await asyncio.sleep(self._random.uniform(0, min(LONGEST_WAIT, 0.05 * 2**failures)))
        return min(failures + 1, 10)

    async def _ahead(self) -> tuple[Entry, int] | None:
        """The entry before one's own and the revision at which it stood there; None for the first of the queue."""
        queue = await self._store.queue(self._queue)
        place = next((n for n, entry in enumerate(queue.entries) if _same(entry, self.entry)), None)
        if place is None or not self._own_session.held:
            raise SessionLost(f"the entry {self.entry.key!r} is gone: its session ended, or somebody deleted it")
        return (queue.entries[place - 1], queue.revision) if place else None

    async def _gone(self, entry: Entry, revision: int) -> None:
        """Wait until an entry that stood at a revision is deleted."""
        async with self._store.changes(entry.key, revision + 1) as changes:
            async for change in changes:
                if change.kind != "put":
                    return

    async def _keep(self) -> None:
        """Set `lost` when the session is lost, or the entry deleted by somebody else."""
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._lose_with_session)
                group.start_soon(self._lose_with_entry)
                await self.lost.wait()
                group.cancel_scope.cancel()
        except Exception:
            # Nobody would notice a loss any more.
            self.lost.set()
            raise

    async def _lose_with_session(self) -> None:
        await self._own_session.lost.wait()
        self.lost.set()

    async def _lose_with_entry(self) -> None:
        revision: int | None = self.entry.created_revision
        failures = 0
        while not self.lost:
            try:
                if revision is None:
                    queue = await self._store.queue(self._queue)
                    revision = queue.revision
                    if not any(_same(entry, self.entry) for entry in queue.entries):
                        break
                await self._gone(self.entry, revision)
                break
            except HistoryLost:
                revision = None
            except PASSING:
                revision, failures = None, await self._pause(failures)
        self.lost.set()


def _same(entry: Entry, own: Entry) -> bool:
    return entry.key == own.key and entry.created_revision == own.created_revision

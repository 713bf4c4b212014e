"""A fair lock, with fencing tokens and a guard."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from attrs import define

from aetcd._trust import Flag
from aetcd.errors import CoordinationError, LockLost, NotOwner
from aetcd.recipes._contenders import Contender, check_patience
from aetcd.recipes._guard import Guard, OnLost, check_on_lost
from aetcd.recipes._store import Store

__all__ = ["Lock"]


@define(eq=False)
class _Holding:
    """One task's hold on a lock; guarded where it is the hold of a block."""

    contender: Contender
    guard: Guard | None = None


class Lock:
    """Mutual exclusion among all clients of a cluster.

        async with client.lock("jobs/nightly", ttl=15) as lock:
            ...  # lock.fencing_token

    Contenders queue in order of arrival. Each task that uses the object holds, or waits for, a place of its own, so one
    object may be shared by the tasks of a process. A task that has none, as a test has whose fixture acquired the lock,
    is shown the hold of another where there is but one.

    When the lock can no longer be trusted (its renewals failed for a TTL, or its entry was deleted), the block is
    cancelled and LockLost raised at its end; also when the block had ended by itself after that moment. A cancellation
    from outside wins; an exception of the block's own is chained. With `on_lost="flag"` the block goes on and only
    `lost` is set. After a bare `acquire()` loss sets `lost`, and `release()` raises.

    A lock alone does not protect anything outside the cluster: a holder that was paused may still act after its lock
    was given to another. Send `fencing_token` with each request and have the resource refuse smaller ones than it has
    seen.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        *,
        ttl: int = 15,
        timeout: float | None = None,
        on_lost: OnLost = "cancel",
    ) -> None:
        check_on_lost(on_lost)
        check_patience(timeout)
        self.name = name
        self.ttl = ttl
        self.timeout = timeout
        self._on_lost: OnLost = on_lost
        self._store = store
        self._holdings: dict[asyncio.Task[object] | None, _Holding] = {}

    def __repr__(self) -> str:
        holders = sum(holding.contender.held for holding in self._holdings.values())
        return f"<Lock {self.name!r} {'held' if holders else 'not held'} ttl={self.ttl}>"

    # One task's hold

    @property
    def held(self) -> bool:
        """Whether the calling task holds it and can trust it, by the clock now."""
        holding = self._find()
        return holding is not None and holding.contender.held

    @property
    def fencing_token(self) -> int:
        """Creation revision of the owner's entry: larger for each later holder. Raises NotOwner where it has none."""
        return self._holding().contender.entry.created_revision

    @property
    def lost(self) -> Flag:
        """Set once the hold can no longer be trusted. Raises NotOwner where it was not acquired."""
        return self._holding().contender.lost

    async def acquire(self, timeout: float | None = None) -> None:
        """Wait for the lock, and hold it until `release()`.

        timeout: Seconds; the lock's own by default, which may be None: for ever. 0 tries once.

        Raises LockTimeout, SessionLost, CoordinationError where this task holds it already, and what the pool raises.
        A cancel leaves nothing in the queue.
        """
        await self._acquire(timeout)

    async def release(self) -> None:
        """Give it up.

        Raises LockLost where it could not be trusted to the end, and NotOwner where it was not acquired. Either way
        nothing is left in the queue.
        """
        holding = self._holding()
        lost = await self._give_up(holding)
        if lost:
            raise self._lost_error()

    async def __aenter__(self) -> Self:
        holding = await self._acquire(None)
        holding.guard = Guard(self._store, holding.contender.lost, self._on_lost, name=self.name)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        holding = self._holding()
        guard = holding.guard
        assert guard is not None
        cancelled = guard.leave(kind, error, trace)
        lost = await self._give_up(holding)
        guard.verdict(self._lost_error(), error, cancelled=cancelled, lost=lost)

    async def _acquire(self, timeout: float | None) -> _Holding:
        task = asyncio.current_task()
        if task in self._holdings:
            raise CoordinationError(
                f"this task holds, or waits for, the lock {self.name!r} already: it is not re-entrant"
            )
        contender = Contender(self._store, self.name, b"", self.ttl)
        holding = self._holdings[task] = _Holding(contender)
        try:
            await contender.win(self.timeout if timeout is None else timeout)
        except BaseException:
            del self._holdings[task]
            raise
        return holding

    async def _give_up(self, holding: _Holding) -> bool:
        """Leave the queue. Whether trust had ended before."""
        lost = not holding.contender.held
        for task in [task for task, other in self._holdings.items() if other is holding]:
            del self._holdings[task]
        await holding.contender.leave()
        return lost

    def _find(self) -> _Holding | None:
        """The calling task's hold; where it has none, the only one there is: fixtures release in another task."""
        holding = self._holdings.get(asyncio.current_task())
        if holding is None and len(self._holdings) == 1:
            return next(iter(self._holdings.values()))
        return holding

    def _holding(self) -> _Holding:
        holding = self._find()
        if holding is None:
            raise NotOwner(f"the lock {self.name!r} is not held by this task")
        return holding

    def _lost_error(self) -> LockLost:
        return LockLost(f"the lock {self.name!r} was lost before it was released: another may have held it since")

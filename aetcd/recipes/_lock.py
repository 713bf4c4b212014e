"""A fair lock, with fencing tokens and a guard; and what it shares with everything else that a task can hold."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Self

from attrs import define

from aetcd._trust import Flag
from aetcd.errors import CoordinationError, LockLost, NotOwner
from aetcd.recipes._contenders import Contender, Guarded, Holder, alone, check_patience, holders, shown
from aetcd.recipes._guard import Guard, OnLost, check_on_lost
from aetcd.recipes._queues import Rule
from aetcd.recipes._store import Queue, Store

__all__ = ["Claim", "Holdings", "Lock"]


@define(eq=False)
class Holding:
    """One task's hold; guarded where it is the hold of a block."""

    claim: Claim
    contender: Contender
    guard: Guard | None = None
    over: bool = False


Holdings = dict[asyncio.Task[object] | None, Holding]
"""Who holds, or waits for, a place of something: each task one."""

# What was acquired around the present code, so that the tasks which a block begins may use what the block holds.
_around: ContextVar[tuple[Holding, ...]] = ContextVar("aetcd holds", default=())


class Claim:
    """What a task can hold: a lock, a side of a read-write lock, a permit of a semaphore.

    Each task that uses the object holds, or waits for, a place of its own, so one object may be shared by the tasks of
    a process. The tasks that a holder begins are shown its hold, and may release it; tasks that were begun elsewhere
    are not, but for a hold whose task has ended without giving it up, as that of a test's fixture has.

    When the hold can no longer be trusted (its renewals failed for a TTL, or its entry was deleted), the block is
    cancelled and LockLost raised at its end; also when the block had ended by itself after that moment. A cancellation
    from outside wins; an exception of the block's own is chained. With `on_lost="flag"` the block goes on and only
    `lost` is set. After a bare `acquire()` loss sets `lost`, and `release()` raises.
    """

    _what = "lock"
    _rule: Rule = staticmethod(alone)
    _raw = b""

    def __init__(
        self,
        store: Store,
        name: str,
        *,
        ttl: int = 15,
        timeout: float | None = None,
        on_lost: OnLost = "cancel",
        holdings: Holdings | None = None,
    ) -> None:
        check_on_lost(on_lost)
        check_patience(timeout)
        self.name = name
        self.ttl = ttl
        self.timeout = timeout
        self._on_lost: OnLost = on_lost
        self._store = store
        self._holdings: Holdings = {} if holdings is None else holdings
        # Raises CoordinationError where those in the queue take the name for something else.
        self._agree: Callable[[Queue], None] | None = None

    def __repr__(self) -> str:
        held = any(holding.claim is self and holding.contender.held for holding in self._holdings.values())
        return f"<{type(self).__name__} {self.name!r} {'held' if held else 'not held'} ttl={self.ttl}>"

    # One task's hold

    @property
    def held(self) -> bool:
        """Whether the calling task holds it and can trust it, by the clock now."""
        holding = self._find()
        return holding is not None and holding.contender.held

    @property
    def fencing_token(self) -> int:
        """Creation revision of the owner's entry: larger for each later one. Raises NotOwner where it has none."""
        return self._holding().contender.entry.created_revision

    @property
    def lost(self) -> Flag:
        """Set once the hold can no longer be trusted. Raises NotOwner where it was not acquired."""
        return self._holding().contender.lost

    async def acquire(self, timeout: float | None = None) -> None:
        """Wait for it, and hold it until `release()`.

        timeout: Seconds; the object's own by default, which may be None: for ever. 0 tries once.

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

    def guarded(self, txn: Any) -> Guarded:
        """A transaction of `client.v3.txn()` that is done only if the hold still stands, by the server's own judgement.

            await lock.guarded(client.v3.txn().then(Put("job/state", "done")))

        Its answer is that of the transaction. It raises LockLost where the hold is gone (nothing is written, and `lost`
        is set), NotOwner where it was not acquired, Unsupported on v2, OutcomeUnknown, and what the transaction raises.
        """
        return self._holding().contender.guarded(txn, self._lost_error())

    async def __aenter__(self) -> Self:
        holding = await self._acquire(None)
        holding.guard = Guard(holding.contender, self._on_lost)
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

    # Everybody's

    async def contenders(self) -> Sequence[Holder]:
        """All who hold it or wait for it, in order, by a linearizable read."""
        return shown((await self._store.queue(self.name)).entries)

    # Behind them

    async def _acquire(self, timeout: float | None) -> Holding:
        task = asyncio.current_task()
        if task in self._holdings:
            raise CoordinationError(
                f"this task holds, or waits for, the {self._what} {self.name!r} already: it is not re-entrant"
            )
        contender = Contender(self._store, self.name, self._raw, self.ttl, rule=self._rule, agree=self._agree)
        holding = self._holdings[task] = Holding(self, contender)
        try:
            await contender.win(self.timeout if timeout is None else timeout)
        except BaseException:
            del self._holdings[task]
            raise
        _around.set((*(other for other in _around.get() if not other.over), holding))
        return holding

    async def _give_up(self, holding: Holding) -> bool:
        """Leave the queue. Whether trust had ended before."""
        lost = not holding.contender.held
        for task in [task for task, other in self._holdings.items() if other is holding]:
            del self._holdings[task]
        holding.over = True
        await holding.contender.leave()
        return lost

    def _find(self) -> Holding | None:
        """The calling task's hold, or that of the code around it, or one whose task has ended and left it behind."""
        own = {task: holding for task, holding in self._holdings.items() if holding.claim is self}
        for holding in (own.get(asyncio.current_task()), *reversed(_around.get())):
            if holding in own.values():
                return holding
        left_behind = [holding for task, holding in own.items() if task is None or task.done()]
        return left_behind[0] if len(left_behind) == 1 else None

    def _holding(self) -> Holding:
        holding = self._find()
        if holding is None:
            raise NotOwner(f"the {self._what} {self.name!r} is not held by this task")
        return holding

    def _lost_error(self) -> LockLost:
        return LockLost(
            f"the {self._what} {self.name!r} was lost before it was released: another may have held it since"
        )


class Lock(Claim):
    """Mutual exclusion among all clients of a cluster.

        async with client.lock("jobs/nightly", ttl=15) as lock:
            ...  # lock.fencing_token

    Contenders queue in order of arrival. Whose hold it is, and what a loss does, `Claim` says.

    A lock alone does not protect anything outside the cluster: a holder that was paused may still act after its lock
    was given to another. Send `fencing_token` with each request and have the resource refuse smaller ones than it has
    seen. Writes to the cluster itself are protected by `guarded()`.
    """

    async def holder(self) -> Holder | None:
        """Who holds it, by a linearizable read; None where nobody does."""
        return next(iter(holders(await self._store.queue(self.name), self._rule)), None)

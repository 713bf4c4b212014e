"""Operations of one kind on their way: who waits, who travels together, and who is told what."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from copy import copy
from functools import partial
from itertools import chain
from math import inf
from operator import attrgetter
from typing import Any, Generic, TypeVar

import msgspec
from attrs import evolve

from aetcd._transport.calls import closed_error
from aetcd._transport.supervisor import Job
from aetcd._transport.timeouts import LEAST, Timeout
from aetcd._wire.message import Effect
from aetcd.errors import (
    AetcdError,
    DecodeError,
    NoLeader,
    Outcome,
    RequestTimeout,
    RequestTooLarge,
    ServerError,
    ServerUnavailable,
    TooManyRequests,
    TransportError,
    Unauthenticated,
)
from aetcd.etcd.v3 import V3
from aetcd.etcd.v3._codec import Wire
from aetcd.etcd.v3._gathering import Batch, Gathering
from aetcd.etcd.v3._txn import TXN

__all__ = ["TO_ALL", "Apart", "Item", "Lane", "own"]

# What the server says of itself, and would say to each operation by itself too.
TO_ALL = (Unauthenticated, ServerUnavailable, NoLeader, TooManyRequests)

A = TypeVar("A")


class Apart(Exception):
    """Nothing of a batch was done, since together it could not be: each has to go by itself."""


class Item(msgspec.Struct, eq=False):
    """An operation that waits.

    deadline: By the loop's clock.
    told: The answer, or the error to raise; None to go alone.
    """

    key: bytes
    weight: int
    pace: tuple[float | None, float | None]
    call: Any
    limits: Timeout
    deadline: float
    told: asyncio.Future[Any]
    batch: Batch[Item] | None = None
    goes_alone: bool = False

    def tell(self, outcome: object) -> None:
        """Wake who waits, if he still does."""
        if not self.told.done():
            self.told.set_result(outcome)


class Lane(ABC, Generic[A]):
    """Operations of one kind that may share a request.

    A caller's limits and his cancel are his own: the others' request goes on, and ends when nobody waits for it.
    """

    def __init__(self, v3: V3, *, shared: bool = False, ordered: bool = False) -> None:
        self._v3 = v3
        self._pool = v3.gateway.channel.pool
        self._gathering: Gathering[Item] = Gathering(shared, ordered)
        self._under_way: dict[Batch[Item], None] = {}
        self._idle: dict[asyncio.Future[Batch[Item]], Job] = {}
        self._alarm: asyncio.TimerHandle | None = None
        self._flushing = False

    @abstractmethod
    async def alone(self, key: bytes, call: Any, limits: Timeout) -> A:
        """Send one by itself."""

    @abstractmethod
    async def together(self, batch: Batch[Item], limits: Timeout) -> list[A]:
        """Send a batch; one answer for each of its pieces, in order. Raises Apart where nothing of it was done."""

    @abstractmethod
    def lost(self, item: Item, reason: AetcdError) -> AetcdError:
        """What a caller is told whose operation was under way and may have been carried out."""

    def run(
        self, key: bytes, call: Any, weight: int, limits: Timeout, *, urgent: bool = True
    ) -> Coroutine[Any, Any, A]:
        """Send it, with others or alone. To be awaited at once; no coroutine itself, for each layer of them costs.

        urgent: It goes at once where nobody is about. Otherwise it waits until the end of the loop's turn in any case.
        """
        if urgent and self._gathering.admits(key):
            return self._at_once(key, call, limits)
        return self._wait(key, call, weight, limits)

    async def _at_once(self, key: bytes, call: Any, limits: Timeout) -> A:
        self._gathering.set_off(key)
        try:
            return await self.alone(key, call, limits)
        finally:
            self._gathering.arrived(key)
            self._look()

    async def _wait(self, key: bytes, call: Any, weight: int, limits: Timeout) -> A:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + limits.total
        item = Item(key, weight, limits.pace, call, limits, deadline, loop.create_future())
        self._gathering.add(item)
        if self._alarm is None or self._alarm.when() > deadline:
            self._set_alarm(deadline)
        if not self._flushing:
            self._look()
        try:
            told = await item.told
            if told is None:
                return await self.alone(key, call, evolve(limits, total=max(LEAST, deadline - loop.time())))
        except BaseException:
            self._forsake(item)
            raise
        finally:
            if item.goes_alone:
                self._gathering.arrived(key)
                self._look()
        if isinstance(told, Exception):
            raise told
        answer: A = told
        return answer

    def _forsake(self, item: Item) -> None:
        """Who waited was cancelled. The others go on; what nobody waits for any more is given up."""
        batch = item.batch
        if batch is None:
            self._gathering.withdraw(item)
        elif batch.job is not None and all(member.told.done() for member in batch.members):
            batch.job.cancel()

    # Setting off

    def _look(self) -> None:
        """See at the end of this turn of the loop what can go: until then more may come."""
        if self._gathering.waiting and not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        try:
            self._pool.open()
        except AetcdError as e:  # it was closed, or is used from elsewhere
            for item in [*self._gathering.waiting]:
                self._gathering.withdraw(item)
                item.tell(own(e))
        while batch := self._gathering.take():
            if batch.size == 1:
                self._send_off(batch.members[0])
                continue
            for item in batch.members:
                item.batch = batch
            self._under_way[batch] = None
            if self._idle:
                turn, batch.job = self._idle.popitem()
                turn.set_result(batch)
            else:
                batch.job = self._pool.spawn(partial(self._carry_on, batch), name="coalesced requests")
        self._set_alarm(inf)

    def _send_off(self, item: Item) -> None:
        """Have the caller send it by himself, who is counted among those who went alone."""
        item.goes_alone = True
        item.tell(None)

    # Under way

    async def _carry_on(self, batch: Batch[Item]) -> None:
        """Carry one batch after the other, until the client is closed: to begin a job costs a sixth of a request."""
        assert batch.job is not None
        job = batch.job
        while True:
            await self._carry(batch)
            turn: asyncio.Future[Batch[Item]] = asyncio.get_running_loop().create_future()
            self._idle[turn] = job
            try:
                batch = await turn
            finally:
                self._idle.pop(turn, None)

    async def _carry(self, batch: Batch[Item]) -> None:
        """Send a batch, and tell everybody what came of it."""
        refusal: ServerError | Apart | None = None
        all_told = False
        try:
            answers = await self.together(batch, self._limits(batch))
            if len(answers) != len(batch.pieces):
                raise DecodeError(f"a transaction of {len(batch.pieces)} operations has {len(answers)} answers")
            for members, answer in zip(batch.pieces.values(), answers, strict=True):
                for item in members:
                    item.tell(answer)
            all_told = True
        except (ServerError, Apart) as e:
            refusal = e
        except AetcdError as e:
            is_open = isinstance(e, TransportError) and e.outcome is Outcome.UNKNOWN
            for item in batch.members:
                item.tell(self.lost(item, e) if is_open else own(e))
        except Exception as e:  # of the user's own code: a balancing policy, a trace hook
            for item in batch.members:
                item.tell(e)
            raise
        finally:
            self._gathering.landed(batch)
            del self._under_way[batch]
            batch.job = None
            if refusal is not None:
                self._take_apart(batch, refusal)
            if not all_told:
                # Who has not been told yet: the work was cancelled since the client closes.
                for item in batch.members:
                    if item.batch is batch:
                        item.tell(self.lost(item, closed_error()))
            batch.forget()
            self._look()
            self._set_alarm(inf)

    def _take_apart(self, batch: Batch[Item], refusal: ServerError | Apart) -> None:
        """Nothing was applied. What one operation is to blame for shall reach its caller only."""
        still = [item for item in batch.members if not item.told.done()]
        if isinstance(refusal, TO_ALL):
            for item in still:
                item.tell(own(refusal))
            return
        for item in still:
            item.batch = None
        if isinstance(refusal, RequestTooLarge) and "too many operations" in refusal.message:
            self._gathering.too_many(batch, still)
            return
        for item in still:
            self._gathering.set_off(item.key)
            self._send_off(item)

    def _limits(self, batch: Batch[Item]) -> Timeout:
        """The longest of its callers'; each has his own beside."""
        longest = max(batch.members, key=attrgetter("deadline"))
        left = longest.deadline - asyncio.get_running_loop().time()
        return evolve(longest.limits, total=max(LEAST, left))

    async def _transact(self, operations: list[Wire], effect: Effect, limits: Timeout) -> bytes:
        return await self._v3.gateway.send(TXN, {"success": operations}, effect=effect, timeout=limits)

    # Deadlines: one timer for all who wait, since most of them have the same limits and need it never

    def _set_alarm(self, deadline: float) -> None:
        """Have it ring at `deadline` or earlier, and not at all where nobody waits."""
        alarm = self._alarm
        if alarm is not None:
            if alarm.when() <= deadline and (self._under_way or self._gathering.waiting):
                return
            alarm.cancel()
        self._alarm = None if deadline == inf else asyncio.get_running_loop().call_at(deadline, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        now = asyncio.get_running_loop().time()
        members = chain.from_iterable(batch.members for batch in self._under_way)
        waiting = [item for item in chain(self._gathering.waiting, members) if not item.told.done()]
        for item in waiting:
            if item.deadline <= now:
                self._gathering.withdraw(item)
                item.tell(self._late(item))
        self._set_alarm(min((item.deadline for item in waiting if item.deadline > now), default=inf))

    def _late(self, item: Item) -> AetcdError:
        if item.batch is None:
            text = "it waited all the time for others to come back"
            return RequestTimeout(text, outcome=Outcome.NOT_SENT, operation=TXN.operation)
        return self.lost(item, RequestTimeout("no answer in time", operation=TXN.operation))


def own(error: AetcdError) -> AetcdError:
    """An error for one of several callers: raising one exception in several tasks would mix their tracebacks."""
    own = copy(error)
    own.__cause__ = error.__cause__
    return own

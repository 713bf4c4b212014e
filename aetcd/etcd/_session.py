"""A session: keys that live for as long as their owner does, and until when the owner may believe so."""

from __future__ import annotations

import asyncio
import enum
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Protocol, Self

import anyio

from aetcd._routing.peer import Peer
from aetcd._transport.supervisor import Job
from aetcd._trust import Clock, Flag, Trust
from aetcd.errors import AetcdError, ClientClosed, ConnectFailed, Outcome, SessionLost, TransportError

__all__ = ["Lease", "Session", "SessionState"]

logger = logging.getLogger("aetcd")

RENEWALS_PER_TTL = 6
PHASE = random.random()  # of this process, so that those of one machine do not renew at the same moment
LOOK_AT_CLOCK = 0.5  # seconds: timers of the loop stand still while the machine sleeps, the session's clock does not


class SessionState(enum.Enum):
    """How far a session can be relied on."""

    RENEWED = "renewed"
    """A renewal was confirmed not long ago."""
    SUSPENDED = "suspended"
    """None was confirmed for a third of the TTL, which is two attempts. Until it is lost its keys are still its own."""
    LOST = "lost"
    """It cannot be trusted any more, for good: others may hold what it held."""


class Lease(Protocol):
    """One protocol's way to keep keys for as long as they are renewed."""

    clock_skew: float
    """Seconds by which the servers' judgement of its end may be early."""

    async def begin(self, ttl: int) -> int:
        """Have the server begin it; the TTL that was granted."""
        ...

    async def renew(self, trust: Trust, peer: Peer | None, timeout: float) -> None:
        """Renew it once, and confirm the trust. Raises SessionLost where it is over for certain."""
        ...

    async def end(self) -> None:
        """Have the server end it now."""
        ...


class Session:
    """Keys tied to it are deleted by the server when it ends: when it is closed, or not renewed for its TTL.

    Enter it with `async with`; leaving the block ends it. It renews itself in the background. Renewals overlap: one
    attempt each sixth of the TTL, on alternating peers, none waiting for another, since one that meets a leader change
    hangs for seconds.

    It is trusted until the sending of the last confirmed renewal plus the granted TTL, by a clock that goes on while
    the machine sleeps, and not a moment longer; `lost` is then set for good. On v2 the members' own wall clocks judge
    the expiry: there 1 s less is trusted, which holds for as long as their clocks do not jump.
    """

    def __init__(
        self,
        ttl: int,
        *,
        lease: Callable[[], Awaitable[Lease]],
        spawn: Callable[..., Job],
        peers: Callable[[], Sequence[Peer]],
        clock: Clock,
    ) -> None:
        self.ttl = ttl
        self.lost = Flag()
        self._granted_ttl = ttl
        self._make_lease = lease
        self._lease: Lease | None = None
        self._trust = Trust(clock)
        self._clock = clock
        self._spawn = spawn
        self._peers = peers
        self._turn = 0
        self._job: Job | None = None
        self._closed = False

    def __repr__(self) -> str:
        state = "lost" if self.lost else f"trusted for {self.expires_in:.1f} s" if self.held else "not open"
        return f"<Session {state}>"

    @property
    def granted_ttl(self) -> int:
        """Seconds without renewal after which the server ends it. It may be more than was asked for."""
        return self._granted_ttl

    @property
    def held(self) -> bool:
        """Whether it can be trusted, by the clock now."""
        if not self.lost and self._trust.held:
            return True
        if self.standing:
            # Whoever was told so must not see it come back by a renewal that was on its way.
            self._trust.end()
            self.lost.set()
        return False

    @property
    def expires_in(self) -> float:
        """Seconds for which it can be trusted without another renewal; 0 once it cannot."""
        return self._trust.remaining if self.held else 0.0

    @property
    def state(self) -> SessionState:
        """By the clock now. A session that was closed, or not opened yet, is LOST."""
        if not self.held:
            return SessionState.LOST
        unconfirmed = self._granted_ttl - self._trust.clock_skew - self._trust.remaining
        return SessionState.SUSPENDED if unconfirmed > self._granted_ttl / 3 else SessionState.RENEWED

    async def states(self) -> AsyncGenerator[SessionState, None]:
        """Its state now, and each other one that it comes to; the latest is promised, within half a second.

        Who acts for the session had better pause while it is SUSPENDED, and go on when it is RENEWED. Iteration ends
        after LOST, and when the session is closed. Raises SessionLost where it was never opened.
        """
        if self._job is None:
            raise SessionLost("the session was never opened")
        told = None
        while self.lost or not self._closed:
            state = self.state
            if state is not told:
                told = state
                yield state
            if state is SessionState.LOST:
                return
            # No timer knows when it is due: the session's clock is not the loop's.
            with anyio.move_on_after(LOOK_AT_CLOCK):
                await self.lost.wait()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def open(self) -> None:
        """Begin it. Raises what the pool raises; a cancel leaves nothing that does not end by itself."""
        if self._lease is not None:
            return
        lease = await self._make_lease()
        self._trust.clock_skew = lease.clock_skew
        sent = self._clock()
        self._granted_ttl = await lease.begin(self.ttl)
        self._trust.confirm(sent, self._granted_ttl)
        self._lease = lease
        self._job = self._spawn(self._keep, name="session")

    @property
    def standing(self) -> bool:
        """Whether it was begun and not ended."""
        return self._job is not None and not self._closed

    async def aclose(self, within: float | None = None) -> None:
        """End it, and delete its keys; also when the caller is cancelled, before or meanwhile. Raises nothing else.

        within: Seconds for which that is tried; its TTL by default, after which the server has ended it by itself.
        """
        if self._closed or self._job is None or self._lease is None:
            return
        self._closed = True
        self._job.cancel()
        seconds = within or self._granted_ttl
        try:
            # In the background, where no second cancel of the caller leaves it half done.
            ending = self._spawn(partial(self._end, self._job, self._lease, seconds), name="end of a session")
            with anyio.move_on_after(seconds, shield=True):
                await ending.wait()
        except ClientClosed:
            return  # nothing can be sent any more
        finally:
            self._trust.end()

    async def _end(self, job: Job, lease: Lease, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            await job.wait()
            try:
                await lease.end()
            except AetcdError as e:
                # The server ends it by itself when the TTL is over.
                logger.debug("a session could not be ended: %s", e)

    def require(self) -> Lease:
        """What its keys are tied to. Raises SessionLost where it cannot be trusted."""
        if self._lease is None or not self.held:
            raise SessionLost("the session is lost, closed, or was never opened")
        return self._lease

    async def _keep(self) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self._notice_end, group.cancel_scope)
            while True:
                await asyncio.sleep(_until_next(self._granted_ttl / RENEWALS_PER_TTL))
                group.start_soon(self._attempt, group.cancel_scope)

    async def _notice_end(self, scope: anyio.CancelScope) -> None:
        while not self.lost and (remaining := self._trust.remaining) > 0:  # noqa: ASYNC110
            await asyncio.sleep(min(remaining, LOOK_AT_CLOCK))  # the clock is not the loop's, so no timer knows it
        self.lost.set()
        scope.cancel()

    async def _attempt(self, scope: anyio.CancelScope) -> None:
        """One renewal, at the next peer; where that cannot be reached, at the one after it."""
        assert self._lease is not None
        for peer in self._next_peers():
            try:
                await self._lease.renew(self._trust, peer, max(1.0, self._trust.remaining))
            except SessionLost as e:
                logger.warning("%s", e)
                self._trust.end()
                self.lost.set()
                scope.cancel()
            except ConnectFailed as e:
                if e.outcome is Outcome.NOT_SENT:
                    continue
            except (TransportError, AetcdError) as e:
                logger.debug("a session was not renewed: %s", e)
            return

    def _next_peers(self) -> Sequence[Peer | None]:
        peers = self._peers()
        self._turn = (self._turn + 1) % len(peers)
        return (*peers[self._turn :], *peers[: self._turn])


def _until_next(period: float) -> float:
    """Seconds to the next of the moments that all sessions of this period share: their renewals travel together."""
    return period - (asyncio.get_running_loop().time() - PHASE * period) % period

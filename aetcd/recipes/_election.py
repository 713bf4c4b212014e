"""Leader election: one leader at a time, the next in line when it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from types import TracebackType
from typing import Any, Self

from attrs import frozen

from aetcd._trust import Flag
from aetcd.errors import PASSING, CoordinationError, LeadershipLost, NotOwner
from aetcd.recipes._contenders import Contender, Guarded, check_patience
from aetcd.recipes._guard import Guard, OnLost, check_on_lost
from aetcd.recipes._queues import line_of, pause
from aetcd.recipes._store import Entry, Queue, Store

__all__ = ["Election", "Leader", "Leadership"]


@frozen(kw_only=True)
class Leader:
    """Who leads, as everybody sees it.

    name: The leader's entry, which no other term has.
    value: What it proclaims, as text.
    revision: Creation revision of its entry: its fencing token.
    """

    name: str
    value: str
    revision: int


class Leadership:
    """One term as the leader: `async with leadership` guards a block and resigns at its end.

    resigned: Whether it was ended by `resign()`.
    """

    def __init__(self, contender: Contender, name: str, encode: Callable[[object], bytes], on_lost: OnLost) -> None:
        self._contender = contender
        self._name = name
        self._encode = encode
        self._on_lost: OnLost = on_lost
        self._guard: Guard | None = None
        self.resigned = False

    def __repr__(self) -> str:
        return f"<Leadership of {self._name!r} {'held' if self.held else 'over'}, token {self.fencing_token}>"

    @property
    def fencing_token(self) -> int:
        """Creation revision of the leader's entry: larger for each later leader."""
        return self._contender.entry.created_revision

    @property
    def held(self) -> bool:
        """Whether it can be trusted, by the clock now."""
        return not self.resigned and self._contender.held

    @property
    def lost(self) -> Flag:
        """Set once it can no longer be trusted."""
        return self._contender.lost

    async def proclaim(self, value: object) -> None:
        """Tell another value to all who watch the election, if the term still stands by the server's own judgement.

        Raises LeadershipLost where the term is over, and OutcomeUnknown.
        """
        raw = self._encode(value)
        if not self.held:
            raise self._lost_error()
        try:
            await self._contender.swap(raw)
        except NotOwner as e:
            raise self._lost_error() from e

    def guarded(self, txn: Any) -> Guarded:
        """A transaction of `client.v3.txn()` that is done only if the term still stands, as `Lock.guarded` does it.

        It raises LeadershipLost where the term is over: nothing is written.
        """
        return self._contender.guarded(txn, self._lost_error())

    async def resign(self) -> None:
        """End the term now, so that the next in line may lead. A second time changes nothing."""
        self.resigned = True
        await self._contender.leave()

    async def __aenter__(self) -> Self:
        if self._guard is not None or self.resigned:
            raise CoordinationError(f"this term as the leader of {self._name!r} has had its block: campaign again")
        self._guard = Guard(self._contender, self._on_lost)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._guard is not None
        cancelled = self._guard.leave(kind, error, trace)
        lost = not self.held and not self.resigned
        await self.resign()
        self._guard.verdict(self._lost_error(), error, cancelled=cancelled, lost=lost)

    def _lost_error(self) -> LeadershipLost:
        return LeadershipLost(f"the leadership of {self._name!r} is over")


class Election:
    """Leadership of a name, won by one of all who campaign for it.

        async with client.election("scheduler", value="host-1") as leadership:
            ...  # leads now; leadership.fencing_token

    Candidates queue in order of arrival. The guard is that of a lock: when leadership can no longer be trusted, the
    block is cancelled and LeadershipLost raised at its end; `on_lost="flag"` only sets `leadership.lost`.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        *,
        value: object = "",
        ttl: int = 15,
        timeout: float | None = None,
        on_lost: OnLost = "cancel",
        encode: Callable[[object], bytes],
    ) -> None:
        check_on_lost(on_lost)
        check_patience(timeout)
        self.name = name
        self.ttl = ttl
        self.timeout = timeout
        self._raw = encode(value)
        self._encode = encode
        self._on_lost: OnLost = on_lost
        self._store = store
        self._term: Leadership | None = None
        self._entered = False

    def __repr__(self) -> str:
        return f"<Election {self.name!r}{', leading' if self._term and self._term.held else ''}>"

    async def campaign(self, timeout: float | None = None) -> Leadership:
        """Wait to be the leader, until `resign()` or, with `async with`, the end of a block.

        timeout: Seconds; the election's own by default, which may be None: for ever. 0 leads only where nobody else
            does.

        Raises LockTimeout, SessionLost, and what the pool raises. A cancel leaves no candidate behind.
        """
        contender = Contender(self._store, self.name, self._raw, self.ttl)
        await contender.win(self.timeout if timeout is None else timeout)
        return Leadership(contender, self.name, self._encode, self._on_lost)

    async def __aenter__(self) -> Leadership:
        if self._entered:
            raise CoordinationError(f"this candidate for {self.name!r} campaigns already: make another one")
        self._entered = True
        try:
            self._term = await self.campaign()
        except BaseException:
            self._entered = False
            raise
        return await self._term.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._term is not None
        term, self._term, self._entered = self._term, None, False
        await term.__aexit__(kind, error, trace)

    async def leader(self) -> Leader | None:
        """Who leads now, by a linearizable read; None where nobody does."""
        return self._shown(next(iter((await self._store.queue(self.name)).entries), None))

    async def observe(self) -> AsyncGenerator[Leader | None, None]:
        """Who leads: now, and at each change, None while nobody does. The latest is promised, not each one in between.

        It goes on while no peer can be reached. Raises what ends a watch for good. Leave it early by `aclose()`
        (`contextlib.aclosing`), for until then its watch stands.
        """
        changed = asyncio.Event()
        line = line_of(self._store, self.name)
        line.look_on(changed)
        try:
            present = await self._present()
            seen = self._shown(next(iter(present.entries), None))
            yield seen
            while True:
                await changed.wait()
                changed.clear()
                if line.error is not None:
                    raise line.error
                # What the line tells of earlier, the read has shown the outcome of.
                leader = self._shown(line.first) if line.revision > present.revision else seen
                if leader != seen:
                    seen = leader
                    yield leader
        finally:
            line.look_away(changed)

    async def _present(self) -> Queue:
        failures = 0
        while True:
            try:
                return await self._store.queue(self.name)
            except PASSING:
                failures = await pause(failures)

    def _shown(self, entry: Entry | None) -> Leader | None:
        if entry is None:
            return None
        return Leader(name=entry.key, value=entry.raw.decode("utf-8", "replace"), revision=entry.created_revision)

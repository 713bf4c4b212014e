"""Leader election: one leader at a time, the next in line when it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from types import TracebackType

from attrs import frozen

from aetcd._trust import Flag
from aetcd.errors import PASSING, CoordinationError, HistoryLost, LeadershipLost
from aetcd.recipes._contenders import Contender, check_patience
from aetcd.recipes._guard import Guard, OnLost, check_on_lost
from aetcd.recipes._store import Queue, Store

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
    """One term as the leader.

    resigned: Whether it was ended by `resign()`.
    """

    def __init__(self, contender: Contender, name: str, encode: Callable[[object], bytes]) -> None:
        self._contender = contender
        self._name = name
        self._encode = encode
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
        return self._contender.held

    @property
    def lost(self) -> Flag:
        """Set once it can no longer be trusted."""
        return self._contender.lost

    async def proclaim(self, value: object) -> None:
        """Tell another value to all who watch the election.

        Raises LeadershipLost where the term is over, and OutcomeUnknown.
        """
        if not self.held:
            raise LeadershipLost(f"the leadership of {self._name!r} is over")
        await self._contender.swap(self._encode(value))

    async def resign(self) -> None:
        """End the term now, so that the next in line may lead. A second time changes nothing."""
        self.resigned = True
        await self._contender.leave()


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
        self._term: tuple[Leadership, Guard] | None = None
        self._entered = False

    def __repr__(self) -> str:
        return f"<Election {self.name!r}{', leading' if self._term and self._term[0].held else ''}>"

    async def campaign(self, timeout: float | None = None) -> Leadership:
        """Wait to be the leader, until `resign()`.

        timeout: Seconds; the election's own by default, which may be None: for ever. 0 leads only where nobody else
            does.

        Raises LockTimeout, SessionLost, and what the pool raises. A cancel leaves no candidate behind.
        """
        contender = Contender(self._store, self.name, self._raw, self.ttl)
        await contender.win(self.timeout if timeout is None else timeout)
        return Leadership(contender, self.name, self._encode)

    async def __aenter__(self) -> Leadership:
        if self._entered:
            raise CoordinationError(f"this candidate for {self.name!r} campaigns already: make another one")
        self._entered = True
        try:
            leadership = await self.campaign()
        except BaseException:
            self._entered = False
            raise
        self._term = (leadership, Guard(self._store, leadership.lost, self._on_lost, name=self.name))
        return leadership

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._term is not None
        leadership, guard = self._term
        cancelled = guard.leave(kind, error, trace)
        lost = not leadership.held and not leadership.resigned
        self._term, self._entered = None, False
        await leadership.resign()
        loss = LeadershipLost(f"the leadership of {self.name!r} was lost before its block ended")
        guard.verdict(loss, error, cancelled=cancelled, lost=lost)

    async def leader(self) -> Leader | None:
        """Who leads now, by a linearizable read; None where nobody does."""
        return self._first(await self._store.queue(self.name))

    async def observe(self) -> AsyncGenerator[Leader | None, None]:
        """Who leads: now, and at each change, None while nobody does. The latest is promised, not each one in between.

        It goes on while no peer can be reached. Raises what ends a watch for good. Leave it early by `aclose()`
        (`contextlib.aclosing`), for until then its watch stands.
        """
        seen: Leader | None = None
        first = True
        while True:
            try:
                queue = await self._store.queue(self.name)
                leader = self._first(queue)
                if first or leader != seen:
                    first, seen = False, leader
                    yield leader
                async with self._store.changes(self.name, queue.revision + 1, recursive=True) as changes:
                    async for _ in changes:
                        break
            except HistoryLost:
                continue
            except PASSING:
                await asyncio.sleep(1.0)

    def _first(self, queue: Queue) -> Leader | None:
        if not queue.entries:
            return None
        entry = queue.entries[0]
        return Leader(name=entry.key, value=entry.raw.decode("utf-8", "replace"), revision=entry.created_revision)

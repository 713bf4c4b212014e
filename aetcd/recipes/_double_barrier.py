"""A double barrier: processes begin together, and end together."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from aetcd.errors import CompareFailed, CoordinationError, KeyNotFound, SessionLost
from aetcd.recipes._contenders import check_patience
from aetcd.recipes._store import Entry, KeyChange, Session, Store
from aetcd.recipes._waiting import Hold, Tie, token, waited, while_held, within

__all__ = ["DoubleBarrier"]


class DoubleBarrier:
    """Lets processes in once so many have come, and out once all of them are done.

        async with client.double_barrier("phase-1", count=3):
            ...  # three have come

    A round opens when `count` are there at the same time; who comes while any of that round is still in joins it. One
    that dies no longer counts, before and after, once its session has ended. After all have left, another round may be
    held under the same name. Leaving a block by an exception waits for nobody.

    It opens only where the store says so: a watch that breaks or dies opens nothing, and while no peer can be reached
    the waiting goes on for as long as the session lives.

    Each object stands for one participant at a time.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        *,
        count: int,
        ttl: int = 15,
        timeout: float | None = None,
        session: Session | None = None,
    ) -> None:
        if isinstance(count, bool) or not isinstance(count, int):
            raise TypeError(f"count must be a whole number, not {count!r}")
        if count < 1:
            raise ValueError(f"count must be at least 1, not {count}")
        check_patience(timeout)
        self.name = name
        self.count = count
        self.timeout = timeout
        self._store = store
        self._ttl = ttl
        self._session = session
        self._hold: Hold | None = None

    def __repr__(self) -> str:
        return f"<DoubleBarrier {self.name!r} count={self.count}{' in' if self.held else ''}>"

    @property
    def held(self) -> bool:
        """Whether this one is counted, by the clock now."""
        return self._hold is not None and self._hold.held

    async def enter(self, timeout: float | None = None) -> None:
        """Come, and wait until enough have.

        timeout: Seconds; the barrier's own by default, which may be None: for ever. 0 goes in only where nobody else is
            needed. Raises LockTimeout.

        Raises SessionLost where the session ended meanwhile, CoordinationError where this object is in already. However
        it fails, and also when it is cancelled, this one no longer counts.
        """
        timeout = check_patience(self.timeout if timeout is None else timeout)
        if self._hold is not None:
            raise CoordinationError(f"this object is in the barrier {self.name!r} already: make another one")
        mark = token()
        tie = Tie(self._store, self._session, self._ttl)
        hold = self._hold = Hold(self._store, f"{self.name}/members/{mark}", mark.encode(), tie)
        text = f"the barrier {self.name!r} did not open"

        async def look() -> bool | None:
            return await self._opens(hold.entry.created_revision)

        async def wait() -> bool:
            # Whoever comes looks for itself, and the last one to come sees all.
            return await waited(self._store, self._ready, look, 0 if timeout == 0 else None, text)

        async def work() -> None:
            await hold.take()
            await while_held(self._store, hold, wait, f"while its owner waited for {self.name!r}")

        try:
            await within(timeout or None, work, text)
        except BaseException:
            self._hold = None
            await hold.drop()
            raise

    async def leave(self, timeout: float | None = None) -> None:
        """Go out, and wait until all others of the round have.

        timeout: Seconds; the barrier's own by default, which may be None: for ever. Raises LockTimeout.

        Raises SessionLost where this one was not counted to the end, so that others may have left before; nothing is
        waited for then. This one no longer counts, also when the waiting fails or is cancelled.
        """
        timeout = check_patience(self.timeout if timeout is None else timeout)
        own = await self._go()
        there: set[str] = set()

        async def look() -> bool | None:
            nonlocal there
            _, members = await self._round()
            if own not in members:
                return True  # another round has begun, so this one is over
            queue = await self._store.queue(f"{self.name}/members")
            there = {entry.key for entry in queue.entries if entry.created_revision in members}
            return None if there else True

        def matters(change: KeyChange) -> bool:
            if change.kind != "put":
                there.discard(change.key)
            return not there

        text = f"not all have left the barrier {self.name!r}"
        await waited(self._store, f"{self.name}/members", look, timeout, text, recursive=True, matters=matters)

    async def __aenter__(self) -> Self:
        await self.enter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            await self.leave()
        elif self._hold is not None:
            hold, self._hold = self._hold, None
            await hold.drop()

    async def _go(self) -> int:
        """No longer count. Which of the round's members this one was."""
        hold, self._hold = self._hold, None
        if hold is None:
            raise CoordinationError(f"this object is not in the barrier {self.name!r}")
        own, lost = hold.entry.created_revision, not hold.held
        await hold.drop()
        if lost:
            raise SessionLost(f"the session ended before its owner left the barrier {self.name!r}")
        return own

    # The round: a key that holds the creation revisions of its members. It outlives them, so that one who is slow to
    # look still finds that it opened, and it opens for nobody else.

    @property
    def _ready(self) -> str:
        return f"{self.name}/ready"

    async def _round(self) -> tuple[Entry | None, set[int]]:
        entry = await self._store.read(self._ready)
        return entry, set() if entry is None else self._members(entry)

    def _members(self, entry: Entry) -> set[int]:
        return set(self._store.decode(entry.raw, list[int], entry.key))

    async def _opens(self, own: int) -> bool | None:
        """Whether a round has one in it: join it, or begin one where enough are there."""
        while True:
            entry, members = await self._round()
            if own in members:
                return True
            queue = await self._store.queue(f"{self.name}/members")
            there = {entry.created_revision for entry in queue.entries}
            if there & members:
                there = members | {own}
            elif len(there) < self.count:
                return None
            raw = self._store.encode(sorted(there))
            try:
                written = await (
                    self._store.claim(self._ready, raw) if entry is None else self._store.replace(entry, raw)
                )
            except (CompareFailed, KeyNotFound):
                continue
            if own in self._members(written):
                return True

"""A fair semaphore: so many may hold it, and all agree on how many."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from itertools import islice, takewhile

from aetcd.errors import CoordinationError
from aetcd.recipes._contenders import Holder, holders
from aetcd.recipes._guard import OnLost
from aetcd.recipes._lock import Claim
from aetcd.recipes._store import Entry, Queue, Store

__all__ = ["Semaphore"]

_SAID = re.compile(rb"permit of ([1-9][0-9]*)")  # what an entry says of itself


def permitted(entries: Collection[Entry]) -> int:
    """The rule: as many as the first says, and only those who say the same.

    Who says another number came while the first did not stand yet, and will leave or, once it is the first, be right.
    """
    said = next((entry.raw for entry in entries), b"")
    same = takewhile(lambda entry: entry.raw == said, entries)
    return sum(1 for _ in islice(same, _limit(said) or 1))


def _limit(said: bytes) -> int | None:
    match = _SAID.fullmatch(said)
    return int(match[1]) if match else None


class Semaphore(Claim):
    """At most `limit` hold it at a time, among all clients of a cluster.

        async with client.semaphore("exports", limit=3) as permit:
            ...  # permit.fencing_token

    Contenders queue in order of arrival. The limit is what the first in the queue has said: who comes with another one
    is refused with CoordinationError, and leaves nothing behind. When nobody is left, another may be agreed on.

    A task has one permit at a time. Whose it is, and what a loss does, `Claim` says.
    """

    _what = "semaphore"
    _rule = staticmethod(permitted)

    def __init__(
        self,
        store: Store,
        name: str,
        *,
        limit: int,
        ttl: int = 15,
        timeout: float | None = None,
        on_lost: OnLost = "cancel",
    ) -> None:
        if isinstance(limit, bool) or not isinstance(limit, int):
            raise TypeError(f"limit must be a whole number, not {limit!r}")
        if limit < 1:
            raise ValueError(f"limit must be at least 1, not {limit}")
        super().__init__(store, name, ttl=ttl, timeout=timeout, on_lost=on_lost)
        self.limit = limit
        self._raw = b"permit of %d" % limit
        self._agree = self._check

    async def holders(self) -> Sequence[Holder]:
        """Who holds a permit, in order, by a linearizable read."""
        return holders(await self._store.queue(self.name), self._rule)

    def _check(self, queue: Queue) -> None:
        first = queue.entries[0]
        limit = _limit(first.raw)
        if limit is None:
            raise CoordinationError(f"{self.name!r} is no semaphore: {first.key!r} stands there and says {first.raw!r}")
        if limit != self.limit:
            raise CoordinationError(f"the semaphore {self.name!r} has the limit {limit}, not {self.limit}")

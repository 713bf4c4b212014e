"""A number that all clients of a cluster add to."""

from __future__ import annotations

from aetcd.errors import CompareFailed, DecodeError, KeyNotFound
from aetcd.recipes._store import Entry, Store
from aetcd.recipes._waiting import Pauses

__all__ = ["Counter"]

FIRST_PAUSE = 0.005  # seconds: about two round trips, within which whoever was faster is done
LONGEST_PAUSE = 0.25


class Counter:
    """A whole number of any size, stored as decimal text; 0 before anything was added.

        number = await client.counter("orders").add(1)

    Each addition is a compare-and-swap: none is lost and none is done twice. Many who add at the same time wait for
    each other with jitter.
    """

    def __init__(self, store: Store, name: str) -> None:
        self.name = name
        self._store = store

    def __repr__(self) -> str:
        return f"<Counter {self.name!r}>"

    async def value(self) -> int:
        """The number now, by a linearizable read. Raises DecodeError where the key holds something else."""
        entry = await self._store.read(self.name)
        return 0 if entry is None else self._number(entry)

    async def add(self, number: int = 1) -> int:
        """Add, which may be a negative number, and tell the sum.

        Raises DecodeError where the key holds something else, and OutcomeUnknown where the addition may or may not have
        been done; it is not sent again then. A cancel leaves that open too.
        """
        if isinstance(number, bool) or not isinstance(number, int):
            raise TypeError(f"number must be a whole number, not {number!r}")
        pauses = Pauses(FIRST_PAUSE, LONGEST_PAUSE)
        while True:
            entry = await self._store.read(self.name) or await self._store.claim(self.name, b"0")
            total = self._number(entry) + number
            try:
                await self._store.replace(entry, str(total).encode())
            except (CompareFailed, KeyNotFound):
                await pauses.wait()
            else:
                return total

    def _number(self, entry: Entry) -> int:
        try:
            return int(entry.raw)
        except ValueError as e:
            raise DecodeError(f"the value of {entry.key!r} is no whole number: {e}", key=entry.key) from e
